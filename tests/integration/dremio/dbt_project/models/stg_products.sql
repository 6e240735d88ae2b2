{{ config(materialized="view") }}
select product_id, name, price, updated_at from {{ ref("products") }}
