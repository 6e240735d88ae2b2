with

of_newest_files as (

    select rejected.*
    from {{ optional_source('store_files', 'invoices_rejected', {
        '_ab_source_file_url': 'varchar',
        '_ab_source_file_last_modified': 'varchar',
        'line_number': 'bigint',
        'line': 'varchar',
        'reason': 'varchar',
        '_airbyte_extracted_at': 'timestamp',
        '_airbyte_raw_id': 'varchar',
    }) }} as rejected
    inner join {{ ref('base_invoice_files') }} as files
        on rejected._ab_source_file_url = files.file_name
        and cast(rejected._ab_source_file_last_modified as varchar) = files.last_modified

),

each_line_once as (

    select *
    from of_newest_files
    qualify row_number() over (
        partition by _ab_source_file_url, line_number
        order by _airbyte_extracted_at desc, _airbyte_raw_id desc
    ) = 1

)

select
    _ab_source_file_url as file_name,
    line_number,
    line,
    reason,
    _airbyte_extracted_at as _extracted_at

from each_line_once
