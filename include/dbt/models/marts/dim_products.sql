with

products as (

    select * from {{ ref('stg_products') }}

),

ratings as (

    select
        product_id,
        count(*) as review_count,
        cast(avg(cast(rating as double)) as decimal(4, 2)) as average_rating

    from {{ ref('stg_product_reviews') }}
    group by product_id

)

select
    products.product_id,
    products.sku,
    products.product_name,
    products.category,
    products.unit_price,
    coalesce(ratings.review_count, 0) as review_count,
    ratings.average_rating,
    products.updated_at

from products
left join ratings
    on products.product_id = ratings.product_id
