{#-
  Tests on text before it is cast. Dremio has no TRY_CAST: a cast of a value that does not parse fails the query, so
  the value is looked at first and its line is quarantined instead. Every macro is NULL for NULL.
-#}

{% macro text_or_null(column) -%}
  nullif(trim({{ column }}), '')
{%- endmacro %}

{% macro is_integer(column) -%}
  regexp_like({{ column }}, '^[+-]?[0-9]{1,9}$')
{%- endmacro %}

{% macro is_decimal(column) -%}
  regexp_like({{ column }}, '^[+-]?[0-9]{1,9}([.][0-9]*)?$')
{%- endmacro %}

{#- A key that a spreadsheet turned into a float: 17850 or 17850.0 -#}
{% macro is_key(column) -%}
  regexp_like({{ column }}, '^[0-9]{1,15}([.]0*)?$')
{%- endmacro %}

{#- YYYY-MM-DD HH:MM[:SS] with a day that its month has. -#}
{% macro is_timestamp(column) -%}
  regexp_like(
    {{ column }},
    '^[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8])) ([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$'
  )
  or regexp_like(
    {{ column }},
    '^([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29 ([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$'
  )
{%- endmacro %}
