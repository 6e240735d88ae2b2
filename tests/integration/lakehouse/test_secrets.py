"""No operator, sensor, trigger or notifier of the provider lets a secret out, whatever goes wrong.

Each is run with every connection that it names broken in turn: by a secret that the server refuses, by an address where
nobody listens, by such an address with the login in it. Whatever Airflow would keep or show is searched: logs, output,
the error with all that caused it, rendered fields, XComs, what the task remembers, what a deferral or an event stores.
"""

import asyncio
import base64
import json
import logging
import os
import re
import socket
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.module_loading import import_string

from lakehouse.dbt import manifest
from lakehouse.dremio.looks import JobDone, dump
from lakehouse.minio.hook import ObjectStoreHook
from lakehouse.ops import database, releases
from lakehouse.provider import get_provider_info
from tests import listed

EXAMPLES = Path(__file__).resolve().parents[3] / "docs" / "examples"
NOW = datetime.now(UTC)
STORAGE = str(EXAMPLES / "storage.yaml")
DASHBOARDS = str(EXAMPLES / "include" / "pipelines" / "dashboards.yaml")
OBJECTS: dict[str, Any] = {"bucket": "datalake", "prefix": "it_secrets/"}
LANDED = "bronze/landing/source=it_secrets/one/"
SMALL = "it_secrets_small/"
SOON = timedelta(minutes=10)  # from the moment in which it is run
MAIL: dict[str, Any] = {"to": "a@example.com", "from_email": "b@example.com", "subject": "s", "html_content": "h"}
# what each needs to begin; nothing of it exists, so that a run with one connection broken changes nothing by the others
NEEDS: dict[str, dict[str, Any]] = {
    "AirbyteApplyOperator": {"folder": str(EXAMPLES / "include" / "pipelines")},
    "AirbyteSyncOperator": {"connection": "it_secrets"},
    "BucketApplyOperator": {"declaration": STORAGE},
    "CompactLandingOperator": {"source": "it_secrets", "streams": ["one"]},
    "CompactOperator": {**OBJECTS, "prefix": SMALL, "layer": "silver"},
    "ContinuousSyncOperator": {"connection": "it_secrets", "streams": ["one"], "duration": timedelta(seconds=1)},
    "DbtModelOperator": {"select": "one"},
    "DbtSourceFreshnessOperator": {"select": "source:it_secrets"},
    "DbtTestOperator": {"select": "one"},
    "DownloadLinksOperator": OBJECTS,
    "DremioApplyOperator": {"path": str(EXAMPLES / "dremio.yaml")},
    "DremioClaimSlotOperator": {},
    "DremioJobSensor": {"job_id": str(uuid.uuid4())},
    "DremioPromoteOperator": {"tables": ["datalake.it_secrets"]},
    "DremioReflectionSensor": {"dataset": "datalake.it_secrets"},
    "DremioRefreshReflectionsOperator": {"path": str(EXAMPLES / "reflections.yaml")},
    "DremioReleaseOperator": {"marts": ["it_secrets"]},
    "DremioRollbackOperator": {},
    "DremioSqlOperator": {"sql": "SELECT 1"},
    "DremioTableSensor": {"table": "datalake.it_secrets"},
    "DremioToMinioOperator": {
        **OBJECTS,
        "prefix": "it_secrets",
        "sql": "SELECT 1 AS one",
        "lakehouse_conn_id": "lakehouse_db",
    },
    "MinioToDremioOperator": {**OBJECTS, "prefix": "it_secrets", "table": "a.b", "source": "datalake"},
    "ObjectSensor": {"bucket": "datalake", "key": "it_secrets/one"},
    "PrefixSensor": OBJECTS,
    "PublishOperator": {"source": "it_secrets", "streams": [{"name": "one", "batch_date": "snapshot"}]},
    "ReportOperator": {"declaration": str(EXAMPLES.parents[1] / "include" / "pipelines" / "daily_batch.yaml")},
    "RetentionOperator": {"bucket": "datalake", "keep_days": {"it_secrets/": 1}},
    "StorageReportOperator": OBJECTS,
    "SupersetApplyOperator": {"declaration": DASHBOARDS},
    "SupersetExportOperator": {"dashboards": ["it-secrets"], "folder": "/nowhere"},
    "SupersetInvalidateOperator": {"datasets": ["it_secrets"]},
    "SupersetWarmUpOperator": {"declaration": DASHBOARDS},
    "AirbyteJobTrigger": {"job_id": 1, "started_at": 0.0, "end_at": SOON, "owned": True, "patience": -1.0},
    "ContinuousSyncTrigger": {},  # run by its operator
    "DremioJobTrigger": {"job_id": str(uuid.uuid4()), "deadline": SOON},
    "DremioReflectionsTrigger": {"before": {str(uuid.uuid4()): []}, "deadline": SOON},
    "DremioWatchTrigger": {"watch": dump(JobDone("1")), "deadline": SOON, "poke_interval": 1.0},
    "ObjectsTrigger": {"awaited": OBJECTS, "deadline": SOON, "poke_interval": 1.0},
    "SupersetWarmUpTrigger": {"requests": [{"dashboard": "it-secrets", "chart": "one", "body": {"queries": []}}]},
    "SupersetChartNotifier": {"dashboard": "it-secrets", "charts": [], **MAIL},
}
NOTIFIERS = {name.rpartition(".")[2]: name for name in get_provider_info()["notifications"]}
# what goes on without that connection: it is not worth a failed task, or needed in some cases only
DOES_WITHOUT = {
    ("ContinuousSyncOperator", "aws_conn_id"),  # comes to these after a sync
    ("ContinuousSyncOperator", "dremio_conn_id"),
    ("DbtSourceFreshnessOperator", "records_conn_id"),
    ("DbtTestOperator", "records_conn_id"),
    ("DremioClaimSlotOperator", "dremio_conn_id"),
}
SAID = re.compile(
    r"refused|does not answer|could not connect|authentication failed|unauthori[sz]ed|unauthenticated|carries a login",
    re.IGNORECASE,
)


