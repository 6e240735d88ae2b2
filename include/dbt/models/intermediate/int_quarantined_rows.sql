with

orders as (

    select
        'orders' as dataset_name,
        quarantine_reason as reason,
        cast(null as varchar) as file_name,
        cast(null as bigint) as line_number,
        cast(order_id as varchar) as row_key,
        'customer ' || coalesce(cast(customer_id as varchar), '-')
            || ', amount ' || coalesce(cast(amount as varchar), '-')
            || ', status ' || coalesce(status, '-') as row_text,
        _extracted_at

    from {{ ref('base_orders') }}
    where quarantine_reason is not null

),

refused_lines as (

    select
        'invoices' as dataset_name,
        quarantine_reason as reason,
        file_name,
        line_number,
        cast(null as varchar) as row_key,
        coalesce(invoice_no, '') || ',' || coalesce(stock_code, '') || ',' || coalesce(description, '')
            || ',' || coalesce(quantity, '') || ',' || coalesce(invoiced_at, '') || ',' || coalesce(unit_price, '')
            || ',' || coalesce(customer_id, '') || ',' || coalesce(country, '') as row_text,
        _extracted_at

    from {{ ref('base_invoice_lines') }}
    where quarantine_reason is not null

),

unreadable_lines as (

    select
        'invoices' as dataset_name,
        reason,
        file_name,
        line_number,
        cast(null as varchar) as row_key,
        line as row_text,
        _extracted_at

    from {{ ref('stg_rejected_invoice_lines') }}

),

rows_without_key as (

    select
        dataset_name,
        reason,
        cast(null as varchar) as file_name,
        cast(null as bigint) as line_number,
        cast(null as varchar) as row_key,
        row_text,
        _extracted_at

    from {{ ref('base_rows_without_key') }}

),

every_refused_row as (

    select * from orders
    union all
    select * from refused_lines
    union all
    select * from unreadable_lines
    union all
    select * from rows_without_key

)

select * from every_refused_row
