"""One dbt command in this process, on a manifest that is already parsed, and what came of each node."""

import gc
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakehouse.dbt import manifest
from lakehouse.dbt.statements import Statements, watched
from lakehouse.ops.scratch import scratch

if TYPE_CHECKING:
    from cosmos import ProfileConfig
    from dbt.contracts.graph.manifest import Manifest

log = logging.getLogger(__name__)

SHOWN_ROWS = 5  # failing rows that an error shows
_BAD = ("error", "fail", "runtime error")


@dataclass(frozen=True)
class NodeResult:
    """What dbt said about one model or test.

    :param kind: `model`, `test`, `unit_test` or `source`.
    :param status: dbt's word: success, pass, warn, fail, error, skipped, runtime error.
    :param failures: rows that a test returned, None for anything else.
    :param compiled: the SQL that ran; empty where dbt did not come so far.
    :param parents: ids of the nodes that a test tests.
    :param rows: rows of a table or view that was built, None where nobody counted.
    :param samples: first rows that a failing test returned.
    """

    name: str
    node_id: str
    kind: str
    status: str
    message: str
    seconds: float
    failures: int | None = None
    relation: str | None = None
    path: str = ""
    compiled: str = ""
    parents: tuple[str, ...] = ()
    rows: int | None = None
    samples: tuple[Mapping[str, Any], ...] = ()

    @property
    def is_bad(self) -> bool:
        """Whether the node failed."""
        return self.status in _BAD

    @property
    def blames_data(self) -> bool:
        """Whether dbt ran well and found fault with the data: rows of a test, or a source that is stale."""
        return bool(self.failures) if self.kind == "test" else self.kind == "source" and self.status == "error"


@dataclass(frozen=True)
class DbtResult:
    """What one dbt command came to; `nodes` is empty where it failed before the first."""

    nodes: tuple[NodeResult, ...] = ()
    error: str | None = None

    def of_kind(self, kind: str) -> list[NodeResult]:
        """Return the nodes of one kind."""
        return [node for node in self.nodes if node.kind == kind]

    @property
    def failed(self) -> list[NodeResult]:
        """The nodes that failed."""
        return [node for node in self.nodes if node.is_bad]


@dataclass
class DbtCommand:
    """A dbt command for one slot of the marts.

    :param verb: `build`, `test`, `source freshness` or `list`.
    :param slot: "a" or "b".
    :param select: dbt's selection, e.g. `fct_orders` or `tag:quality`.
    :param exclude: dbt's exclusion.
    """

    verb: str
    slot: str
    select: str
    exclude: Sequence[str] = ()
    full_refresh: bool = False
    threads: int = 4
    count_rows: bool = field(default=False, kw_only=True)

    def arguments(self, profiles: Path, target: Path) -> list[str]:
        """Return the command line for dbtRunner."""
        arguments = ["--quiet", *self.verb.split(), "--select", self.select]
        if self.exclude:
            arguments += ["--exclude", *self.exclude]
        if self.verb in ("build", "test"):
            arguments += ["--exclude-resource-type", "unit_test"]
        if self.full_refresh:
            arguments.append("--full-refresh")
        if self.verb != "list":
            arguments += ["--threads", str(self.threads), "--cache-selected-only"]
        arguments += ["--vars", f"slot: {self.slot}"]
        arguments += ["--project-dir", str(manifest.project_directory()), "--profiles-dir", str(profiles)]
        arguments += ["--target-path", str(target), "--log-path", str(target), "--log-level-file", "none"]
        arguments += ["--no-write-json", "--no-partial-parse", "--no-version-check"]
        return [*arguments, "--no-send-anonymous-usage-stats", "--no-use-colors"]


def run(
    command: DbtCommand,
    profile: "ProfileConfig",
    statements: Statements,
    on_event: Callable[[str, str], None] | None = None,
) -> DbtResult:
    """Run a dbt command in this process.

    The project is not parsed (see `lakehouse.dbt.manifest`), nothing is written beside the compiled SQL in a
    folder that is removed afterwards, and every statement goes through `statements`. Not for two threads at once:
    dbt keeps its flags and adapters in globals.

    :param profile: profile that names the Airflow connection; read once, when the command starts.
    :param on_event: called with level (`info`, `warn`, `error`) and text of what dbt reports.
    :raises ManifestMissing: the project was changed and not parsed since.
    """
    from dbt.adapters.factory import reset_adapters

    parsed = manifest.load(command.slot)
    with scratch("dbt") as target, profile.ensure_profile() as (file, variables):
        arguments = command.arguments(Path(file).parent, target)
        with _environment(variables), watched(statements):
            try:
                return _invoke(command, parsed, arguments, [_reporter(on_event)] if on_event else [])
            finally:
                reset_adapters()
                gc.collect()  # frees the adapter's locks now: a task's process ends without doing so, which warns


