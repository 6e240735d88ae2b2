"""ALTER in all its forms, and the statements that keep tables in order (OPTIMIZE, VACUUM, ROLLBACK, COPY INTO)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from embedded.dremio.engine.contracts import ReflectionDefinition
from embedded.dremio.sql.clauses import key_values, parse_type, partitions
from embedded.dremio.sql.records import AlterTable, Analyze, CopyInto, Optimize, Refused, Rollback, Vacuum
from embedded.dremio.sql.statements_access import principal
from embedded.dremio.sql.words import Words


def _alter(words: Words) -> Any:
    words.expect("ALTER")
    kind = words.word()
    if kind == "USER":
        return principal(words, "ALTER")
    if kind not in ("TABLE", "VIEW", "VDS", "PDS", "DATASET"):
        return Refused(f"ALTER {kind} is not supported.")
    words.at += 1
    path = words.path()
    action = words.word()
    if action in ("CREATE", "DROP", "REFRESH", "ENABLE", "DISABLE", "ROUTE", "FORGET"):
        return _alter_dataset(words, path)
    if action == "SET" or action == "UNSET":
        return _alter_set(words, path)
    return _alter_columns(words, path)


def _alter_dataset(words: Words, path: tuple[str, ...]) -> Any:
    if words.accept("REFRESH", "METADATA"):
        _metadata_options(words)
        return AlterTable(path, "REFRESH METADATA")
    if words.accept("FORGET", "METADATA"):
        words.end()
        return AlterTable(path, "FORGET METADATA")
    if words.accept("REFRESH", "REFLECTIONS"):
        words.end()
        return AlterTable(path, "REFRESH REFLECTIONS")
    if words.accept("CREATE"):
        return _create_reflection(words, path)
    if words.accept("DROP"):
        if words.accept("PRIMARY", "KEY"):
            words.end()
            return AlterTable(path, "DROP PRIMARY KEY")
        if words.accept("REFLECTION"):
            name = words.name()
            words.end()
            return AlterTable(path, "DROP REFLECTION", name=name)
        words.accept("COLUMN")
        name = words.name()
        words.end()
        return AlterTable(path, "DROP COLUMN", name=name)
    if words.accept("ROUTE"):
        return _route(words, path)
    enable = words.word() == "ENABLE"
    words.at += 1
    raw = words.accept("RAW")
    if not raw:
        words.expect("AGGREGATE")
    words.expect("ACCELERATION")
    words.end()
    return AlterTable(path, "ACCELERATION", flag=enable, name="RAW" if raw else "AGGREGATE")


def _route(words: Words, path: tuple[str, ...]) -> AlterTable:
    words.accept("ALL")
    words.expect("REFLECTIONS", "TO")
    default = words.accept("DEFAULT")
    if not words.accept("QUEUE"):
        words.expect("ENGINE")
    queue = "" if default else words.name()
    words.end()
    return AlterTable(path, "ROUTE REFLECTIONS", name=queue)


def _metadata_options(words: Words) -> None:
    options = (
        ("FOR", "ALL", "FILES"), ("FOR", "ALL", "PARTITIONS"), ("AUTO", "PROMOTION"), ("AVOID", "PROMOTION"),
        ("FORCE", "UPDATE"), ("LAZY", "UPDATE"), ("DELETE", "WHEN", "MISSING"), ("MAINTAIN", "WHEN", "MISSING"),
    )  # fmt: skip
    while not words.done():
        if words.accept("FOR", "FILES") or words.accept("FOR", "PARTITIONS"):
            words.until()  # a part of the table: the whole is refreshed
        elif not any(words.accept(*option) for option in options):
            raise words.error("expected an option of REFRESH METADATA")


def _alter_set(words: Words, path: tuple[str, ...]) -> AlterTable:
    if words.accept("UNSET", "TBLPROPERTIES"):
        words.expect("(")
        names = [words.text()]
        while words.accept(","):
            names.append(words.text())
        words.expect(")")
        words.end()
        return AlterTable(path, "UNSET TBLPROPERTIES", names=names)
    words.expect("SET")
    if words.accept("TBLPROPERTIES"):
        values = {k: str(v) for k, v in key_values(words, "=").items()}
        words.end()
        return AlterTable(path, "SET TBLPROPERTIES", values=values)
    words.expect("ENABLE_DEFAULT_REFLECTION")
    words.expect("=")
    flag = words.name().upper() == "TRUE"
    words.end()
    return AlterTable(path, "DEFAULT REFLECTION", flag=flag)


def _alter_columns(words: Words, path: tuple[str, ...]) -> Any:
    if words.accept("ADD", "COLUMNS"):
        words.expect("(")
        columns = []
        while True:
            name = words.name()
            columns.append((name, parse_type(words.until(","), words)))
            if not words.accept(","):
                break
        words.expect(")")
        words.end()
        return AlterTable(path, "ADD COLUMNS", columns=columns)
    if words.accept("ADD", "PRIMARY", "KEY"):
        names = words.names()
        words.end()
        return AlterTable(path, "ADD PRIMARY KEY", names=names)
    if words.accept("LOCALSORT", "BY"):
        names = words.names()
        words.end()
        return AlterTable(path, "LOCALSORT BY", names=names)
    if words.accept("ADD", "PARTITION", "FIELD"):
        return Refused("ADD PARTITION FIELD is not supported.")
    for word in ("ALTER", "CHANGE", "MODIFY"):
        if words.accept(word):
            words.accept("COLUMN")
            name = words.name()
            new_name = words.name()
            kind = parse_type(words.until("NOT", "NULL"), words)
            if not words.accept("NOT", "NULL"):
                words.accept("NULL")
            words.end()
            return AlterTable(path, "CHANGE COLUMN", name=name, new_name=new_name, kind=kind)
    raise words.error("expected ADD COLUMNS, DROP COLUMN, ALTER COLUMN, a key, LOCALSORT BY, SET or REFRESH METADATA")


def _create_reflection(words: Words, path: tuple[str, ...]) -> Any:
    if words.accept("EXTERNAL"):
        return Refused("External reflections are not supported.")
    raw = words.accept("RAW")
    if not raw:
        words.expect("AGGREGATE")
    words.expect("REFLECTION")
    name = words.name()
    words.expect("USING")
    found: dict[str, Any] = {}
    if raw:
        words.expect("DISPLAY")
        found["display"] = tuple(words.names())
    else:
        if words.accept("DIMENSIONS"):
            found["dimensions"] = _dimensions(words)
        if words.accept("MEASURES"):
            found["measures"] = _measures(words)
        if not found:
            raise words.error("expected DIMENSIONS or MEASURES")
    if words.accept("DISTRIBUTE", "BY"):
        found["distribution"] = tuple(words.names())
    striped = words.accept("STRIPED")
    words.accept("CONSOLIDATED")
    if words.accept("PARTITION", "BY"):
        found["partitions"] = tuple((p.column, p.transform) for p in partitions(words))
    if words.accept("LOCALSORT", "BY"):
        found["sort"] = tuple(words.names())
    found["arrow_cache"] = words.accept("ARROW", "CACHE")
    words.end()
    strategy = "STRIPED" if striped else "CONSOLIDATED"
    kind = "RAW" if raw else "AGGREGATION"
    definition = ReflectionDefinition(name, kind, partition_strategy=strategy, **found)
    return AlterTable(path, "CREATE REFLECTION", definition=definition)


def _dimensions(words: Words) -> tuple[tuple[str, str], ...]:
    found = []
    words.expect("(")
    while not words.accept(")"):
        name = words.name()
        found.append((name, "DATE" if words.accept("BY", "DAY") else "NORMAL"))
        words.accept(",")
    return tuple(found)


def _measures(words: Words) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found = []
    words.expect("(")
    while not words.accept(")"):
        name = words.name()
        kinds = []
        if words.accept("("):
            while not words.accept(")"):
                kinds.append(_measure(words))
                words.accept(",")
        found.append((name, tuple(kinds)))
        words.accept(",")
    return tuple(found)


def _measure(words: Words) -> str:
    if words.accept("APPROX", "COUNT", "DISTINCT") or words.accept("APPROXIMATE", "COUNT", "DISTINCT"):
        return "APPROX_COUNT_DISTINCT"
    for word in ("MIN", "MAX", "SUM", "COUNT"):
        if words.accept(word):
            return word
    raise words.error("expected MIN, MAX, SUM, COUNT or APPROXIMATE COUNT DISTINCT")


def _analyze(words: Words) -> Analyze:
    words.expect("ANALYZE", "TABLE")
    path = words.path()
    words.expect("FOR")
    columns: list[str] = []
    if not words.accept("ALL", "COLUMNS"):
        words.expect("COLUMNS")
        columns = words.names()
    delete = words.accept("DELETE")
    if not delete:
        words.expect("COMPUTE")
    words.expect("STATISTICS")
    words.end()
    return Analyze(path, columns, delete)


def _optimize(words: Words) -> Any:
    words.expect("OPTIMIZE", "TABLE")
    made = Optimize(words.path())
    if words.accept("REWRITE", "MANIFESTS"):
        made.data = False
    elif words.accept("REWRITE", "DATA"):
        made.manifests = False
        words.accept("USING", "BIN_PACK")
    if words.word() == "(":
        made.options = key_values(words, "=")
    if words.accept("FOR", "PARTITIONS"):
        made.partitions = words.rest()
    if words.accept("REWRITE", "MANIFESTS"):
        made.manifests = True
    words.end()
    return made


def _vacuum(words: Words) -> Any:
    words.expect("VACUUM")
    if words.accept("CATALOG"):
        return Refused("VACUUM CATALOG needs a versioned (Nessie) source; this server has none.")
    words.expect("TABLE")
    made = Vacuum(words.path())
    if words.accept("REMOVE", "ORPHAN", "FILES"):
        made.action = "ORPHANS"
    else:
        words.expect("EXPIRE", "SNAPSHOTS")
    while not words.done():
        if words.accept("OLDER_THAN"):
            words.accept("=")
            made.older_than = words.text()
        elif made.action == "EXPIRE" and words.accept("RETAIN_LAST"):
            words.accept("=")
            made.retain_last = words.number()
        else:
            raise words.error("expected OLDER_THAN or RETAIN_LAST")
    return made


def _rollback(words: Words) -> Rollback:
    words.expect("ROLLBACK", "TABLE")
    made = Rollback(words.path())
    words.expect("TO")
    if words.accept("SNAPSHOT"):
        made.snapshot = words.text()
    else:
        words.expect("TIMESTAMP")
        made.timestamp = words.text()
    words.end()
    return made


def _copy(words: Words) -> CopyInto:
    words.expect("COPY", "INTO")
    made = CopyInto(words.path(), "")
    words.expect("FROM")
    made.location = words.text()
    if words.accept("FILES"):
        words.expect("(")
        made.files = [words.text()]
        while words.accept(","):
            made.files.append(words.text())
        words.expect(")")
    elif words.accept("REGEX"):
        made.pattern = words.text()
    if words.accept("FILE_FORMAT"):
        made.file_format = words.text().lower()
    if words.word() == "(":
        made.options = _copy_options(words)
    words.end()
    return made


def _copy_options(words: Words) -> dict[str, Any]:
    found: dict[str, Any] = {}
    words.expect("(")
    while not words.accept(")"):
        name = words.name().upper()
        if words.accept("("):
            items = [words.text()]
            while words.accept(","):
                items.append(words.text())
            words.expect(")")
            found[name] = items
        elif words.word().isdigit():
            found[name] = str(words.number())
        elif words.word() in (",", ")"):  # EMPTY_AS_NULL and TRIM_SPACE may stand alone
            found[name] = "true"
        else:
            found[name] = words.text()
        words.accept(",")
    return found


PARSERS: dict[str, Callable[[Words], Any]] = {
    "ALTER": _alter,
    "ANALYZE": _analyze,
    "OPTIMIZE": _optimize,
    "VACUUM": _vacuum,
    "ROLLBACK": _rollback,
    "COPY": _copy,
}
