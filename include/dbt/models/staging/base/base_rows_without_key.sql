{#- Orders are not here: base_orders judges them, those without a key too. -#}
{%- set keys = [
    (source('bronze', 'raw_customers'), 'customers', 'customer_id'),
    (source('postgres', 'products'), 'products', 'product_id'),
    (source('postgres', 'order_items'), 'order_items', 'order_item_id'),
    (source('store_api', 'exchange_rates'), 'exchange_rates', 'currency'),
    (source('store_api', 'product_reviews'), 'product_reviews', 'review_id'),
] -%}
{% for relation, dataset, key in keys -%}
select
    '{{ dataset }}' as dataset_name,
    '{{ key }} is missing' as reason,
    '_airbyte_raw_id ' || _airbyte_raw_id as row_text,
    _airbyte_extracted_at as _extracted_at

from {{ relation }}
where {{ key }} is null
{{ 'union all' if not loop.last }}
{% endfor %}
