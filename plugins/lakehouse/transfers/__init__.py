"""Operators between Dremio and the object store. With `streaming`, the only room that imports several services."""
