{{ config(materialized="table") }}
select product_id, name, coalesce(price, 0) as price from {{ ref("stg_products") }}
