{#-
  CREATE TABLE AS with the contract checked first and no column list.

  dbt-dremio 1.11 writes a contract's column list behind PARTITION BY, where Dremio's grammar (CREATE TABLE name
  [(fields)] [PARTITION BY ..] .. AS query) has no place for it. Names, order and types are those of the query, which
  the contract has just been compared with.
-#}
{% macro dremio__create_table_as(temporary, relation, sql) -%}
  {%- if config.get('contract').enforced -%}
    {{ get_assert_columns_equivalent(sql) }}
    {%- set sql = get_select_subquery(sql) -%}
  {%- endif -%}
  create table {{ relation }}
  {{ partition_method() }} {{ config_cols("partition by") }}
  {{ config_cols("distribute by") }}
  {{ config_cols("localsort by") }}
  {{ store_as_clause() }}
  {{ single_writer_clause() }}
  as (
    {{ sql }}
  )
{%- endmacro %}
