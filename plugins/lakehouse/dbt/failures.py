"""What a failed dbt command says to a person: one sentence, and what to do.

Rows and SQL are no part of either: they hold any text at all and stay in the error's message and the task's log.
"""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from airflow.sdk import BaseHook

from lakehouse.dbt.runner import NodeResult

_GOLD = "readers of gold go on seeing the last release"
_REASONS = (
    r"Connection refused|Name or service not known|No route to host|Connection reset|timed out|RemoteDisconnected"
)
_NO_ANSWER = rf"{_REASONS}|Failed to establish|Max retries"  # the last two come around a reason
_REFUSED = r"Unauthorized|\b401 Client Error"
LONGEST_LINE = 300  # characters of dbt's own text


def told(failed: Sequence[NodeResult], conn_id: str) -> tuple[str, str]:
    """Return what failed and what to do, by the first failure that was no data test, else by the first.

    :param failed: at least one node.
    :param conn_id: the Airflow connection by which dbt reached Dremio.
    """
    first = next((node for node in failed if not node.blames_data), failed[0])
    what, remedy = _of_data(first) if first.blames_data else _of_error(first, conn_id)
    others = sorted(node.name for node in failed if node is not first)
    return what + (f" (and {len(others)} more: {', '.join(others)})" if others else ""), remedy


def told_of_start(text: str, conn_id: str) -> tuple[str, str]:
    """The same of a command that failed before its first model or test."""
    remedy = "Correct the dbt project or its profile as the message says, then clear the group."
    return _cause(text, conn_id) or (f"dbt did not run: {_line(text)}", remedy)


def _of_data(node: NodeResult) -> tuple[str, str]:
    if node.kind == "source":
        return (
            f"source {node.name} is stale: {node.message}",
            "Look whether the source gets rows and its sync in the group extract reads them, repair that and clear the "
            f"group extract; or correct the limit in include/dbt/{node.path} and clear this group; {_GOLD}.",
        )
    return (
        f"test {node.name} failed: {node.failures} row(s) should not be there",
        f"Look at the rows in the task's log and at include/dbt/{node.path}; repair the data at their source and clear "
        f"the group extract, or correct the test or model and clear this group; {_GOLD}.",
    )


def _of_error(node: NodeResult, conn_id: str) -> tuple[str, str]:
    kind = node.kind if node.kind in ("test", "source") else "model"
    remedy = f"Look at include/dbt/{node.path}, correct what the message names, then clear the group; {_GOLD}."
    return _cause(node.message, conn_id) or (f"{kind} {node.name} failed: {_line(node.message)}", remedy)


def _cause(text: str, conn_id: str) -> tuple[str, str] | None:
    """What failed outside of dbt, None if nothing did. A job's error is not searched: it quotes data."""
    if re.search(r"Dremio job \S+ [A-Z_]+: ", text):
        return None
    if "connection to server at" in text:  # libpq's words: the lease is in the run records
        remedy = "Check that PostgreSQL runs, and the connection lakehouse_db, then clear the group."
        return f"the database of the run records does not answer: {_line(text)}", remedy
    if "taken over by a newer holder" in text:
        return _line(text), "Wait for the newer try of this task to end; clear the group if that one failed."
    if found := re.search(_REASONS, text) or re.search(_NO_ANSWER, text):
        return (
            f"Dremio {_address(conn_id)} does not answer: {found.group()}",
            f"Check that it runs (`make status`), and host, port and TLS of the Airflow connection {conn_id}, "
            "then clear the group.",
        )
    if re.search(_REFUSED, text):
        return (
            f"Dremio {_address(conn_id)} refused the login",
            f"Check login and password (or access token) of the Airflow connection {conn_id}, then clear the group.",
        )
    return None


def _address(conn_id: str) -> str:
    try:
        conn = BaseHook.get_connection(conn_id)
    except Exception:  # whatever it is, it is not what failed
        return f"of connection {conn_id}"
    host = urlsplit(f"//{(conn.host or '').split('://')[-1]}")  # without a login, if somebody wrote one into it
    return f"at {host.hostname or ''}:{conn.port or host.port or ''} (user {conn.login or '-'})"


def _line(text: str) -> str:
    """dbt's text in one line, without its heading and without the statement, which Dremio repeats."""
    text = re.split(r"\n\s*SQL Query ", text)[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and re.match(r"(Runtime|Database|Compilation) Error", lines[0]):
        del lines[0]
    return " ".join(lines)[:LONGEST_LINE]
