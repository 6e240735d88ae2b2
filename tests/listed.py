"""What the provider's own metadata lists, as classes: for tests that are to hold for every operator."""

import importlib
from typing import Any

from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger

from lakehouse.provider import get_provider_info


def classes(kind: type[Any], *sections: str) -> dict[str, type[Any]]:
    """Name -> public subclass of `kind` that a module of these sections defines itself."""
    info = get_provider_info()
    modules = [
        name
        for section in sections
        for entry in info[section]
        for name in entry.get("python-modules") or [entry["python-module"]]
    ]
    return {
        name: found
        for module in map(importlib.import_module, modules)
        for name, found in vars(module).items()
        if isinstance(found, type)
        and issubclass(found, kind)
        and found.__module__ == module.__name__
        and not name.startswith("_")
    }


def operators() -> dict[str, type[BaseOperator]]:
    """Every operator, sensor and transfer."""
    return classes(BaseOperator, "operators", "sensors", "transfers")


def triggers() -> dict[str, type[BaseTrigger]]:
    """Every trigger."""
    return classes(BaseTrigger, "triggers")
