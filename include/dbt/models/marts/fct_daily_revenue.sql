{{ config(partition_by=['month(order_date)']) }}

with

orders as (

    select
        *,
        status in ('cancelled', 'returned') as is_lost

    from {{ ref('fct_orders') }}

),

rates as (

    select * from {{ ref('stg_exchange_rates') }}
    where base_currency = 'GBP' and currency = 'EUR'

),

per_day as (

    select
        order_date,
        cast(sum(case when is_lost then 0 else amount end) as decimal(18, 2)) as amount,
        sum(case when is_lost then 0 else 1 end) as orders,
        count(distinct case when is_lost then null else customer_id end) as customers,
        sum(case when is_lost then 1 else 0 end) as lost_orders,
        cast(sum(case when is_lost then amount else 0 end) as decimal(18, 2)) as lost_amount

    from orders
    group by order_date

)

select
    per_day.order_date,
    per_day.amount,
    per_day.amount as daily_revenue,
    cast(per_day.amount * rates.rate as decimal(18, 2)) as amount_eur,
    cast(per_day.orders as bigint) as orders,
    cast(per_day.customers as bigint) as customers,
    cast(per_day.amount / nullif(per_day.orders, 0) as decimal(18, 2)) as average_order_value,
    cast(per_day.lost_orders as bigint) as lost_orders,
    per_day.lost_amount

from per_day
left join rates
    on per_day.order_date >= rates.rate_date
    and (rates.next_rate_date is null or per_day.order_date < rates.next_rate_date)
