{{ config(materialized="incremental", unique_key="product_id", incremental_strategy="merge",
          on_schema_change="append_new_columns") }}
select product_id, name {% if var("wide", false) %}, 'new' as origin {% endif %}
from {{ ref("stg_products") }}
{% if is_incremental() %} where product_id >= 2 {% endif %}
