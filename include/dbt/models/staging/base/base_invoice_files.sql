with

every_line as (

    select
        _ab_source_file_url as file_name,
        cast(_ab_source_file_last_modified as varchar) as last_modified,
        _airbyte_extracted_at
    from {{ source('store_files', 'invoices') }}

    union all

    -- a file of which nothing could be read is known by its rejected line only
    select _ab_source_file_url, cast(_ab_source_file_last_modified as varchar), _airbyte_extracted_at
    from {{ optional_source('store_files', 'invoices_rejected', {
        '_ab_source_file_url': 'varchar',
        '_ab_source_file_last_modified': 'varchar',
        '_airbyte_extracted_at': 'timestamp',
    }) }}

),

versions as (

    select file_name, last_modified, max(_airbyte_extracted_at) as _extracted_at
    from every_line
    group by file_name, last_modified

)

-- the version that was read last, and not the one modified last: a restored file keeps its old time of modification
select file_name, last_modified
from versions
qualify row_number() over (partition by file_name order by _extracted_at desc, last_modified desc) = 1
