{#-
  What an incremental model takes: the rows extracted since the newest that the table itself holds. The watermark is
  in the table, so a slot that was left out for some runs catches up, and the order of runs does not matter. It is a
  time of extraction, which rises from sync to sync, and not the source's cursor, which does not: late rows count.
-#}
{% macro since_watermark(column='_extracted_at') -%}
  {% if is_incremental() -%}
  where {{ column }} > (select coalesce(max({{ column }}), timestamp '1970-01-01 00:00:00') from {{ this }})
  {%- endif %}
{%- endmacro %}

{#-
  A hook after a merge, which can add and change but not remove: takes out the rows whose key the upstream no longer
  holds, e.g. an order whose newest version was quarantined. The table then equals one that is built from nothing.
-#}
{% macro delete_vanished(key, upstream) -%}
  {% if is_incremental() -%}
  delete from {{ this }} where {{ key }} not in (select {{ key }} from {{ upstream }})
  {%- endif %}
{%- endmacro %}
