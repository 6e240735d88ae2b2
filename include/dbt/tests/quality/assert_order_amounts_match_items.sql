{{ config(severity='warn') }}
{#- An order's amount is the sum of its items. A warning, because an item may arrive a sync later than its
    order. -#}
select order_id, amount, items_amount
from {{ ref('fct_orders') }}
where item_count > 0 and amount <> items_amount
