from datetime import UTC, datetime

import pytest

from lakehouse.minio.exceptions import ObjectStoreError
from lakehouse.minio.hook import ObjectStoreHook, StoredObject
from lakehouse.minio.report_operators import DownloadLinksOperator, StorageReportOperator
from lakehouse.minio.storage import by_depth, table

AT = datetime(2026, 11, 24, 1, tzinfo=UTC)


class Listing:
    def __init__(self, *objects):
        self.found = [StoredObject(key, size, "e", AT) for key, size in objects]

    def iter_objects(self, bucket, prefix):
        return (item for item in self.found if item.key.startswith(prefix))

    def objects(self, bucket, prefix):
        return list(self.iter_objects(bucket, prefix))

    def link(self, bucket, key, seconds):
        return f"http://s3.test/{bucket}/{key}?X-Amz-Expires={seconds}&X-Amz-Signature=abc"


@pytest.fixture
def store(monkeypatch):
    made = Listing(("bronze/a/1", 5), ("bronze/a/2", 5), ("bronze/b/c/3", 30), ("gold/4", 1), ("top", 2))
    monkeypatch.setattr("lakehouse.minio.hook.ObjectStoreHook", lambda conn_id: made)
    return made


def report(**kwargs):
    return StorageReportOperator(task_id="report", bucket="lake", **kwargs).execute({})


def test_bytes_and_objects_are_summed_up_per_prefix_largest_first(store):
    found = report()
    assert (found["objects"], found["bytes"]) == (5, 43)
    assert [(one["prefix"], one["objects"], one["bytes"]) for one in found["prefixes"]] == [
        ("bronze/", 3, 40),
        ("", 1, 2),
        ("gold/", 1, 1),
    ]
    assert found["prefixes"][0]["newest"] == AT.isoformat()


def test_depth_and_prefix_say_how_finely(store):
    found = report(prefix="bronze/", depth=2)
    assert [one["prefix"] for one in found["prefixes"]] == ["bronze/b/c/", "bronze/a/"]


def test_what_is_beyond_the_limit_is_one_line(store):
    found = report(limit=1)
    assert [(one["prefix"], one["bytes"]) for one in found["prefixes"]] == [("bronze/", 40), ("(others)", 3)]
    assert found["bytes"] == 43


def test_an_empty_prefix_has_an_empty_report(store):
    assert report(prefix="silver/") == {"bucket": "lake", "objects": 0, "bytes": 0, "prefixes": []}


def test_the_table_lines_up():
    lines = table(by_depth(Listing(("bronze/a", 1_234_567)).found, "", 1)).splitlines()
    assert lines[1] == "bronze/          1         1,234,567  2026-11-24 01:00"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [({"prefix": "bronze"}, "prefix 'bronze' must end with a slash"), ({"depth": 0}, "depth is 0, limit 100")],
)
def test_wrong_arguments_of_the_report_are_refused(store, arguments, text):
    with pytest.raises(ValueError, match=text):
        report(**arguments)


def links(**kwargs):
    return DownloadLinksOperator(task_id="links", bucket="lake", **kwargs).execute({})


def test_every_data_object_gets_a_link_that_expires(store, capfd):
    store.found += Listing(("gold/_manifest.json", 9), ("gold/.keep", 0)).found
    found = links(prefix="gold/", seconds=60)
    assert [(one["key"], one["bytes"]) for one in found["links"]] == [("gold/4", 1)]
    assert "X-Amz-Expires=60" in found["links"][0]["url"]
    assert datetime.fromisoformat(found["expires_at"]) > datetime.now(UTC)
    assert "X-Amz-Signature" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("prefix", ["nothing/", "bronze/"])
def test_no_objects_or_too_many_are_an_error(store, prefix):
    store.found += Listing(*((f"bronze/x/{number}", 1) for number in range(100))).found
    with pytest.raises(ObjectStoreError, match="where 1 to 100 can have links"):
        links(prefix=prefix)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"prefix": "gold/", "seconds": 0}, "seconds is 0; a link is good for 1 to 604800"),
        ({"prefix": "gold/", "seconds": 604801}, "seconds is 604801"),
        ({"prefix": ""}, "would give away the whole bucket"),
    ],
)
def test_wrong_arguments_of_the_links_are_refused(store, arguments, text):
    with pytest.raises(ValueError, match=text):
        links(**arguments)


def test_a_link_is_signed_in_the_way_that_servers_take_and_has_no_secret(monkeypatch):
    conn = '{"conn_type":"aws","login":"key","password":"hidden-word","extra":{"endpoint_url":"http://s3.test:9000","region_name":"us-east-1"}}'
    monkeypatch.setenv("AIRFLOW_CONN_STORE", conn)
    url = ObjectStoreHook("store").link("lake", "gold/4", 60)
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url and "X-Amz-Expires=60" in url
    assert "hidden-word" not in url
