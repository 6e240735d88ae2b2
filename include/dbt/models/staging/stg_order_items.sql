with

versions as (

    select * from {{ source('postgres', 'order_items') }}
    where order_item_id is not null

),

newest as (

    select * from versions
    qualify {{ newest_version('order_item_id') }}

),

typed as (

    select
        order_item_id,
        order_id,
        product_id,

        cast(quantity as bigint) as quantity,
        cast(unit_price as decimal(12, 2)) as unit_price,
        cast(cast(quantity as bigint) * cast(unit_price as decimal(12, 2)) as decimal(12, 2)) as amount,

        updated_at,
        _airbyte_extracted_at as _extracted_at

    from newest

)

select * from typed
