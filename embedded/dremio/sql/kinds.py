"""The type arithmetic of Dremio's planner: classes of types, common types, decimal precision and scale."""

from __future__ import annotations

from embedded.dremio.types import MAX_PRECISION, DremioType

NULL = DremioType("NULL")
BOOLEAN = DremioType("BOOLEAN")
INTEGER = DremioType("INTEGER")
BIGINT = DremioType("BIGINT")
FLOAT = DremioType("FLOAT")
DOUBLE = DremioType("DOUBLE")
VARCHAR = DremioType("VARCHAR")
VARBINARY = DremioType("VARBINARY")
DATE = DremioType("DATE")
TIME = DremioType("TIME")
TIMESTAMP = DremioType("TIMESTAMP")
INTERVAL_DAY = DremioType("INTERVAL DAY TO SECOND")
INTERVAL_MONTH = DremioType("INTERVAL YEAR TO MONTH")

Kind = DremioType | None  # None: not known; only DuckDB will find out

INTEGERS = ("INTEGER", "BIGINT")
NUMBERS = (*INTEGERS, "FLOAT", "DOUBLE", "DECIMAL")
_MINIMUM_SCALE = 6
_RANK = {"INTEGER": 0, "BIGINT": 1, "DECIMAL": 2, "FLOAT": 3, "DOUBLE": 4}

# letters used in function signatures -> REST names of the types that fit as they are
CLASSES = {
    "i": INTEGERS,
    "n": NUMBERS,
    "c": ("DECIMAL",),
    "f": ("FLOAT", "DOUBLE"),
    "s": ("VARCHAR",),
    "d": ("DATE",),
    "t": ("TIMESTAMP",),
    "D": ("DATE", "TIMESTAMP"),
    "m": ("TIME",),
    "b": ("BOOLEAN",),
    "x": ("VARBINARY",),
    "l": ("LIST",),
    "r": ("STRUCT",),
    "p": ("MAP",),
    "v": ("INTERVAL DAY TO SECOND", "INTERVAL YEAR TO MONTH"),
}


def decimal(precision: int, scale: int) -> DremioType:
    """DECIMAL, with precision over 38 brought down at the cost of the scale (6 digits of it are kept)."""
    if precision > MAX_PRECISION:
        kept = min(scale, _MINIMUM_SCALE)
        scale = max(scale - (precision - MAX_PRECISION), kept)
        precision = MAX_PRECISION
    return DremioType("DECIMAL", precision, scale)


def as_decimal(kind: DremioType) -> DremioType:
    """The decimal that holds every value of an exact number type."""
    if kind.name == "DECIMAL":
        return kind
    return DremioType("DECIMAL", 10 if kind.name == "INTEGER" else 19, 0)


def parts(kind: DremioType) -> tuple[int, int]:
    """Precision and scale of an exact number type."""
    exact = as_decimal(kind)
    return exact.precision or MAX_PRECISION, exact.scale or 0


def is_number(kind: Kind) -> bool:
    """True for the five number types."""
    return kind is not None and kind.name in NUMBERS


def arithmetic(operator: str, left: DremioType, right: DremioType) -> DremioType:
    """The type of ``left operator right`` for two number types (``+ - * /``)."""
    if "DOUBLE" in (left.name, right.name):
        return DOUBLE
    if "FLOAT" in (left.name, right.name):
        return DOUBLE if "DECIMAL" in (left.name, right.name) else FLOAT
    if "DECIMAL" not in (left.name, right.name):
        return BIGINT if "BIGINT" in (left.name, right.name) else INTEGER
    (p1, s1), (p2, s2) = parts(left), parts(right)
    if operator == "*":
        return decimal(p1 + p2 + 1, s1 + s2)
    if operator == "/":
        scale = max(_MINIMUM_SCALE, s1 + p2 + 1)
        return decimal(p1 - s1 + s2 + scale, scale)
    scale = max(s1, s2)
    return decimal(max(p1 - s1, p2 - s2) + scale + 1, scale)


def common(first: Kind, second: Kind) -> Kind:
    """The type that CASE, COALESCE, UNION and VALUES give two types; None when not known or none fits."""
    if first is None or second is None:
        return None
    if first == second or second == NULL:
        return first
    if first == NULL:
        return second
    if is_number(first) and is_number(second):
        if "DECIMAL" in (first.name, second.name) and "FLOAT" in (first.name, second.name):
            return DOUBLE
        if "DECIMAL" in (first.name, second.name) and "DOUBLE" not in (first.name, second.name):
            (p1, s1), (p2, s2) = parts(first), parts(second)
            return decimal(max(p1 - s1, p2 - s2) + max(s1, s2), max(s1, s2))
        return max(first, second, key=lambda kind: _RANK[kind.name])
    names = {first.name, second.name}
    if names == {"DATE", "TIMESTAMP"}:
        return TIMESTAMP
    if "VARCHAR" in names and names.isdisjoint({"LIST", "STRUCT", "MAP", "VARBINARY"}):
        return VARCHAR
    return None


def duckdb_type(kind: DremioType) -> str:
    """The DuckDB spelling of a type."""
    name = kind.name
    if name == "DECIMAL":
        return f"DECIMAL({kind.precision}, {kind.scale})"
    if name == "VARBINARY":
        return "BLOB"
    if name == "LIST":
        return f"{duckdb_type(kind.children[0][1])}[]"
    if name == "STRUCT":
        return "STRUCT(" + ", ".join(f"{quoted(n)} {duckdb_type(t)}" for n, t in kind.children) + ")"
    if name == "MAP":
        return f"MAP({duckdb_type(kind.children[0][1])}, {duckdb_type(kind.children[1][1])})"
    if name.startswith("INTERVAL"):
        return "INTERVAL"
    return "INTEGER" if name == "NULL" else name


def quoted(name: str) -> str:
    """An identifier for DuckDB."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A string literal for DuckDB."""
    return "'" + value.replace("'", "''") + "'"


def signature_name(kind: Kind) -> str:
    """How Dremio's validator names a type in ``No match found for function signature``."""
    if kind is None or kind.name == "NULL":
        return "<ANY>"
    if kind.name in NUMBERS:
        return "<NUMERIC>"
    return {"VARCHAR": "<CHARACTER>", "VARBINARY": "<BINARY>"}.get(kind.name, f"<{kind.name}>")
