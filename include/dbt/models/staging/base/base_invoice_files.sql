with

every_line as (

    select _ab_source_file_url as file_name, cast(_ab_source_file_last_modified as varchar) as last_modified
    from {{ source('store_files', 'invoices') }}

    union all

    -- a file of which nothing could be read is known by its rejected line only
    select _ab_source_file_url, cast(_ab_source_file_last_modified as varchar)
    from {{ optional_source('store_files', 'invoices_rejected', {
        '_ab_source_file_url': 'varchar',
        '_ab_source_file_last_modified': 'varchar',
    }) }}

)

select
    file_name,
    max(last_modified) as last_modified

from every_line

group by file_name
