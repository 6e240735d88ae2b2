"""A chart's data on its way from Dremio through Superset to a mail server."""

import email.policy
import json
import socketserver
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest

from lakehouse.superset.exceptions import SupersetConfigError
from lakehouse.superset.notifier import SupersetChartNotifier
from lakehouse.superset.operators import SupersetApplyOperator
from tests.integration.lakehouse.superset.conftest import Corner


class Conversation(socketserver.StreamRequestHandler):
    """As much of SMTP as takes a mail in."""

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                text = b"".join(iter(self.rfile.readline, b".\r\n"))
                self.server.mails.append(email.message_from_bytes(text, policy=email.policy.default))  # type: ignore[attr-defined]
            self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")
            if verb == b"QUIT":
                return


@pytest.fixture
def mails(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EmailMessage]]:
    """What a mail server, which is Airflow's `smtp_default`, has taken in."""
    with socketserver.TCPServer(("127.0.0.1", 0), Conversation) as server:
        server.mails = []  # type: ignore[attr-defined]
        extra = {"disable_ssl": True, "disable_tls": True}
        connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": server.server_address[1], "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connection))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.mails  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


def notifier(corner: Corner, chart: str) -> SupersetChartNotifier:
    return SupersetChartNotifier(
        dashboard=corner.slug,
        charts=[chart],
        to="sales@example.com",
        from_email="lake@example.com",
        subject="Revenue of {{ day }}",
        html_content="As a file.",
    )


def test_a_chart_is_mailed_as_the_dashboard_shows_it(
    corner: Corner, context: dict[str, Any], mails: list[EmailMessage]
) -> None:
    SupersetApplyOperator(task_id="apply").execute(context)
    notifier(corner, "Daily revenue")({**context, "day": "2026-01-05"})
    (mail,) = mails
    assert (mail["To"], mail["Subject"]) == ("sales@example.com", "Revenue of 2026-01-05")
    (file,) = mail.iter_attachments()
    assert file.get_filename() == "1_Daily_revenue.csv"
    content = file.get_content()
    lines = (content if isinstance(content, str) else content.decode()).strip().splitlines()
    assert len(lines) == 2 and "12.5" in lines[1]
    with pytest.raises(SupersetConfigError, match=r"has no chart Nothing; it has .*Daily revenue"):
        notifier(corner, "Nothing").notify({})  # type: ignore[typeddict-item]
    assert len(mails) == 1
