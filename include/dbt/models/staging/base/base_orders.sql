with

versions as (

    select * from {{ source('bronze', 'raw_orders') }}

),

newest as (

    select * from versions
    -- rows without a key are no versions of each other: each is quarantined
    qualify {{ newest_version('order_id') }} or order_id is null

),

typed as (

    select
        ---------- ids
        order_id,
        customer_id,

        ---------- text
        lower(trim(status)) as status,

        ---------- numerics
        cast(amount as decimal(12, 2)) as amount,

        ---------- times
        cast(order_date as date) as order_date,
        updated_at,
        _airbyte_extracted_at as _extracted_at

    from newest

),

judged as (

    select
        *,
        case
            when order_id is null then 'order without a key'
            when customer_id is null then 'order without a customer'
            when order_date is null then 'order without a date'
            when amount is null then 'order without an amount'
            when amount <= 0 then 'amount is not positive'
            when status is null then 'order without a status'
            when status not in ('pending', 'completed', 'shipped', 'cancelled', 'returned') then 'unknown status'
        end as quarantine_reason

    from typed

)

select * from judged
