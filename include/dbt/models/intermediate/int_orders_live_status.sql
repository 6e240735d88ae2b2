with

lake_orders as (

    select order_id, customer_id, order_date, amount, status, updated_at
    from {{ ref('int_orders_enriched') }}

),

shop_orders as (

    select order_id, status, updated_at
    from {{ source('shop', 'orders') }}

)

select
    lake_orders.order_id,
    lake_orders.customer_id,
    lake_orders.order_date,
    lake_orders.amount,

    lake_orders.status as lake_status,
    lower(trim(shop_orders.status)) as live_status,

    lake_orders.updated_at as lake_updated_at,
    shop_orders.updated_at as live_updated_at,

    coalesce(shop_orders.updated_at > lake_orders.updated_at, false) as is_behind

from lake_orders
left join shop_orders
    on lake_orders.order_id = shop_orders.order_id
