with

versions as (

    select * from {{ source('store_api', 'product_reviews') }}
    where review_id is not null

),

newest as (

    select * from versions
    qualify {{ newest_version('review_id') }}

),

typed as (

    select
        review_id,
        product_id,
        customer_id,

        cast(rating as integer) as rating,
        {{ text_or_null('body') }} as body,

        created_at,
        updated_at,
        _airbyte_extracted_at as _extracted_at

    from newest

)

select * from typed
