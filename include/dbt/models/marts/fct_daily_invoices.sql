{{ config(partition_by=['month(invoice_date)']) }}

with

invoice_lines as (

    select * from {{ ref('fct_invoice_lines') }}

)

select
    invoice_date,
    count(distinct case when is_cancellation then null else invoice_no end) as invoices,
    count(*) as invoice_lines,
    cast(sum(case when is_cancellation then 0 else amount end) as decimal(28, 4)) as gross_revenue,
    cast(sum(case when is_cancellation then amount else 0 end) as decimal(28, 4)) as cancelled_amount,
    cast(sum(amount) as decimal(28, 4)) as daily_revenue,
    count(distinct case when is_cancellation then invoice_no end) as cancellations,
    count(case when is_cancellation then 1 end) as cancelled_lines,
    count(distinct customer_id) as customers,
    count(case when is_missing_customer then 1 end) as lines_without_customer,
    cast(sum(case when is_non_product then amount else 0 end) as decimal(28, 4)) as non_product_amount

from invoice_lines

group by invoice_date