class Seen:
    """Everything that Airflow would keep or show of one run."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, *values: Any) -> None:
        self.texts += [value if isinstance(value, str) else f"{value!r} {value}" for value in values]

    def error(self, error: BaseException) -> None:
        """The error as a log shows it, with what caused it, and its parts as a callback may send them."""
        self.add("".join(traceback.format_exception(error)))
        chain: list[BaseException] = [error]
        for one in chain:
            self.add(repr(one), repr(one.args), repr(vars(one)))
            chain += [cause for cause in (one.__cause__, one.__context__) if cause and cause not in chain]

    def leaks(self, secret: str) -> list[str]:
        """Texts with the secret: plain, in a URL, in JSON, or as in a header of basic authentication."""
        forms = {secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
        forms |= {base64.b64encode(b"x" * start + secret.encode()).decode()[4:-4] for start in range(3)}
        return [text for text in self.texts if any(form in text for form in forms)]


@pytest.fixture
def seen(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Logs at every level of our own, and the libraries' from INFO on. Nobody waits between two attempts."""
    for name in ("lakehouse", "airflow"):
        caplog.set_level(logging.DEBUG, name)
    for name in ("httpx", "urllib3", "botocore", "boto3", "dbt"):
        caplog.set_level(logging.INFO, name)
    pause = asyncio.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(asyncio, "sleep", lambda seconds: pause(0))
    for module in (
        "dremio.triggers.UNREACHABLE_SECONDS",
        "minio.triggers.UNREACHABLE_SECONDS",
        "streaming.trigger.PATIENCE",
    ):
        monkeypatch.setattr(f"lakehouse.{module}", -1.0)
    return Seen()


