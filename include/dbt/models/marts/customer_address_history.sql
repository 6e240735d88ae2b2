with

versions as (

    select
        customer_id,
        {{ text_or_null('address') }} as address,
        {{ text_or_null('city') }} as city,
        {{ text_or_null('state') }} as state,
        {{ text_or_null('zip_code') }} as zip_code,
        updated_at,
        _airbyte_extracted_at,
        _airbyte_raw_id

    from {{ source('bronze', 'raw_customers') }}
    where customer_id is not null

),

each_version_once as (

    -- an extraction may repeat a version that is known
    select * from versions
    qualify row_number() over (
        partition by customer_id, updated_at
        order by _airbyte_extracted_at desc, _airbyte_raw_id desc
    ) = 1

),

compared as (

    select
        *,
        coalesce(address, '') || '|' || coalesce(city, '') || '|' || coalesce(state, '')
            || '|' || coalesce(zip_code, '') as whole_address

    from each_version_once

),

with_previous as (

    select
        *,
        lag(whole_address) over (partition by customer_id order by updated_at) as previous_address

    from compared

),

changes as (

    select * from with_previous
    where previous_address is null or previous_address <> whole_address

),

dated as (

    select
        customer_id,
        row_number() over (partition by customer_id order by updated_at) as address_number,
        address,
        city,
        state,
        zip_code,
        updated_at as valid_from,
        lead(updated_at) over (partition by customer_id order by updated_at) as valid_to

    from changes

)

select
    *,
    valid_to is null as is_current

from dated
