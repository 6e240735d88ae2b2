{#- The stores' days add up to their lines. Returns the two sums if they differ. -#}
with

days as (

    -- no lines: null on both sides, and nothing differs
    select sum(daily_revenue) as amount, sum(invoice_lines) as line_count
    from {{ ref('fct_daily_invoices') }}

),

facts as (

    select sum(amount) as amount, nullif(count(*), 0) as line_count
    from {{ ref('fct_invoice_lines') }}

)

select
    days.amount as days_amount,
    facts.amount as lines_amount,
    days.line_count as days_lines,
    facts.line_count

from days
cross join facts

where days.amount is distinct from facts.amount or days.line_count is distinct from facts.line_count
