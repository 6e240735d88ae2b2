{#- Each file's lines, as received in its newest version, equal those in the mart plus those in quarantine.
    Returns the files for which they do not. -#}
with

received as (

    select
        lines._ab_source_file_url as file_name,
        count(distinct lines.line_number) as line_count

    from {{ source('store_files', 'invoices') }} as lines
    inner join {{ ref('base_invoice_files') }} as files
        on lines._ab_source_file_url = files.file_name
        and cast(lines._ab_source_file_last_modified as varchar) = files.last_modified
    group by lines._ab_source_file_url

),

unreadable as (

    select file_name, count(*) as line_count
    from {{ ref('stg_rejected_invoice_lines') }}
    group by file_name

),

in_mart as (

    select file_name, count(*) as line_count
    from {{ ref('fct_invoice_lines') }}
    group by file_name

),

in_quarantine as (

    select file_name, count(*) as line_count
    from {{ ref('int_quarantined_rows') }}
    where dataset_name = 'invoices'
    group by file_name

)

select
    files.file_name,
    coalesce(received.line_count, 0) + coalesce(unreadable.line_count, 0) as lines_in,
    coalesce(in_mart.line_count, 0) as lines_in_mart,
    coalesce(in_quarantine.line_count, 0) as lines_in_quarantine

from {{ ref('base_invoice_files') }} as files
left join received on files.file_name = received.file_name
left join unreadable on files.file_name = unreadable.file_name
left join in_mart on files.file_name = in_mart.file_name
left join in_quarantine on files.file_name = in_quarantine.file_name

where
    coalesce(received.line_count, 0) + coalesce(unreadable.line_count, 0)
    <> coalesce(in_mart.line_count, 0) + coalesce(in_quarantine.line_count, 0)
