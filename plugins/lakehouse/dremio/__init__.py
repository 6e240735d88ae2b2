"""Dremio: hook over Flight SQL and REST, operators, triggers, declared catalog and reflections."""
