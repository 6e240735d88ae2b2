"""Dremio's SQL: grammar, names, types and functions, translated to DuckDB's text.

`dialect` and `statements` parse, `resolve` finds tables and expands views, `query`, `sources` and `expressions` bind
(types and meaning), `functions_*` register what Dremio has. What is not known here is refused.
"""

from embedded.dremio.sql import (  # noqa: F401  (registers the functions)
    functions_aggregate,
    functions_binary,
    functions_core,
    functions_datetime,
    functions_geo,
    functions_hash,
    functions_lists,
    functions_mask,
    functions_period,
    functions_python,
    number_formats,
)
