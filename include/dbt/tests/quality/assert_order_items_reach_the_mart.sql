{#- The mart's item totals are those of the items as staging has them now, also where an item was moved from one
    order to another. Returns the orders for which they are not. -#}
with

totals as (

    select order_id, count(*) as item_count, sum(amount) as items_amount
    from {{ ref('stg_order_items') }}
    group by order_id

)

select
    facts.order_id,
    facts.item_count as mart_item_count,
    totals.item_count,
    facts.items_amount as mart_items_amount,
    totals.items_amount

from {{ ref('fct_orders') }} as facts
left join totals
    on facts.order_id = totals.order_id

where
    facts.item_count <> coalesce(totals.item_count, 0)
    or facts.items_amount <> coalesce(totals.items_amount, 0)
