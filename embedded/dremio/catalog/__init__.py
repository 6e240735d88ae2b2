"""The catalog: spaces, sources, folders, views, promoted tables and functions, kept in PostgreSQL.

`Catalog` holds everything in memory for lookups (case-insensitive by path) and writes each change through to the
schema ``catalog`` of the given database before it is seen, so a restart finds the same objects, ids and tags.
"""

from embedded.dremio.catalog.catalog import Catalog
from embedded.dremio.catalog.entities import Entity, Kind

__all__ = ["Catalog", "Entity", "Kind"]
