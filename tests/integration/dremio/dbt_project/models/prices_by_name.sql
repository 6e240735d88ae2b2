-- depends_on: {{ ref("product_prices") }}
{{ config(materialized="reflection", reflection_type="aggregate", anchor="product_prices",
          dimensions=["name"], measures=["price"], computations=["SUM, COUNT"]) }}
