with

accepted as (

    select * from {{ ref('base_invoice_lines') }}
    where quarantine_reason is null

),

typed as (

    select
        file_name || ':' || cast(line_number as varchar) as invoice_line_id,
        file_name,
        line_number,

        invoice_no,
        upper(stock_code) as stock_code,
        description,
        country,

        -- the case repeats the check, so that no plan can cast a line that was refused
        case when {{ is_key('customer_id') }} then cast(split_part(customer_id, '.', 1) as bigint) end as customer_id,
        case when {{ is_integer('quantity') }} then cast(quantity as bigint) end as quantity,
        case when {{ is_decimal('unit_price') }} then cast(unit_price as decimal(14, 4)) end as unit_price,
        case when {{ is_timestamp('invoiced_at') }} then cast(invoiced_at as timestamp) end as invoiced_at,

        _extracted_at

    from accepted

)

select * from typed
