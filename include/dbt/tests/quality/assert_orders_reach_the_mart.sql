{#- Every order that staging accepts is in the mart as staging has it, and no other is. Returns those that
    differ. -#}
select
    coalesce(staged.order_id, facts.order_id) as order_id,
    staged.amount as staged_amount,
    facts.amount as mart_amount,
    staged.status as staged_status,
    facts.status as mart_status

from {{ ref('stg_orders') }} as staged
full outer join {{ ref('fct_orders') }} as facts
    on staged.order_id = facts.order_id

where
    staged.order_id is null
    or facts.order_id is null
    or staged.customer_id <> facts.customer_id
    or staged.order_date <> facts.order_date
    or staged.amount <> facts.amount
    or staged.status <> facts.status
    or staged.updated_at <> facts.updated_at
