{{ config(
    materialized='incremental',
    incremental_strategy='merge',
    unique_key='order_id',
    on_schema_change='sync_all_columns',
    post_hook="{{ delete_vanished('order_id', ref('stg_orders')) }}",
) }}

with

orders as (

    select * from {{ ref('stg_orders') }}

),

items as (

    select * from {{ ref('stg_order_items') }}

),

lead_items as (

    -- the item with the greatest amount; the lowest product key wins a tie
    select order_id, product_id
    from items
    qualify row_number() over (
        partition by order_id
        order by amount desc, product_id, order_item_id
    ) = 1

),

item_totals as (

    select
        order_id,
        count(*) as item_count,
        sum(quantity) as item_quantity,
        cast(sum(amount) as decimal(12, 2)) as items_amount,
        max(_extracted_at) as _extracted_at

    from items
    group by order_id

),

moved_items as (

    -- an order that lost an item has changed too, though nothing of its own was read again
    select order_id, max(_extracted_at) as _extracted_at
    from {{ ref('base_moved_order_items') }}
    group by order_id

),

joined as (

    select
        orders.order_id,
        orders.customer_id,
        lead_items.product_id,

        orders.order_date,
        orders.amount,
        orders.status,

        coalesce(item_totals.item_count, 0) as item_count,
        cast(coalesce(item_totals.item_quantity, 0) as bigint) as item_quantity,
        cast(coalesce(item_totals.items_amount, 0) as decimal(12, 2)) as items_amount,

        orders.updated_at,
        greatest(
            orders._extracted_at,
            coalesce(item_totals._extracted_at, orders._extracted_at),
            coalesce(moved_items._extracted_at, orders._extracted_at)
        ) as _extracted_at

    from orders
    left join item_totals
        on orders.order_id = item_totals.order_id
    left join lead_items
        on orders.order_id = lead_items.order_id
    left join moved_items
        on orders.order_id = moved_items.order_id

)

select * from joined
{{ since_watermark() }}
