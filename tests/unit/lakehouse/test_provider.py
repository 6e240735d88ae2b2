import ast
import json
from importlib.metadata import entry_points
from pathlib import Path

import airflow
import jsonschema
import pytest
from airflow.sdk import BaseHook
from airflow.sdk.module_loading import import_string

import lakehouse
from lakehouse.provider import get_provider_info
from tests import listed


def test_the_metadata_fits_airflows_schema():
    schema = Path(airflow.__path__[0]) / "provider_info.schema.json"
    jsonschema.validate(get_provider_info(), json.loads(schema.read_text()))


def test_it_is_installed_under_its_name():
    (entry,) = (e for e in entry_points(group="apache_airflow_provider") if e.value.startswith("lakehouse."))
    assert entry.load()()["package-name"] == "airflow-provider-lakehouse"


@pytest.mark.parametrize("form", get_provider_info()["connection-types"], ids=lambda f: f["connection-type"])
def test_the_hook_is_there_and_every_field_has_a_label(form):
    module, _, name = form["hook-class-name"].rpartition(".")
    hook = getattr(__import__(module, fromlist=[name]), name)
    assert hook.conn_type == form["connection-type"]
    assert all(field["label"] and field["schema"]["type"] for field in form["conn-fields"].values())


def test_every_operator_sensor_trigger_and_hook_is_listed():
    """What stands in the package, found by its source, is what the metadata names."""
    bases = {"Operator": listed.operators(), "Sensor": listed.operators(), "Trigger": listed.triggers()}
    bases["Hook"] = listed.classes(BaseHook, "hooks")
    written = [
        node.name
        for path in Path(lakehouse.__path__[0]).rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and node.name != "WaitingSensor"
    ]
    for ending, found in bases.items():
        assert {name for name in written if name.endswith(ending)} == {name for name in found if name.endswith(ending)}


def test_links_and_notifiers_are_where_it_says():
    info = get_provider_info()
    for name in info["extra-links"] + info["notifications"]:
        assert import_string(name)
