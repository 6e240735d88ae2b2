{#-
  The condition (for QUALIFY) that keeps the newest version of each row: by the source's cursor, then by the time of
  extraction, then by Airbyte's row id so that two equal versions give the same answer every time.
-#}
{% macro newest_version(key, cursor='updated_at') -%}
  row_number() over (
    partition by {{ key }}
    order by {{ cursor }} desc, _airbyte_extracted_at desc, _airbyte_raw_id desc
  ) = 1
{%- endmacro %}
