select
    order_id,
    customer_id,
    order_date,
    amount,
    status,
    updated_at,
    _extracted_at

from {{ ref('base_orders') }}

where quarantine_reason is null
