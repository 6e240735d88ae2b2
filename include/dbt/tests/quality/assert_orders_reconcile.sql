{#- Every order received is in staging or in quarantine, once. Returns the orders that are in neither or in
    both. -#}
with

received as (

    select distinct order_id from {{ source('bronze', 'raw_orders') }}
    where order_id is not null

),

accounted_for as (

    select order_id from {{ ref('stg_orders') }}
    union all
    select cast(row_key as bigint) as order_id
    from {{ ref('int_quarantined_rows') }}
    where dataset_name = 'orders' and row_key is not null

),

counted as (

    select order_id, count(*) as times
    from accounted_for
    group by order_id

)

select
    coalesce(received.order_id, counted.order_id) as order_id,
    coalesce(counted.times, 0) as times

from received
full outer join counted
    on received.order_id = counted.order_id

where received.order_id is null or counted.times is null or counted.times <> 1
