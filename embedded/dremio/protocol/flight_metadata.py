"""The metadata commands of Flight SQL: catalogs, schemas, tables, types and the server's description.

Rows come from INFORMATION_SCHEMA, so that a client sees over Flight what SQL shows it. Schemas as in FlightSql.proto;
values of SqlInfo as in Dremio's server (name, identifier quote, empty catalog term).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from embedded.dremio.engine import Engine, Session
from embedded.dremio.protocol.flight_messages import Message
from embedded.dremio.protocol.session_api import VERSION
from embedded.dremio.sql.kinds import quoted, text
from embedded.dremio.types import arrow_schema


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


CATALOGS = pa.schema([_required("catalog_name", pa.utf8())])
DB_SCHEMAS = pa.schema([pa.field("catalog_name", pa.utf8()), _required("db_schema_name", pa.utf8())])
TABLES = pa.schema(
    [
        pa.field("catalog_name", pa.utf8()),
        pa.field("db_schema_name", pa.utf8()),
        _required("table_name", pa.utf8()),
        _required("table_type", pa.utf8()),
    ]
)
TABLES_WITH_SCHEMA = TABLES.append(_required("table_schema", pa.binary()))
TABLE_TYPES = pa.schema([_required("table_type", pa.utf8())])
_SQL_INFO_VALUE = pa.dense_union(
    [
        pa.field("string_value", pa.utf8()),
        pa.field("bool_value", pa.bool_()),
        pa.field("bigint_value", pa.int64()),
        pa.field("int32_bitmask", pa.int32()),
        pa.field("string_list", pa.list_(pa.field("$data$", pa.utf8()))),
        pa.field("int32_to_int32_list_map", pa.map_(pa.int32(), pa.list_(pa.field("$data$", pa.int32())))),
    ]
)
SQL_INFO = pa.schema([_required("info_name", pa.uint32()), _required("value", _SQL_INFO_VALUE)])
XDBC_TYPE_INFO = pa.schema(
    [
        _required("type_name", pa.utf8()),
        _required("data_type", pa.int32()),
        pa.field("column_size", pa.int32()),
        pa.field("literal_prefix", pa.utf8()),
        pa.field("literal_suffix", pa.utf8()),
        pa.field("create_params", pa.list_(_required("$data$", pa.utf8()))),
        _required("nullable", pa.int32()),
        _required("case_sensitive", pa.bool_()),
        _required("searchable", pa.int32()),
        pa.field("unsigned_attribute", pa.bool_()),
        _required("fixed_prec_scale", pa.bool_()),
        pa.field("auto_increment", pa.bool_()),
        pa.field("local_type_name", pa.utf8()),
        pa.field("minimum_scale", pa.int32()),
        pa.field("maximum_scale", pa.int32()),
        _required("sql_data_type", pa.int32()),
        pa.field("datetime_subcode", pa.int32()),
        pa.field("num_prec_radix", pa.int32()),
        pa.field("interval_precision", pa.int32()),
    ]
)

# SqlInfo codes of FlightSql.proto -> value. 0..8 server, 500.. SQL syntax.
_SQL_INFO_VALUES: dict[int, str | bool | int] = {
    0: "Dremio Server",
    1: VERSION,
    2: pa.__version__,
    3: False,
    4: True,
    5: False,
    8: 0,
    100: 0,
    101: 0,
    500: False,
    501: True,
    502: True,
    503: 3,
    504: '"',
    505: 3,
    506: True,
    507: 1,
    519: "schema",
    521: "",
}

# type name, JDBC code, size, literal prefix and suffix, unsigned, scales
_XDBC_TYPES: list[tuple[str, int, int, str | None, str | None, int | None]] = [
    ("BOOLEAN", 16, 1, None, None, None),
    ("INTEGER", 4, 10, None, None, 10),
    ("BIGINT", -5, 19, None, None, 10),
    ("FLOAT", 6, 7, None, None, 2),
    ("DOUBLE", 8, 15, None, None, 2),
    ("DECIMAL", 3, 38, None, None, 10),
    ("CHARACTER VARYING", 12, 65536, "'", "'", None),
    ("BINARY VARYING", -3, 65536, None, None, None),
    ("DATE", 91, 10, "DATE '", "'", None),
    ("TIME", 92, 12, "TIME '", "'", None),
    ("TIMESTAMP", 93, 23, "TIMESTAMP '", "'", None),
]


class Metadata:
    """Answers the metadata commands; `table` runs SQL and so belongs on the engine's pool."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tables: dict[str, Callable[[Message, Session], pa.Table]] = {
            "CommandGetCatalogs": lambda command, session: CATALOGS.empty_table(),
            "CommandGetDbSchemas": self._db_schemas,
            "CommandGetTables": self._list_tables,
            "CommandGetTableTypes": lambda command, session: pa.table(
                {"table_type": ["TABLE", "SYSTEM_TABLE", "VIEW"]}, schema=TABLE_TYPES
            ),
            "CommandGetSqlInfo": lambda command, session: _sql_info(command.numbers(1)),
            "CommandGetXdbcTypeInfo": lambda command, session: _type_info(command),
        }

    def schema(self, command: Message) -> pa.Schema | None:
        """The schema of a metadata command's answer, None when it is no such command."""
        if command.name == "CommandGetTables":
            return TABLES_WITH_SCHEMA if command.flag(5) else TABLES
        return {
            "CommandGetCatalogs": CATALOGS,
            "CommandGetDbSchemas": DB_SCHEMAS,
            "CommandGetTableTypes": TABLE_TYPES,
            "CommandGetSqlInfo": SQL_INFO,
            "CommandGetXdbcTypeInfo": XDBC_TYPE_INFO,
        }.get(command.name)

    def table(self, command: Message, session: Session) -> pa.Table | None:
        """The rows of a metadata command, None when it is no such command."""
        answer = self._tables.get(command.name)
        return None if answer is None else answer(command, session)

    def _rows(self, sql: str, session: Session) -> pa.Table:
        plain = Session(user=session.user)
        result = self._engine.execute(self._engine.prepare(sql, plain), plain)
        return pa.Table.from_batches(list(result.batches), result.schema)

    def _db_schemas(self, command: Message, session: Session) -> pa.Table:
        conditions = _like("SCHEMA_NAME", command.text(2))
        sql = f"SELECT SCHEMA_NAME FROM INFORMATION_SCHEMA.SCHEMATA{_where(conditions)} ORDER BY SCHEMA_NAME"
        if command.text(1):
            return DB_SCHEMAS.empty_table()
        names = self._rows(sql, session).column(0).to_pylist()
        return pa.table({"catalog_name": [None] * len(names), "db_schema_name": names}, schema=DB_SCHEMAS)

    def _list_tables(self, command: Message, session: Session) -> pa.Table:
        schema = TABLES_WITH_SCHEMA if command.flag(5) else TABLES
        if command.text(1):
            return schema.empty_table()
        conditions = _like("TABLE_SCHEMA", command.text(2)) + _like("TABLE_NAME", command.text(3))
        types = [kind.replace(" ", "_") for kind in command.texts(4)]
        if types:
            conditions.append("TABLE_TYPE IN (" + ", ".join(text(kind) for kind in types) + ")")
        sql = (
            'SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM INFORMATION_SCHEMA."TABLES"'
            f"{_where(conditions)} ORDER BY TABLE_TYPE, TABLE_SCHEMA, TABLE_NAME"
        )
        rows = self._rows(sql, session).to_pylist()
        columns: dict[str, list[Any]] = {
            "catalog_name": [None] * len(rows),
            "db_schema_name": [row["TABLE_SCHEMA"] for row in rows],
            "table_name": [row["TABLE_NAME"] for row in rows],
            "table_type": [row["TABLE_TYPE"] for row in rows],
        }
        if command.flag(5):
            columns["table_schema"] = [self._schema_bytes(row, session) for row in rows]
        return pa.table(columns, schema=schema)

    def _schema_bytes(self, row: dict[str, str], session: Session) -> bytes:
        """The table's Arrow schema as the catalog has it; a system table is asked for its own."""
        path = [*row["TABLE_SCHEMA"].split("."), row["TABLE_NAME"]]
        entity = self._engine.catalog.find(path)
        if entity is not None:
            return arrow_schema(entity.columns).serialize().to_pybytes()
        sql = f"SELECT * FROM {'.'.join(quoted(part) for part in path)}"
        return self._engine.prepare(sql, Session(user=session.user)).schema.serialize().to_pybytes()


