with

versions as (

    select * from {{ source('bronze', 'raw_customers') }}
    where customer_id is not null

),

newest as (

    select * from versions
    qualify {{ newest_version('customer_id') }}

),

cleaned as (

    select
        customer_id,

        trim(upper(name)) as customer_name,
        lower({{ text_or_null('email') }}) as email,
        {{ text_or_null('phone') }} as phone,
        {{ text_or_null('address') }} as address,
        {{ text_or_null('city') }} as city,
        {{ text_or_null('state') }} as state,
        {{ text_or_null('zip_code') }} as zip_code,

        created_at,
        updated_at,
        _airbyte_extracted_at as _extracted_at

    from newest

)

select * from cleaned
