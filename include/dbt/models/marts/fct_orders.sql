{{ config(
    materialized='incremental',
    incremental_strategy='merge',
    unique_key='order_id',
    on_schema_change='append_new_columns',
    partition_by=['month(order_date)'],
    post_hook="{{ delete_vanished('order_id', ref('int_orders_enriched')) }}",
) }}

select
    order_id,
    customer_id,
    product_id,
    order_date,
    amount,
    status,
    item_count,
    item_quantity,
    items_amount,
    updated_at,
    _extracted_at

from {{ ref('int_orders_enriched') }}
{{ since_watermark() }}
