"""Operators between Dremio and the object store. The only room that imports two services."""
