"""Airbyte: syncs that are found again, and connections as declared, over the official provider's connection type."""
