{{ config(partition_by=['month(order_date)']) }}

with

orders as (

    select * from {{ ref('fct_orders') }}

),

customers as (

    select * from {{ ref('dim_customers') }}

),

products as (

    select * from {{ ref('dim_products') }}

)

select
    orders.order_id,
    orders.customer_id,
    orders.product_id,
    products.category as product_category,
    orders.order_date,
    orders.amount,
    orders.status,
    orders.item_count,
    orders.item_quantity,
    customers.city as customer_city,
    customers.state as customer_state,
    orders.updated_at

from orders
left join customers
    on orders.customer_id = customers.customer_id
left join products
    on orders.product_id = products.product_id
