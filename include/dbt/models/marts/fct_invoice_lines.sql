{{ config(partition_by=['month(invoice_date)']) }}

select
    invoice_line_id,
    invoice_no,
    stock_code,
    description,
    quantity,
    unit_price,
    amount,
    invoiced_at,
    invoice_date,
    customer_id,
    country,
    is_cancellation,
    is_missing_customer,
    is_zero_price,
    is_non_product,
    file_name,
    line_number

from {{ ref('int_invoice_lines_flagged') }}
