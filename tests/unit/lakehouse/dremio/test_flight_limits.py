"""Waits for Flight happen in the driver, where nothing can interrupt them: each has a limit of its own."""

import json
import ssl
import time
from pathlib import Path
from types import SimpleNamespace

import certifi
import pytest
from airflow.sdk import Connection

from lakehouse.dremio import rest
from lakehouse.dremio.exceptions import DremioUnreachable
from lakehouse.dremio.hook import DremioHook


def hook_of(server, **extra):
    host, port = server
    connection = Connection(
        conn_id="dremio_default",
        conn_type="dremio",
        host=host,
        port=port,
        login="ana",
        password="s3cret-word",
        extra=json.dumps({"flight_port": port} | extra),
    )
    return DremioHook("dremio_default", connection=connection)


@pytest.mark.timeout(60)
def test_a_server_that_never_answers_is_unreachable_in_time(silent_server):
    started = time.monotonic()
    with pytest.raises(DremioUnreachable, match=r"user ana"):
        hook_of(silent_server, timeout=0.5).get_first("SELECT 1")
    assert time.monotonic() - started < 10  # the driver itself waits for 20 s


def test_statement_and_result_have_the_connections_limit():
    options = hook_of(("dremio.test", 1), flight_timeout=90)._flight_options()
    limits = {name.rsplit(".", 1)[1]: value for name, value in options.items() if "timeout_seconds" in name}
    assert limits == {"connect": "30.0", "query": "90.0", "fetch": "90.0", "update": "90.0"}


def test_a_private_authority_holds_for_both_protocols_and_the_queue_for_each_call(tmp_path):
    (tmp_path / "ca.pem").write_text(Path(certifi.where()).read_text())
    extra = {"ca_file": str(tmp_path / "ca.pem"), "routing_queue": "etl", "routing_tag": "nightly"}
    hook = hook_of(("https://dremio.test", 1), **extra)
    options = hook._flight_options()
    assert hook.settings.flight_uri.startswith("grpc+tls://")
    assert options["adbc.flight.sql.client_option.tls_root_certs"] == (tmp_path / "ca.pem").read_text()
    queue = {name.rsplit(".", 1)[1]: value for name, value in options.items() if "header" in name}
    assert queue == {"routing_queue": "etl", "routing_tag": "nightly"}
    context = rest._tls(hook.settings)
    assert context.verify_mode is ssl.CERT_REQUIRED and context.cert_store_stats()["x509_ca"] > 50


def test_the_connection_test_waits_no_longer_than_for_a_request(monkeypatch):
    hook = hook_of(("dremio.test", 1), timeout=7)
    seen = []
    monkeypatch.setattr(DremioHook, "rest", SimpleNamespace(send=lambda call: None))
    monkeypatch.setattr(DremioHook, "get_first", lambda self, sql: seen.append(self.settings.flight_timeout))
    assert hook.test_connection()[0] is True
    assert seen == [7]
