"""Turns an exception into two sentences for a person: what failed, and what to do."""

import re
from dataclasses import dataclass

LONGEST = 600  # characters of each sentence; a database column and a page show them

# Messages that say themselves what to do end with it; these are the words with which that part begins.
# fmt: off
_IMPERATIVES = frozenset({
    "Apply", "Bring", "Change", "Check", "Clear", "Correct", "Create", "Delete", "Free", "Install", "Look", "Make",
    "Name", "Open", "Raise", "Repair", "Restart", "Run", "See", "Set", "Start", "Store", "Use", "Wait", "Nothing",
})
# fmt: on
# a line of `lakehouse.dbt.operators.describe`: a row as JSON, or how many more there are
_ROW = re.compile(r"^  (\{.*\}|\.\.\. and \d+ more)$", re.MULTILINE)
_SENTENCES = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")

# What other libraries raise, and what has no remedy of its own: pattern over "module.Class: text" -> what to do.
_REMEDIES: tuple[tuple[str, str], ...] = (
    (
        r"^lakehouse\.ops\.lease\.",
        "Wait for the other try of this task to end; clear the group if that one failed.",
    ),
    (
        r"^lakehouse\.ops\.releases\.",
        "Clear the group that it names, with everything after it.",
    ),
    (
        r"conn_id .* isn't defined|AirflowNotFoundException",
        "Create that connection in Airflow (Admin, Connections) or by `make up`, then clear the group.",
    ),
    (
        r"psycopg2?\..*(password|authentication)",
        "Check login and password of the PostgreSQL connection, then clear the group.",
    ),
    (
        r"psycopg2?\.",
        "Check that PostgreSQL runs and that host, port and database are right (`make status`), then clear the group.",
    ),
    (
        r"(ConnectError|ConnectionError|ConnectionRefused|EndpointConnection|Connection refused|Max retries)",
        "Check that the service runs (`make status`) and host and port of its Airflow connection, "
        "then clear the group.",
    ),
    (
        r"(AirflowTaskTimeout|TimeoutError|Timeout)",
        "See in the task's log what it was waiting for; raise its time limit if that is how long it takes, "
        "then clear the group.",
    ),
    (
        r"(AirflowTaskTerminated|SIGTERM|SystemExit)",
        "It was stopped from outside (marked, cleared, or Airflow was shut down): clear the group.",
    ),
    (
        r"(MemoryError|OutOfMemory|No space left|DiskFull|XMinioStorageFull)",
        "Free memory or disk on the machine that is named, then clear the group.",
    ),
    (r"TemplateError|UndefinedError", "Correct the template in the DAG, then clear the group."),
)
_OTHERWISE = "Open the task's log, repair what it names, then clear the group with everything after it."
KILLED = (
    "the process of the task was killed before it could say why",
    "See whether the machine ran out of memory or Airflow was restarted, then clear the group.",
)


@dataclass(frozen=True)
class Explanation:
    """:ivar what: one sentence, without a full stop at its end. :ivar remedy: what to do."""

    what: str
    remedy: str


def explain(error: BaseException | str | None) -> Explanation:
    """Return what failed and what to do about it.

    Errors of this package say both themselves. One with an attribute `what` (a sentence without rows, SQL and other
    people's words about them) has `remedy` beside it; of any other the message counts, and what to do is its end,
    or its class's `remedy`. For what other libraries raise it comes from a table by type and text.

    The text is not freed of secrets: errors of this package hold none, and what others raise must be redacted
    by the caller. Rows of data that a test shows are left out: they are for the task's log and not for everybody
    who sees the state of a run.
    """
    if error is None:
        return Explanation(*KILLED)
    what, remedy = _said(error)
    if not remedy:
        name = "" if isinstance(error, str) else f"{type(error).__module__}.{type(error).__qualname__}: "
        remedy = next((todo for pattern, todo in _REMEDIES if re.search(pattern, name + what)), _OTHERWISE)
        if not isinstance(error, str) and type(error).__module__.partition(".")[0] != "lakehouse":
            what = f"{type(error).__name__}: {what}" if what != type(error).__name__ else what
    return Explanation(_shortened(what.rstrip(". ")), _shortened(remedy))


def _said(error: BaseException | str) -> tuple[str, str]:
    """What an error says itself; the second is empty where it does not."""
    if what := getattr(error, "what", ""):
        return " ".join(str(what).split()), str(getattr(error, "remedy", ""))
    what, remedy = _split(" ".join(_ROW.sub("", str(error)).split()) or type(error).__name__)
    return what, remedy or str(getattr(error, "remedy", ""))


def _split(text: str) -> tuple[str, str]:
    """The text up to its first sentence that tells what to do, and the rest."""
    sentences = _SENTENCES.split(text)
    for index, sentence in enumerate(sentences):
        if index and sentence.split(maxsplit=1)[0].rstrip(",:") in _IMPERATIVES:
            return " ".join(sentences[:index]), " ".join(sentences[index:])
    return text, ""


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
