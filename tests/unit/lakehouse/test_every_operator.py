"""What holds for each operator and sensor that the provider lists."""

import inspect
from typing import Any

import pytest

from tests import listed

OPERATORS = listed.operators()
# read before templates are rendered, or outside of a task: they name where run records are, once per installation
FIXED = {"lakehouse_conn_id", "records_conn_id"}
CONTAINERS = ("Sequence", "Mapping", "list", "dict")


def parameters(kind: type[Any]) -> dict[str, inspect.Parameter]:
    """Those of the class and its bases in this package."""
    own = [base for base in kind.__mro__ if base.__module__.startswith("lakehouse.")]
    found = [inspect.signature(vars(base)["__init__"]).parameters for base in own if "__init__" in vars(base)]
    return {name: one for each in reversed(found) for name, one in each.items() if name not in ("self", "kwargs")}


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_its_fields_are_templates_and_shown_as_what_they_are(name: str) -> None:
    kind, known = OPERATORS[name], parameters(OPERATORS[name])
    fields = set(kind.template_fields)
    assert fields <= set(known), "a template field is a parameter"
    assert {one for one in known if one.endswith("_conn_id")} - FIXED <= fields
    shown = {
        field for field in fields if field == "sql" or any(word in str(known[field].annotation) for word in CONTAINERS)
    }
    assert shown == set(kind.template_fields_renderers), "SQL and what is no plain text has a renderer"


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_it_is_documented_and_typed(name: str) -> None:
    kind, known = OPERATORS[name], parameters(OPERATORS[name])
    told = "\n".join(inspect.getdoc(base) or "" for base in kind.__mro__ if base.__module__.startswith("lakehouse."))
    assert f"{name}(" in (inspect.getdoc(kind) or ""), "an example"
    assert {one for one in known if f":param {one}:" not in told} == set()
    assert all(one.annotation is not inspect.Parameter.empty for one in known.values())