def warm_up() -> bool:
    """Let dbt do once, in a process that forks for its tasks, what it does at its first use in a process (2 s).

    Talks to nobody. Without a parsed project there is nothing to do it with.

    :returns: whether it was done.
    """
    from dbt.adapters.factory import reset_adapters

    try:
        parsed = manifest.load("a")
    except manifest.ManifestMissing:
        return False
    with scratch("dbt") as place:
        profiles = manifest.offline_profile(place / "profiles")
        command = DbtCommand(verb="list", slot="a", select="tag:nothing", threads=1)
        _invoke(command, parsed, command.arguments(profiles, place), [])
    reset_adapters()
    return True


def _invoke(
    command: DbtCommand, parsed: "Manifest", arguments: list[str], callbacks: list[Callable[[Any], None]]
) -> DbtResult:
    from dbt.cli.main import dbtRunner

    outcome = dbtRunner(manifest=parsed, callbacks=callbacks).invoke(arguments)
    if outcome.exception is not None and not isinstance(outcome.exception, Exception):
        raise outcome.exception  # the task's time is over, or it was stopped: dbt takes these for errors of its own
    nodes = tuple(_node_result(result) for result in getattr(outcome.result, "results", None) or ())
    if command.count_rows or any(node.failures for node in nodes):
        nodes = tuple(_with_evidence(nodes, command))
    return DbtResult(nodes, None if outcome.exception is None else str(outcome.exception))


def _reporter(on_event: Callable[[str, str], None]) -> Callable[[Any], None]:
    shown = {"LogStartLine", "LogModelResult", "LogTestResult", "LogFreshnessResult", "RunResultError"}

    def report(event: Any) -> None:
        if event.info.name in shown or event.info.level in ("warn", "error"):
            on_event(event.info.level, event.info.msg)

    return report


@contextmanager
def _environment(variables: Mapping[str, str]) -> Any:
    """Set the variables that the profile refers to (the password is one) while dbt runs, and no longer."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _node_result(result: Any) -> NodeResult:
    node = result.node
    kind = str(node.resource_type)
    status, message = _freshness(result) if hasattr(result, "max_loaded_at") else (str(result.status), result.message)
    return NodeResult(
        name=f"{node.source_name}.{node.name}" if kind == "source" else node.name,
        node_id=node.unique_id,
        kind=kind,
        status=status,
        message=(message or "").strip(),
        seconds=float(result.execution_time or 0),
        failures=getattr(result, "failures", None) if kind in ("test", "unit_test") else None,
        relation=getattr(node, "relation_name", None),
        path=getattr(node, "original_file_path", ""),
        compiled=getattr(node, "compiled_code", None) or "",
        parents=tuple(getattr(getattr(node, "depends_on", None), "nodes", ())),
    )


def _freshness(result: Any) -> tuple[str, str]:
    """Status and text of a source's freshness. One that has never had a row cannot be late: dbt says error of it."""
    if result.max_loaded_at.year == 1:
        return "warn", "it has no rows at all"
    newest = f"its newest rows came at {result.max_loaded_at:%Y-%m-%d %H:%M} UTC, {result.age / 3600:,.0f} hours ago"
    limit = getattr(result.node.freshness, f"{result.status}_after", None)
    return str(result.status), newest + (f" (limit: {limit.count} {limit.period}s)" if limit else "")


def _first_rows(adapter: Any, node: NodeResult) -> tuple[dict[str, Any], ...]:
    """First rows that a failing test returns; none where they cannot be had: the test's failure is what counts."""
    try:
        _, table = adapter.execute(f"{node.compiled}\nlimit {SHOWN_ROWS}", fetch=True)
        return tuple(dict(zip(table.column_names, row, strict=True)) for row in table.rows)
    except Exception as error:  # dbt's, the adapter's, or that no more statements may be sent
        log.warning("The rows that %s found could not be fetched: %s", node.name, str(error).strip())
        return ()


def _with_evidence(nodes: Sequence[NodeResult], command: DbtCommand) -> list[NodeResult]:
    """Add what an error and the run's report show: rows of what was built, first rows of a failing test."""
    from dataclasses import replace

    from dbt.adapters.factory import FACTORY

    adapter: Any = FACTORY.lookup_adapter("dremio")
    looked = []
    with adapter.connection_named("evidence"):
        for node in nodes:
            if node.kind == "test" and node.failures and node.compiled:
                node = replace(node, samples=_first_rows(adapter, node))
            elif command.count_rows and node.kind == "model" and node.status == "success":
                _, table = adapter.execute(f"select count(*) as row_count from {node.relation}", fetch=True)
                node = replace(node, rows=int(table.rows[0][0]))
            looked.append(node)
    return looked
