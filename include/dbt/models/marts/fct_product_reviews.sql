with

reviews as (

    select * from {{ ref('stg_product_reviews') }}

),

products as (

    select * from {{ ref('dim_products') }}

),

bought as (

    select distinct
        orders.customer_id,
        items.product_id

    from {{ ref('stg_order_items') }} as items
    inner join {{ ref('fct_orders') }} as orders
        on items.order_id = orders.order_id

)

select
    reviews.review_id,
    reviews.product_id,
    reviews.customer_id,
    products.category as product_category,
    reviews.rating,
    bought.customer_id is not null as has_bought,
    cast(reviews.created_at as date) as review_date,
    reviews.body,
    reviews.updated_at

from reviews
left join products
    on reviews.product_id = products.product_id
left join bought
    on reviews.customer_id = bought.customer_id
    and reviews.product_id = bought.product_id
