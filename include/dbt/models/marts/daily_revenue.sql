{{ config(partition_by=['month(order_date)']) }}

select
    order_date,
    daily_revenue,
    orders,
    cast(
        avg(daily_revenue) over (order by order_date rows between 6 preceding and current row) as decimal(18, 2)
    ) as revenue_7_day_average,
    cast(
        sum(daily_revenue) over (order by order_date rows between unbounded preceding and current row)
        as decimal(18, 2)
    ) as revenue_to_date

from {{ ref('fct_daily_revenue') }}
