{#- Staging holds money in pence. A source that begins to send smaller parts must not be rounded silently: the model
    has to follow. Returns the columns, and how many of their values do not fit. -#}
{%- set columns = [
    (source('bronze', 'raw_orders'), 'amount'),
    (source('postgres', 'order_items'), 'unit_price'),
    (source('postgres', 'products'), 'unit_price'),
] -%}
{% for relation, column in columns -%}
select '{{ relation.identifier }}.{{ column }}' as column_name, count(*) as values_rounded
from {{ relation }}
where {{ column }} <> cast({{ column }} as decimal(38, 2))
having count(*) > 0
{{ 'union all' if not loop.last }}
{% endfor %}
