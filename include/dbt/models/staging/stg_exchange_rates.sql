with

versions as (

    select * from {{ source('store_api', 'exchange_rates') }}
    where currency is not null

),

newest as (

    select * from versions
    qualify {{ newest_version('rate_date, currency') }}

),

typed as (

    select
        cast(rate_date as date) as rate_date,
        upper(trim(base_currency)) as base_currency,
        upper(trim(currency)) as currency,

        cast(rate as decimal(18, 8)) as rate,

        updated_at,
        _airbyte_extracted_at as _extracted_at

    from newest

),

with_validity as (

    -- a rate holds until the next one: none is fixed on weekends
    select
        *,
        lead(rate_date) over (partition by base_currency, currency order by rate_date) as next_rate_date

    from typed

)

select * from with_validity
