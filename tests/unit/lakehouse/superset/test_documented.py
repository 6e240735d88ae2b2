import copy
import json

import pytest
import yaml

from lakehouse.cli import main
from lakehouse.superset.bundle import read_folder
from lakehouse.superset.documented import sync
from lakehouse.superset.exceptions import SupersetConfigError

FILE = "datasets/lakehouse/sales.yaml"
DATASET = {
    "uuid": "9cb93a77-b0cc-50d0-ab4b-b3559a2002a3",
    "table_name": "sales",
    "schema": "gold",
    "description": "As it was.",
    "extra": {"warning_markdown": "late"},
    "metrics": [
        {"metric_name": "revenue", "expression": "SUM(net)", "verbose_name": "Net", "d3format": ",.1f", "extra": {}},
        {"metric_name": "made_in_superset", "expression": "COUNT(*)", "verbose_name": None, "d3format": None},
    ],
    "columns": [
        {"column_name": "gone", "type": "BIGINT", "expression": None, "description": "No more in dbt."},
        {"column_name": "amount", "type": "BIGINT", "expression": None, "description": "Old.", "verbose_name": "Money"},
        {"column_name": "doubled", "type": None, "expression": "2 * amount", "description": "Calculated in Superset."},
    ],
}
MANIFEST = {
    "nodes": {
        "model.shop.sales": {
            "unique_id": "model.shop.sales",
            "resource_type": "model",
            "alias": "sales",
            "description": "Sales\n  per day.",
            "config": {
                "meta": {
                    "superset": {
                        "metrics": [
                            {"name": "revenue", "label": "Revenue", "expression": "SUM(amount)"},
                            {"name": "days", "expression": "COUNT(day)", "format": ",d"},
                        ]
                    }
                }
            },
            "columns": {
                "day": {"name": "day", "description": "The day.", "data_type": "date"},
                "amount": {"name": "amount", "description": "In GBP.", "data_type": "decimal(18,2)"},
                "_extracted_at": {"name": "_extracted_at", "description": "Technical.", "data_type": "timestamp"},
            },
        },
        "test.shop.sales": {"unique_id": "test.shop.sales", "resource_type": "test", "alias": "sales"},
    },
    "exposures": {
        "exposure.shop.board": {
            "name": "board",
            "label": "Board",
            "maturity": "high",
            "owner": {"name": "Finance", "email": "finance@example.com"},
            "depends_on": {"nodes": ["model.shop.sales"]},
        },
        "exposure.shop.draft": {
            "name": "draft",
            "maturity": "low",
            "owner": {"email": "somebody@example.com"},
            "depends_on": {"nodes": ["model.shop.sales"]},
        },
    },
}


@pytest.fixture
def manifest():
    return copy.deepcopy(MANIFEST)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "superset" / FILE
    path.parent.mkdir(parents=True)
    path.write_text(yaml.dump(DATASET))
    return tmp_path / "superset"


def dataset(folder):
    return read_folder(folder).of("datasets")[0].content


def test_a_dataset_shows_what_dbt_says(folder, manifest):
    assert sync(folder, manifest) == [FILE]
    found = dataset(folder)
    assert found["description"] == "Sales per day."
    columns = {column["column_name"]: column for column in found["columns"]}
    assert list(columns) == ["day", "amount", "doubled"]
    assert (columns["day"]["type"], columns["day"]["is_dttm"], columns["day"]["description"]) == (
        "DATE",
        True,
        "The day.",
    )
    assert (columns["amount"]["type"], columns["amount"]["description"]) == ("DECIMAL", "In GBP.")
    assert columns["amount"]["verbose_name"] == "Money"
    metrics = {metric["metric_name"]: metric for metric in found["metrics"]}
    assert (metrics["revenue"]["expression"], metrics["revenue"]["verbose_name"]) == ("SUM(amount)", "Revenue")
    assert metrics["revenue"]["d3format"] == ",.1f"
    assert (metrics["days"]["expression"], metrics["days"]["d3format"]) == ("COUNT(day)", ",d")
    assert metrics["made_in_superset"]["expression"] == "COUNT(*)"
    assert found["extra"] == {
        "warning_markdown": "late",
        "certification": {"certified_by": "Finance", "details": "Stands behind Board."},
    }
    assert sync(folder, manifest) == []


def test_a_certification_ends_with_its_exposure(folder, manifest):
    sync(folder, manifest)
    del manifest["exposures"]["exposure.shop.board"]
    assert sync(folder, manifest) == [FILE]
    assert dataset(folder)["extra"] == {"warning_markdown": "late"}


def test_a_dataset_without_a_model_is_left_alone(folder, manifest):
    manifest["nodes"]["model.shop.sales"]["alias"] = "other"
    assert sync(folder, manifest) == []


def test_what_dbt_does_not_say_stays(folder, manifest):
    manifest["nodes"]["model.shop.sales"] |= {"description": "", "columns": {}, "config": {}}
    manifest["exposures"] = {}
    assert sync(folder, manifest) == []


def test_two_models_of_one_name_are_refused(folder, manifest):
    manifest["nodes"]["model.shop.old_sales"] = manifest["nodes"]["model.shop.sales"] | {"unique_id": "model.shop.old"}
    with pytest.raises(SupersetConfigError, match=r"more than one dbt model is called so: model.shop.old, model"):
        sync(folder, manifest)


def test_a_metric_without_an_expression_is_refused_before_anything_is_written(folder, manifest):
    before = (folder / FILE).read_bytes()
    manifest["nodes"]["model.shop.sales"]["config"]["meta"]["superset"]["metrics"][1].pop("expression")
    with pytest.raises(SupersetConfigError, match=r"sales.yaml: a metric .* lacks its name or its expression.*days"):
        sync(folder, manifest)
    assert (folder / FILE).read_bytes() == before


def test_the_command_line(folder, manifest, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LAKEHOUSE_INCLUDE", str(tmp_path))
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "dashboards.yaml").write_text(
        "bundle: superset\ndatabase_connection: dremio_default\ndashboards: [any]\n"
    )
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps(manifest))
    assert main(["sync-datasets", "--manifest", str(file)]) == 0
    assert "1 datasets written, now apply them" in capsys.readouterr().out
    assert main(["sync-datasets", "--manifest", str(file)]) == 0
    assert "all are as in dbt" in capsys.readouterr().out
    assert main(["sync-datasets", "--manifest", str(tmp_path / "absent.json")]) == 1
    assert "absent.json" in capsys.readouterr().err
