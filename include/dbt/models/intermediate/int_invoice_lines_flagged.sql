{{ config(materialized='table') }}

with

lines as (

    select * from {{ ref('stg_invoice_lines') }}

),

flagged as (

    select
        invoice_line_id,
        invoice_no,
        stock_code,
        description,

        quantity,
        unit_price,
        cast(quantity * unit_price as decimal(24, 4)) as amount,

        invoiced_at,
        cast(invoiced_at as date) as invoice_date,

        customer_id,
        country,

        upper(substr(invoice_no, 1, 1)) = 'C' as is_cancellation,
        customer_id is null as is_missing_customer,
        unit_price = 0 as is_zero_price,
        -- codes of goods begin with five digits, or with DCGS for the sister shop's
        stock_code is null or not regexp_like(stock_code, '^([0-9]{5}|DCGS)') as is_non_product,

        file_name,
        line_number,
        _extracted_at

    from lines

)

select * from flagged
