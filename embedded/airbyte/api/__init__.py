"""The two HTTP interfaces: Airbyte's public API and its older config API."""
