"""Operators for Dremio, one file per concern: sql, catalog, reflections, release."""