@pytest.fixture(scope="module", autouse=True)
def begun(own_database: str, stack_connections: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What lets each come as far as the connection that is broken: releases, a batch of objects, a dbt project."""
    for run_id in ("earlier", "it"):
        releases.claim_slot("lakehouse_db", run_id, NOW.date())
        for state in ("built", "switching", "released"):
            releases.mark("lakehouse_db", run_id, state, views={"it_secrets": "SELECT 1"})
    tried("DremioToMinioOperator")(Seen())
    store, path = ObjectStoreHook(), tmp_path_factory.mktemp("small") / "one.parquet"
    pq.write_table(pa.table({"one": [1]}), path)
    for folder in (SMALL, LANDED):
        for number in range(2):
            store.store("datalake", f"{folder}2026_11_22_{number}_0.parquet", path)
    dbt = tmp_path_factory.mktemp("include") / "dbt"
    (dbt / "models" / "staging").mkdir(parents=True)
    (dbt / "dbt_project.yml").write_text("{name: lakehouse, profile: lakehouse, version: 1.0.0}")
    (dbt / "models" / "staging" / "one.sql").write_text("SELECT 1 AS one")
    (dbt / "models" / "staging" / "one.yml").write_text(DBT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAKEHOUSE_INCLUDE", str(dbt.parent))
        patch.setenv("LAKEHOUSE_DBT_TARGET", str(dbt / "target"))
        manifest.build()
        yield
    for prefix in ("it_secrets", LANDED):
        store.remove("datalake", [item.key for item in store.objects("datalake", prefix)])


DBT = """
sources:
  - name: it_secrets
    config: {loaded_at_field: at, freshness: {error_after: {count: 1, period: day}}}
    tables: [{name: one}]
models: [{name: one, columns: [{name: one, data_tests: [not_null]}]}]
"""


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], tuple[str, str]]:
    """Makes a connection for a parameter that is of no use, in one of three ways; returns its id and secret."""

    def make(parameter: str, how: str) -> tuple[str, str]:
        secret = f"it's-{uuid.uuid4().hex}/{uuid.uuid4().hex}+%"
        service = {"aws": "MINIO"}.get(parameter.removesuffix("_conn_id"), parameter.removesuffix("_conn_id").upper())
        if parameter in ("lakehouse_conn_id", "records_conn_id", database.DSN_VARIABLE):
            fields = _of_url(os.environ["LAKEHOUSE_DB_URL"])
        else:
            fields = json.loads(os.environ[f"AIRFLOW_CONN_{service}_DEFAULT"])
        if how == "in the address":  # where some write it, though nobody is told to
            fields |= _nowhere(fields, f"someone:{quote(secret, safe='')}@")
        elif how == "unreachable":
            fields |= _nowhere(fields) | {"password": secret}
        else:
            fields["password"] = secret
        if parameter == database.DSN_VARIABLE:
            login = f"{fields['login']}:{quote(secret, safe='')}@{fields['host']}:{fields['port']}"
            monkeypatch.setenv(parameter, f"postgresql://{login}/{fields['schema']}")
        monkeypatch.setenv("AIRFLOW_CONN_IT_BROKEN", json.dumps(fields))
        return "it_broken", secret

    return make


def _of_url(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    fields = {"conn_type": "postgres", "host": parts.hostname, "port": parts.port, "schema": parts.path[1:]}
    return fields | {"login": parts.username, "extra": {"options": unquote(parts.query).removeprefix("options=")}}


def _nowhere(fields: dict[str, Any], login: str = "") -> dict[str, Any]:
    """The fields with an address that nobody listens at; the login goes before it where it is a URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url, extra = f"http://{login}127.0.0.1:{port}", dict(fields.get("extra") or {})
    extra |= {name: url for name in ("endpoint_url", "config_api_url") if name in extra}
    if "flight_port" in extra:
        extra["flight_port"] = port
    is_url = "://" in str(fields.get("host")) or (login and fields["conn_type"] == "dremio")
    return {"host": url if is_url else "127.0.0.1", "port": None if is_url else port, "extra": extra}


def run(operator: Any, seen: Seen) -> Any:
    """Run it to its end, in the triggerer's place too. Keeps all that Airflow would."""
    kept: dict[str, Any] = {}
    store = SimpleNamespace(
        get=kept.get, set=lambda key, value: (seen.add(key, value), kept.update({key: value})), delete=kept.pop
    )
    run_id = "back" if "Rollback" in type(operator).__name__ else "it"
    ti = SimpleNamespace(
        dag_id="it", task_id=operator.task_id, run_id=run_id, try_number=1, map_index=-1,
        xcom_push=lambda key, value: seen.add(key, value), get_task_states=lambda **_: {"it": {}},
    )  # fmt: skip
    dag_run = SimpleNamespace(run_after=NOW, start_date=NOW, logical_date=NOW)
    context = {"ti": ti, "task_state_store": store, "dag_run": dag_run, "run_id": run_id}
    seen.add(*(getattr(operator, field) for field in operator.template_fields))
    step, arguments = operator.execute, {}
    while True:
        try:
            found = step(context, **arguments)
            seen.add(found)
            return found
        except TaskDeferred as deferred:
            seen.add(deferred.kwargs)
            event = asyncio.run(fire(deferred.trigger, seen))
            step, arguments = getattr(operator, deferred.method_name), {**(deferred.kwargs or {}), "event": event}


async def fire(trigger: Any, seen: Seen) -> Any:
    """Run a trigger to its event; keeps both, as they stand in Airflow's database."""
    seen.add(trigger.serialize())
    async for event in trigger.run():
        seen.add(event.payload)
        return event.payload


def tried(name: str, **named: Any) -> Callable[[Seen], Any]:
    """A function that runs the operator, trigger or notifier of that name."""
    arguments = {
        key: time.time() + value.total_seconds() if value is SOON else value for key, value in NEEDS[name].items()
    } | named
    if name in listed.operators():
        made: Any = listed.operators()[name](task_id="it", **arguments)
        return lambda seen: run(made, seen)
    if name in listed.triggers():
        return lambda seen: asyncio.run(fire(listed.triggers()[name](**arguments), seen))
    notifier = import_string(NOTIFIERS[name])(**arguments)
    return lambda seen: notifier.notify({})


def cases() -> Iterator[Any]:
    """Each with each of its connections, and how that is broken.

    A refused secret with all; what is said of an address is the hooks' business, so two of each connection tell.
    SECRETS=all takes all.
    """
    taken: Counter[tuple[str, str]] = Counter()
    for name, kind in (listed.operators() | listed.triggers() | NOTIFIERS).items():
        kinds = import_string(kind) if isinstance(kind, str) else kind
        names = {
            key for base in kinds.__mro__ for key in signature(base.__init__).parameters if key.endswith("_conn_id")
        }
        for parameter in sorted(names - {"smtp_conn_id"}):  # is Airflow's own
            has_url = parameter not in ("lakehouse_conn_id", "records_conn_id")
            for how in ("refused", "unreachable", *(["in the address"] if has_url else [])):
                taken[parameter, how] += 1
                if how == "refused" or taken[parameter, how] <= 2 or os.environ.get("SECRETS") == "all":
                    yield pytest.param(name, parameter, how, id=f"{name}-{parameter}-{how}")
    yield "ReportOperator", database.DSN_VARIABLE, "refused"
    yield "ReportOperator", database.DSN_VARIABLE, "unreachable"


def test_each_is_tried() -> None:
    assert set(NEEDS) == set(listed.operators()) | set(listed.triggers()) | set(NOTIFIERS)


@pytest.mark.parametrize(("name", "parameter", "how"), list(cases()))
def test_no_secret_is_told(
    name: str, parameter: str, how: str, broken: Any, seen: Seen, caplog: Any, capfd: Any
) -> None:
    conn_id, secret = broken(parameter, how)
    failed = None
    try:
        tried(name, **({parameter: conn_id} if parameter.islower() else {}))(seen)
    except Exception as error:
        failed = error
        seen.error(error)
    said = capfd.readouterr()
    seen.add(caplog.text, *(str(vars(record)) for record in caplog.records), said.out, said.err)
    assert seen.leaks(secret) == []
    if (name, parameter) not in DOES_WITHOUT:
        assert SAID.search("".join(seen.texts)), f"{name} did without {parameter}: {failed!r}"
