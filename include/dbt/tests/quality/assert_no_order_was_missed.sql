{#- An incremental sync takes what is newer than its cursor. A row that the shop commits late, with an older
    `updated_at`, is behind the cursor and never read: refresh the stream in Airbyte. Returns the orders that the live
    shop has, the lake lacks, and the cursor has passed. -#}
with

newest_read as (

    select max(updated_at) as updated_at from {{ source('bronze', 'raw_orders') }}

)

select
    shop.order_id,
    shop.updated_at,
    newest_read.updated_at as read_up_to

from {{ source('shop', 'orders') }} as shop
cross join newest_read
left join {{ source('bronze', 'raw_orders') }} as lake
    on shop.order_id = lake.order_id

where lake.order_id is null and shop.updated_at < newest_read.updated_at
