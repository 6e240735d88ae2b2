with

versions as (

    select * from {{ source('postgres', 'products') }}
    where product_id is not null

),

newest as (

    select * from versions
    qualify {{ newest_version('product_id') }}

),

typed as (

    select
        product_id,

        {{ text_or_null('sku') }} as sku,
        {{ text_or_null('name') }} as product_name,
        {{ text_or_null('category') }} as category,

        cast(unit_price as decimal(12, 2)) as unit_price,

        updated_at,
        _airbyte_extracted_at as _extracted_at

    from newest

)

select * from typed
