{#- The days' revenue and losses add up to the orders. Returns the two sums if they differ. -#}
with

days as (

    select sum(amount) + sum(lost_amount) as amount, sum(orders) + sum(lost_orders) as orders
    from {{ ref('fct_daily_revenue') }}

),

facts as (

    -- no orders: null on both sides, and nothing differs
    select sum(amount) as amount, nullif(count(*), 0) as orders
    from {{ ref('fct_orders') }}

)

select
    days.amount as days_amount,
    facts.amount as orders_amount,
    days.orders as days_orders,
    facts.orders as order_count

from days
cross join facts

where days.amount is distinct from facts.amount or days.orders is distinct from facts.orders
