{#-
  A model's own `database`, `schema`, `datalake` or `root_path` is the whole name. dbt-dremio would append a custom
  schema to the profile's (datalake.silver.gold.slot_a), so that names would depend on who runs dbt.
-#}
{% macro generate_schema_name_impl(default_schema, custom_schema_name=none, node=none) -%}
  {{ default_schema if custom_schema_name is none else custom_schema_name }}
{%- endmacro %}
