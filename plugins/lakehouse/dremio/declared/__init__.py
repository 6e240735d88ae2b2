"""Dremio's catalog and reflections as declared state: models of the YAML, plan, apply."""

from lakehouse.dremio.declared.catalog import Catalog
from lakehouse.dremio.declared.reflections import Reflections

FILES = {"dremio.yaml": Catalog, "reflections.yaml": Reflections}