def _like(column: str, pattern: str | None) -> list[str]:
    return [] if pattern is None else [f"{column} LIKE {text(pattern)} ESCAPE '\\'"]


def _where(conditions: list[str]) -> str:
    return " WHERE " + " AND ".join(conditions) if conditions else ""


def _sql_info(wanted: list[int]) -> pa.Table:
    codes = [code for code in _SQL_INFO_VALUES if not wanted or code in wanted]
    strings: list[str] = []
    flags: list[bool] = []
    numbers: list[int] = []
    types, offsets = [], []
    for code in codes:
        value = _SQL_INFO_VALUES[code]
        kind = 0 if isinstance(value, str) else 1 if isinstance(value, bool) else 2
        stores: list[list[Any]] = [strings, flags, numbers]
        store = stores[kind]
        types.append(kind)
        offsets.append(len(store))
        store.append(value)
    fields = [_SQL_INFO_VALUE.field(number) for number in range(_SQL_INFO_VALUE.num_fields)]
    children = [
        pa.array(values, field.type)
        for values, field in zip([strings, flags, numbers, [], [], []], fields, strict=True)
    ]
    union = pa.UnionArray.from_dense(
        pa.array(types, pa.int8()), pa.array(offsets, pa.int32()), children, [field.name for field in fields]
    )
    return pa.Table.from_arrays([pa.array(codes, pa.uint32()), union], schema=SQL_INFO)


def _type_info(command: Message) -> pa.Table:
    wanted = command.values.get(1)
    code = None if wanted is None else _signed(int(wanted[-1]))
    rows = []
    for name, jdbc, size, prefix, suffix, radix in _XDBC_TYPES:
        if code is not None and code != jdbc:
            continue
        rows.append(
            {
                "type_name": name,
                "data_type": jdbc,
                "column_size": size,
                "literal_prefix": prefix,
                "literal_suffix": suffix,
                "create_params": ["precision", "scale"] if name == "DECIMAL" else None,
                "nullable": 1,
                "case_sensitive": name == "CHARACTER VARYING",
                "searchable": 3,
                "unsigned_attribute": radix is None,
                "fixed_prec_scale": False,
                "auto_increment": False,
                "local_type_name": name,
                "minimum_scale": 0,
                "maximum_scale": 38 if name == "DECIMAL" else 0,
                "sql_data_type": jdbc,
                "datetime_subcode": None,
                "num_prec_radix": radix,
                "interval_precision": None,
            }
        )
    return pa.Table.from_pylist(rows, schema=XDBC_TYPE_INFO)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
