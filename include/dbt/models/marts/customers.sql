with

customers as (

    select * from {{ ref('stg_customers') }}

),

lifetime_values as (

    select * from {{ ref('fct_customer_lifetime_value') }}

)

select
    customers.customer_id,
    customers.customer_name as name,
    customers.email,
    customers.phone,
    customers.city,
    customers.state,
    cast(coalesce(lifetime_values.lifetime_value, 0) as decimal(18, 2)) as lifetime_value,
    cast(coalesce(lifetime_values.total_orders, 0) as bigint) as total_orders,
    customers.created_at,
    customers.updated_at

from customers
left join lifetime_values
    on customers.customer_id = lifetime_values.customer_id
