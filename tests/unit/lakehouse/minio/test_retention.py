from datetime import UTC, datetime

import pytest

from lakehouse.minio.exceptions import ObjectStoreError
from lakehouse.minio.hook import StoredObject
from lakehouse.minio.retention import RetentionOperator

TODAY = datetime(2026, 11, 25, 1, tzinfo=UTC)


class Store:
    def __init__(self, *keys):
        self.keys = list(keys)
        self.removed = []

    def server_time(self, bucket):
        return TODAY

    def iter_objects(self, bucket, prefix):
        return (StoredObject(key, 10, "e", TODAY) for key in self.keys if key.startswith(prefix))

    def remove(self, bucket, keys):
        self.removed += keys


@pytest.fixture
def store(monkeypatch):
    made = Store(
        *(f"exports/batch=2026-11-{day:02}/{name}" for day in (1, 2, 24) for name in ("part-0.csv", "_manifest.json")),
        "exports/readme.txt",
        "exports/batch=none/part-0.csv",
        "exports-of-others/batch=2026-11-01/part-0.csv",
    )
    monkeypatch.setattr("lakehouse.minio.hook.ObjectStoreHook", lambda conn_id: made)
    return made


def run(**kwargs):
    arguments = {"keep_days": {"exports/": 23}} | kwargs
    return RetentionOperator(task_id="retention", bucket="lake", **arguments).execute({})


def test_old_partitions_go_whole_and_manifests_first(store):
    found = run()
    assert store.removed == ["exports/batch=2026-11-01/_manifest.json", "exports/batch=2026-11-01/part-0.csv"]
    assert (found["objects"], found["bytes"], found["report_only"]) == (2, 20, False)
    assert found["prefixes"] == [
        {"prefix": "exports/", "before": "2026-11-02", "removed": ["exports/batch=2026-11-01/"], "kept": 2}
    ]


@pytest.mark.parametrize("said", [True, "True", "true"])
def test_a_report_says_the_same_and_removes_nothing(store, said):
    found = run(report_only=said)
    assert (found["objects"], found["report_only"], store.removed) == (2, True, [])


def test_the_newest_partition_stays_however_old(store, monkeypatch):
    monkeypatch.setattr(store, "server_time", lambda bucket: datetime(2027, 11, 25, tzinfo=UTC))
    found = run()
    assert found["prefixes"][0]["removed"] == ["exports/batch=2026-11-01/", "exports/batch=2026-11-02/"]
    assert run(keep_newest=2)["prefixes"][0]["removed"] == ["exports/batch=2026-11-01/"]


def test_each_table_below_a_prefix_keeps_its_newest(store):
    store.keys = [f"bronze/{table}/date=2026-0{month}-01/x/1" for table, month in (("a", 1), ("a", 2), ("b", 1))]
    assert run(keep_days={"bronze/": 30})["prefixes"][0]["removed"] == ["bronze/a/date=2026-01-01/"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"keep_days": {"exports": 3}}, "end with a slash"),
        ({"keep_days": {"/": 3}}, "end with a slash"),
        ({"keep_days": {"exports/": 0}}, "at least 1"),
        ({"keep_newest": 0}, "at least 1"),
        ({"report_only": "perhaps"}, "true or false"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_removed(store, wrong, said):
    with pytest.raises(ValueError, match=said):
        run(**wrong)
    assert store.removed == []


def test_an_iceberg_table_is_refused(store):
    store.keys.append("gold/orders/metadata/v1.metadata.json")
    with pytest.raises(ObjectStoreError, match="VACUUM TABLE"):
        run(keep_days={"exports/": 23, "gold/": 1})
    assert store.removed == []
