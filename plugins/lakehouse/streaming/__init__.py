"""Continuous syncs: Airbyte, object store and Dremio in one loop, from the source's commit to a table in seconds."""
