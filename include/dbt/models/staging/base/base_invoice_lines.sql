with

of_newest_files as (

    -- a file that was replaced counts in its newest version only
    select versions.*
    from {{ source('store_files', 'invoices') }} as versions
    inner join {{ ref('base_invoice_files') }} as files
        on versions._ab_source_file_url = files.file_name
        and cast(versions._ab_source_file_last_modified as varchar) = files.last_modified

),

each_line_once as (

    select *
    from of_newest_files
    qualify row_number() over (
        partition by _ab_source_file_url, line_number
        order by _airbyte_extracted_at desc, _airbyte_raw_id desc
    ) = 1

),

trimmed as (

    select
        _ab_source_file_url as file_name,
        line_number,

        {{ text_or_null('InvoiceNo') }} as invoice_no,
        {{ text_or_null('StockCode') }} as stock_code,
        {{ text_or_null('Description') }} as description,
        {{ text_or_null('Quantity') }} as quantity,
        {{ text_or_null('InvoiceDate') }} as invoiced_at,
        {{ text_or_null('UnitPrice') }} as unit_price,
        {{ text_or_null('CustomerID') }} as customer_id,
        {{ text_or_null('Country') }} as country,

        -- exactly as written: lines are identical only if every character is
        row_number() over (
            partition by InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID, Country
            order by _ab_source_file_url, line_number
        ) as occurrence,
        _airbyte_extracted_at as _extracted_at

    from each_line_once

),

judged as (

    select
        *,
        case
            when invoice_no is null then 'InvoiceNo is missing'
            when quantity is null then 'Quantity is missing'
            when not {{ is_integer('quantity') }} then 'Quantity is not a whole number'
            when invoiced_at is null then 'InvoiceDate is missing'
            when not ({{ is_timestamp('invoiced_at') }}) then 'InvoiceDate is not a time'
            when unit_price is null then 'UnitPrice is missing'
            when not {{ is_decimal('unit_price') }} then 'UnitPrice is not a number'
            when customer_id is not null and not {{ is_key('customer_id') }} then 'CustomerID is not a number'
            when occurrence > 1 then 'second of two identical lines'
        end as quarantine_reason

    from trimmed

)

select * from judged
