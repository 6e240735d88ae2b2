{% snapshot product_history %}
{{ config(unique_key="product_id", strategy="timestamp", updated_at="updated_at") }}
select product_id, name, updated_at from {{ ref("products") }}
{% endsnapshot %}
