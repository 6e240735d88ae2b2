with

customers as (

    select * from {{ ref('stg_customers') }}

),

lifetime_values as (

    select * from {{ ref('fct_customer_lifetime_value') }}

)

select
    customers.customer_id,
    customers.customer_name,
    customers.email,
    customers.phone,
    customers.address,
    customers.city,
    customers.state,
    customers.zip_code,
    cast(customers.created_at as date) as customer_since,
    case
        when lifetime_values.total_orders >= 2 then 'repeat'
        when lifetime_values.total_orders = 1 then 'single'
        else 'prospect'
    end as customer_type,
    customers.updated_at

from customers
left join lifetime_values
    on customers.customer_id = lifetime_values.customer_id
