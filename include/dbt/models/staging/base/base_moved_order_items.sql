with

versions as (

    select * from {{ source('postgres', 'order_items') }}
    where order_item_id is not null

),

with_next as (

    select
        order_item_id,
        order_id,
        lead(order_id) over (
            partition by order_item_id
            order by updated_at, _airbyte_extracted_at, _airbyte_raw_id
        ) as next_order_id,
        lead(_airbyte_extracted_at) over (
            partition by order_item_id
            order by updated_at, _airbyte_extracted_at, _airbyte_raw_id
        ) as next_extracted_at

    from versions

)

select
    order_item_id,
    order_id,
    next_order_id,
    next_extracted_at as _extracted_at

from with_next
where next_order_id <> order_id
