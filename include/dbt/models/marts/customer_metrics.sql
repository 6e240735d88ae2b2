with

customers as (

    select * from {{ ref('stg_customers') }}

),

newest_day as (

    select max(order_date) as order_date from {{ ref('int_customer_orders') }}

),

order_totals as (

    select
        customer_id,
        count(*) as total_orders,
        sum(case when status = 'completed' then 1 else 0 end) as completed_orders,
        sum(case when status in ('cancelled', 'returned') then 1 else 0 end) as lost_orders,
        min(order_date) as first_order_date,
        max(order_date) as last_order_date

    from {{ ref('int_customer_orders') }}
    group by customer_id

),

lifetime_values as (

    select
        customer_id,
        lifetime_value,
        average_order_value,
        -- fifths of the buyers, the key deciding between equals so that every run says the same
        ntile(5) over (order by lifetime_value desc, customer_id) as fifth

    from {{ ref('fct_customer_lifetime_value') }}

),

review_totals as (

    select customer_id, count(*) as review_count
    from {{ ref('stg_product_reviews') }}
    group by customer_id

)

select
    customers.customer_id,
    customers.customer_name,
    customers.email,
    customers.state,
    coalesce(order_totals.total_orders, 0) as total_orders,
    cast(coalesce(order_totals.completed_orders, 0) as bigint) as completed_orders,
    cast(coalesce(order_totals.lost_orders, 0) as bigint) as lost_orders,
    cast(coalesce(lifetime_values.lifetime_value, 0) as decimal(18, 2)) as lifetime_value,
    lifetime_values.average_order_value,
    order_totals.first_order_date,
    order_totals.last_order_date,
    cast(datediff(newest_day.order_date, order_totals.last_order_date) as integer)
        as days_since_last_order,
    coalesce(review_totals.review_count, 0) as review_count,
    case
        when lifetime_values.fifth = 1 then 'high'
        when lifetime_values.fifth in (2, 3) then 'medium'
        when lifetime_values.fifth in (4, 5) then 'low'
        else 'none'
    end as value_segment

from customers
cross join newest_day
left join order_totals
    on customers.customer_id = order_totals.customer_id
left join lifetime_values
    on customers.customer_id = lifetime_values.customer_id
left join review_totals
    on customers.customer_id = review_totals.customer_id
