{#-
  A stream that exists only once something went wrong (a rejected line): while Dremio has no such table, an empty one
  of the same columns.

  :param columns: name -> type of the columns that the caller reads
-#}
{% macro optional_source(source_name, table_name, columns) -%}
  {%- set relation = source(source_name, table_name) -%}
  {%- if execute and load_relation(relation) is none -%}
  (
    select
      {% for name, type in columns.items() -%}
      cast(null as {{ type }}) as {{ name }}{{ ',' if not loop.last }}
      {% endfor -%}
    from (values (1)) as nothing(x)
    where 1 = 0
  )
  {%- else -%}
  {{ relation }}
  {%- endif -%}
{%- endmacro %}
