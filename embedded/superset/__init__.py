"""Superset in the embedded stack: the real one, its configuration and its first-start preparation."""
