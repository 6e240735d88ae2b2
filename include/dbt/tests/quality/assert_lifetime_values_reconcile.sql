{#- Lifetime values add up to the completed orders of known customers, in each of the three marts that show
    them. -#}
with

completed as (

    select sum(amount) as amount
    from {{ ref('int_customer_orders') }}
    where status = 'completed'

),

marts as (

    select 'fct_customer_lifetime_value' as mart_name, sum(lifetime_value) as amount
    from {{ ref('fct_customer_lifetime_value') }}
    union all
    select 'customers' as mart_name, nullif(sum(lifetime_value), 0) as amount
    from {{ ref('customers') }}
    union all
    select 'customer_metrics' as mart_name, nullif(sum(lifetime_value), 0) as amount
    from {{ ref('customer_metrics') }}

)

select
    marts.mart_name,
    marts.amount as mart_amount,
    completed.amount as completed_amount

from marts
cross join completed

where marts.amount is distinct from completed.amount
