import json
from importlib.metadata import entry_points
from pathlib import Path

import airflow
import jsonschema
import pytest

from lakehouse.provider import get_provider_info


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
