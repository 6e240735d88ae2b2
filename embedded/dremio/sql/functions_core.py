"""Scalar functions on text, numbers and conditions."""

from __future__ import annotations

import re

from embedded.dremio.errors import UnsupportedOperation
from embedded.dremio.sql import kinds
from embedded.dremio.sql.kinds import BIGINT, BOOLEAN, DOUBLE, INTEGER, VARBINARY, VARCHAR, Kind, duckdb_type
from embedded.dremio.sql.registry import Bound, Call, add
from embedded.dremio.types import DremioType


def _same(args: list[Kind]) -> Kind:
    return args[0]


def _wider(args: list[Kind]) -> Kind:
    kind = args[0]
    for other in args[1:]:
        kind = kinds.common(kind, other)
    return kind


def _elt(call: Call) -> Bound:
    """ELT(n, a, b, ...): the n-th text, null when there is none."""
    items = ", ".join(arg.sql for arg in call.args[1:])
    index = call.args[0].sql
    return Bound(f"list_extract([{items}], CASE WHEN {index} > 0 THEN {index} END)", VARCHAR)


# -- text ------------------------------------------------------------------------------------------------------
add("UPPER UCASE", "s", "upper({0})", VARCHAR)
add("LOWER LCASE", "s", "lower({0})", VARCHAR)
add("LENGTH CHAR_LENGTH CHARACTER_LENGTH", "s", "CAST(length({0}) AS INTEGER)", INTEGER)
add("LENGTH OCTET_LENGTH BYTE_LENGTH", "x", "CAST(octet_length({0}) AS INTEGER)", INTEGER)
add("OCTET_LENGTH BYTE_LENGTH", "s", "CAST(strlen({0}) AS INTEGER)", INTEGER)
add("BIT_LENGTH", "s", "CAST(strlen({0}) * 8 AS INTEGER)", INTEGER)
add("CHARSUBSTRING", "s,i,i", "substring_of({0}, {1}, {2})", VARCHAR)
add("ELT", "i,s,s*", _elt)
add("CONCAT", "s*", "concat({all})", VARCHAR)
add("CONCAT_WS", "s,s,s*", "concat_ws({all})", VARCHAR)
add("LTRIM", "s", "ltrim({0})", VARCHAR)
add("LTRIM", "s,s", "ltrim({0}, {1})", VARCHAR)
add("RTRIM", "s", "rtrim({0})", VARCHAR)
add("RTRIM", "s,s", "rtrim({0}, {1})", VARCHAR)
add("BTRIM TRIM", "s", "trim({0})", VARCHAR)
add("BTRIM TRIM", "s,s", "trim({0}, {1})", VARCHAR)
add("REPLACE", "s,s,s", "replace({0}, {1}, {2})", VARCHAR)
add("REVERSE", "s", "reverse({0})", VARCHAR)
add("CHR CHAR", "i", "chr(CAST({0} AS INTEGER))", VARCHAR)
add("REPEAT REPEATSTR", "s,i", "repeat({0}, CAST({1} AS BIGINT))", VARCHAR)
add("SPACE", "i", "repeat(' ', {0})", VARCHAR)
add("INITCAP", "s", "initcap_words({0})", VARCHAR)
add("LEFT", "s,i", "left({0}, {1})", VARCHAR)
add("RIGHT", "s,i", "right_part({0}, {1})", VARCHAR)
add("SUBSTR", "s,s", "nullif(regexp_extract({0}, {1}), '')", VARCHAR)
add("SUBSTR SUBSTRING", "s,i", "substring_from({0}, {1})", VARCHAR)
add("SUBSTR SUBSTRING", "s,i,i", "substring_of({0}, {1}, {2})", VARCHAR)
add("LPAD", "s,i", "pad_left({0}, CAST({1} AS INTEGER), ' ')", VARCHAR)
add("LPAD", "s,i,s", "pad_left({0}, CAST({1} AS INTEGER), {2})", VARCHAR)
add("RPAD", "s,i", "pad_right({0}, CAST({1} AS INTEGER), ' ')", VARCHAR)
add("RPAD", "s,i,s", "pad_right({0}, CAST({1} AS INTEGER), {2})", VARCHAR)
add("LOCATE POSITION", "s,s", "CAST(instr({1}, {0}) AS INTEGER)", INTEGER)
add("LOCATE POSITION", "s,s,i", "locate_from({0}, {1}, {2})", INTEGER)
add("STRPOS INSTR", "s,s", "CAST(instr({0}, {1}) AS INTEGER)", INTEGER)
add("SPLIT_PART", "s,s,i", "split_part_strict({0}, {1}, {2})", VARCHAR)
add("STARTS_WITH", "s,s", "starts_with({0}, {1})", BOOLEAN)
add("ENDS_WITH", "s,s", "ends_with({0}, {1})", BOOLEAN)
add("ILIKE", "s,s", "({0} ILIKE {1})", BOOLEAN)
add("ILIKE", "s,s,s", "({0} ILIKE {1} ESCAPE {2})", BOOLEAN)
add("LIKE COL_LIKE", "s,s", "({0} LIKE {1})", BOOLEAN)
add("LIKE COL_LIKE", "s,s,s", "({0} LIKE {1} ESCAPE {2})", BOOLEAN)
add("TRANSLATE", "s,s,s", "translate({0}, {1}, {2})", VARCHAR)
add("LEVENSHTEIN", "s,s", "CAST(levenshtein({0}, {1}) AS INTEGER)", INTEGER)
add("IS_SUBSTR", "s,s", "contains({0}, {1})", BOOLEAN)
add("QUOTE", "s", "quoted_text({0})", VARCHAR)
add("MD5", "s", "md5({0})", VARCHAR)
add("SHA SHA1", "s", "sha1({0})", VARCHAR)
add("SHA256", "s", "sha256({0})", VARCHAR)
add("HEX TO_HEX", "s", "upper(hex(encode({0})))", VARCHAR)
add("HEX TO_HEX", "x", "upper(hex({0}))", VARCHAR)
add("HEX TO_HEX", "i", "upper(to_hex({0}))", VARCHAR)
add("UNHEX FROM_HEX", "s", "unhex({0})", VARBINARY)
add("BASE64", "x", "base64({0})", VARCHAR)
add("UNBASE64", "s", "from_base64({0})", VARBINARY)
add("TO_UTF8", "s", "encode({0})", VARBINARY)

# -- regular expressions: Java's, as far as RE2 has them (DuckDB refuses the rest) ---------------------------------


def _java_pattern(arg: Bound) -> str:
    """A pattern without the flag ``(?u)``, which RE2 lacks and always implies."""
    if arg.literal is not None and "(?u)" in arg.literal:
        return kinds.text(arg.literal.replace("(?u)", ""))
    return arg.sql


def _regexp_like(call: Call) -> Bound:
    """REGEXP_LIKE finds the pattern anywhere; a dot matches line ends too."""
    return Bound(f"regexp_matches({call.args[0].sql}, {_java_pattern(call.args[1])}, 's')", BOOLEAN)


def _regexp_replace(call: Call) -> Bound:
    """REGEXP_REPLACE replaces all; ``$1`` of Java is DuckDB's backslash form."""
    pattern, replacement = call.args[1].literal, call.args[2].literal
    if replacement is None or "\\" in replacement:
        raise UnsupportedOperation("REGEXP_REPLACE needs a literal replacement without backslashes.")
    for after in replacement.split("$")[1:]:
        if pattern is None or not after[:1].isdigit() or int(after[0]) > _groups(pattern):
            raise UnsupportedOperation("REGEXP_REPLACE: a $ stands before the number of a group of a literal pattern.")
    sql = kinds.text(replacement.replace("$", "\\"))
    return Bound(f"regexp_replace({call.args[0].sql}, {_java_pattern(call.args[1])}, {sql}, 'g')", VARCHAR)


def _groups(pattern: str) -> int:
    try:
        return re.compile(pattern).groups
    except re.error as error:
        raise UnsupportedOperation(f"REGEXP_REPLACE: the groups of [{pattern}] are not known: {error}.") from error


add("REGEXP_LIKE REGEXP_MATCHES REGEXP_COL_LIKE REGEXP_COL_MATCHES", "s,s", _regexp_like)
add("REGEXP_REPLACE", "s,s,s", _regexp_replace)
add("REGEXP_EXTRACT", "s,s,i", "regexp_extract({0}, {1}, CAST({2} AS INTEGER))", VARCHAR)
add("SIMILAR_TO", "s,s", "similar_match({0}, {1})", BOOLEAN)

# -- numbers -----------------------------------------------------------------------------------------------------


def _rounded(mode: str):  # type: ignore[no-untyped-def]
    def build(call: Call) -> Bound:
        return _round(call, mode)

    return build


def _round(call: Call, mode: str) -> Bound:
    """ROUND and TRUNCATE: of whole numbers whole, of decimals with the scale asked for."""
    value = call.args[0]
    digits = call.args[1] if len(call.args) > 1 else Bound("0", INTEGER, "0")
    name = value.kind.name if value.kind is not None else "DOUBLE"
    if name == "DECIMAL":
        return _round_decimal(value, digits, mode)
    if name in kinds.INTEGERS:
        if digits.literal is not None and int(digits.literal) >= 0:
            return value
        return Bound(f"CAST({mode}_whole({value.sql}, {digits.sql}) AS {name})", value.kind)
    sql = f"{mode}_double(CAST({value.sql} AS DOUBLE), CAST({digits.sql} AS INTEGER))"
    return Bound(f"CAST({sql} AS {name})" if name == "FLOAT" else sql, value.kind)


def _round_decimal(value: Bound, digits: Bound, mode: str) -> Bound:
    if digits.literal is None:
        raise UnsupportedOperation("ROUND and TRUNCATE of a DECIMAL need a literal number of digits.")
    precision, scale = kinds.parts(value.kind or DOUBLE)
    wanted = int(digits.literal)
    kept = min(max(wanted, 0), scale)
    kind = DremioType("DECIMAL", min(38, precision - scale + kept + 1), kept)
    wide = f"CAST({value.sql} AS DECIMAL(38, {scale}))"
    step = f"decimal_{mode}(decimal_digits({wide}), {scale - wanted})"
    if wanted >= scale:
        return Bound(f"CAST({value.sql} AS {duckdb_type(kind)})", kind)
    shift = f" * ten({-wanted})" if wanted < 0 else ""
    unit = f" * 0.{'0' * (kept - 1)}1" if kept else ""
    return Bound(f"CAST(CAST({step}{shift} AS DECIMAL(38, 0)){unit} AS {duckdb_type(kind)})", kind)


def _floor(call: Call) -> Bound:
    """FLOOR and CEIL keep whole numbers and doubles, and bring decimals to scale 0."""
    value = call.args[0]
    name = "floor" if call.name == "FLOOR" else "ceil"
    if value.kind is not None and value.kind.name == "DECIMAL":
        precision, scale = kinds.parts(value.kind)
        kind = DremioType("DECIMAL", min(38, precision - scale + 1), 0)
        sql = f"decimal_{name}(decimal_digits({value.sql}), {scale})"
        return Bound(f"CAST({sql} AS {duckdb_type(kind)})", kind)
    if value.kind is not None and value.kind.name in kinds.INTEGERS:
        return value
    return Bound(f"{name}({value.sql})", value.kind)


def _mod(call: Call) -> Bound:
    """MOD: of a zero divisor the dividend itself (DuckDB: null)."""
    left, right = call.args
    a, b = left.kind, right.kind
    if a is None or b is None:
        raise UnsupportedOperation("MOD: the type of an argument is not known.")
    kind = kinds.arithmetic("+", a, b)
    if "DECIMAL" in (a.name, b.name) and kind.name == "DECIMAL":
        kind = DremioType(
            "DECIMAL", min(38, max(a.precision or 19, b.precision or 19)), max(a.scale or 0, b.scale or 0)
        )
    elif kind.name in kinds.INTEGERS:
        kind = b if b.name in kinds.INTEGERS else kind
    sql = f"CASE WHEN {right.sql} = 0 THEN {left.sql} ELSE {left.sql} % {right.sql} END"
    return Bound(f"CAST({sql} AS {duckdb_type(kind)})", kind)


def _sign(call: Call) -> Bound:
    value = call.args[0]
    if value.kind is not None and value.kind.name in ("FLOAT", "DOUBLE"):
        return Bound(f"CAST(sign({value.sql}) AS {value.kind.name})", value.kind)
    if value.kind is not None and value.kind.name == "DECIMAL":
        kind = DremioType("DECIMAL", 1, 0)
        return Bound(f"CAST(sign({value.sql}) AS DECIMAL(1, 0))", kind)
    return Bound(f"CAST(sign({value.sql}) AS INTEGER)", INTEGER)


def _shift_left(call: Call) -> Bound:
    value, count = call.args
    name, width = ("INTEGER", 32) if value.kind == INTEGER else ("BIGINT", 64)
    sql = f"shift_left({value.sql}, {count.sql}, {width}) - {2 ** (width - 1)}"
    return Bound(f"CAST({sql} AS {name})", value.kind)


def _shift_right(call: Call) -> Bound:
    value, count = call.args
    width = 32 if value.kind == INTEGER else 64
    return Bound(f"({value.sql} >> CAST({count.sql} & {width - 1} AS INTEGER))", value.kind)


def _shift_unsigned(call: Call) -> Bound:
    """SHIFTRIGHTUNSIGNED fills with zeros; a negative number counts as unsigned of its width."""
    value, count = call.args
    width = 32 if value.kind == INTEGER else 64
    unsigned = f"CASE WHEN {value.sql} < 0 THEN CAST({value.sql} AS HUGEINT) + {2**width} ELSE {value.sql} END"
    name = "INTEGER" if value.kind == INTEGER else "BIGINT"
    return Bound(f"CAST((CAST({unsigned} AS HUGEINT) >> {count.sql}) AS {name})", value.kind)


add("ROUND", "n", _rounded("round"))
add("ROUND", "n,i", _rounded("round"))
add("TRUNCATE TRUNC", "n", _rounded("trunc"))
add("TRUNCATE TRUNC", "n,i", _rounded("trunc"))
add("BROUND", "f", "round_even(CAST({0} AS DOUBLE), 0)", DOUBLE)
add("FLOOR CEIL CEILING", "n", _floor)
add("MOD", "n,n", _mod)
add("SIGN", "n", _sign)
add("ABS", "n", "abs({0})", _same)
add("SQRT", "f", "CASE WHEN {0} < 0 THEN CAST('NaN' AS DOUBLE) ELSE sqrt({0}) END", DOUBLE)
add("CBRT", "f", "cbrt({0})", DOUBLE)
add("POWER POW", "f,f", "pow({0}, {1})", DOUBLE)
add("EXP", "f", "exp({0})", DOUBLE)
add("LN LOG", "f", "CASE WHEN {0} > 0 THEN ln({0}) END", DOUBLE)
add("LOG10", "f", "CASE WHEN {0} > 0 THEN log10({0}) END", DOUBLE)
add("LOG2", "f", "CASE WHEN {0} > 0 THEN log2({0}) END", DOUBLE)
add("LOG", "f,f", "(ln({1}) / ln({0}))", DOUBLE)
for _name in ("SIN", "COS", "TAN", "COT", "SINH", "COSH", "TANH", "ATAN"):
    add(_name, "f", _name.lower() + "({0})", DOUBLE)
add("ASIN", "f", "asin({0})", DOUBLE)
add("ACOS", "f", "acos({0})", DOUBLE)
add("ATAN2", "f,f", "atan2({0}, {1})", DOUBLE)
add("RADIANS", "f", "radians({0})", DOUBLE)
add("DEGREES", "f", "degrees({0})", DOUBLE)
add("PI", "", "pi()", DOUBLE)
add("E", "", "exp(CAST(1 AS DOUBLE))", DOUBLE)
add("RANDOM RAND", "", "random()", DOUBLE)
add("FACTORIAL", "i", "CAST(factorial(CAST({0} AS INTEGER)) AS BIGINT)", BIGINT)
add("BITWISE_AND", "i,i", "({0} & {1})", _wider)
add("BITWISE_OR", "i,i", "({0} | {1})", _wider)
add("BITWISE_XOR XOR", "i,i", "xor({0}, {1})", _wider)
add("BITWISE_NOT", "i", "(~{0})", _same)
add("LSHIFT SHIFTLEFT", "i,i", _shift_left)
add("RSHIFT SHIFTRIGHT", "i,i", _shift_right)
add("SHIFTRIGHTUNSIGNED", "i,i", _shift_unsigned)
add("BIN", "i", "java_binary({0})", VARCHAR)


def _pmod(call: Call) -> Bound:
    left, right = call.args
    inner = _mod(call)
    kind = inner.kind
    assert kind is not None
    remainder = f"{left.sql} % {right.sql}"
    sql = f"CASE WHEN {right.sql} = 0 THEN {left.sql} ELSE ({remainder} + {right.sql}) % {right.sql} END"
    return Bound(f"CAST({sql} AS {duckdb_type(kind)})", kind)


add("PMOD", "n,n", _pmod)


def _has_type(name: str):  # type: ignore[no-untyped-def]
    def build(call: Call) -> Bound:
        """True for values of a type; a column has one type here, so only nulls make a difference."""
        value = call.args[0]
        if value.kind is None:
            raise UnsupportedOperation(f"{call.name}: the type of the argument is not known.")
        return Bound(f"({value.sql} IS NOT NULL)" if value.kind.name == name else "FALSE", BOOLEAN)

    return build


# -- conditions --------------------------------------------------------------------------------------------------
add("ISNULL", "a", "({0} IS NULL)", BOOLEAN)
add("ISNOTNULL", "a", "({0} IS NOT NULL)", BOOLEAN)
add("ISTRUE", "b", "({0} IS NOT DISTINCT FROM TRUE)", BOOLEAN)
add("ISFALSE", "b", "({0} IS NOT DISTINCT FROM FALSE)", BOOLEAN)
add("ISNOTTRUE", "b", "({0} IS DISTINCT FROM TRUE)", BOOLEAN)
add("ISNOTFALSE", "b", "({0} IS DISTINCT FROM FALSE)", BOOLEAN)


for _name, _kinds in (
    ("IS_INT", "INTEGER"), ("IS_BIGINT", "BIGINT"), ("IS_FLOAT4", "FLOAT"), ("IS_FLOAT8", "DOUBLE"),
    ("IS_DECIMAL", "DECIMAL"), ("IS_BIT", "BOOLEAN"), ("IS_VARCHAR", "VARCHAR"), ("IS_VARBINARY", "VARBINARY"),
    ("IS_TIME", "TIME"), ("IS_TIMESTAMP", "TIMESTAMP"), ("IS_LIST", "LIST"), ("IS_STRUCT", "STRUCT"),
    ("IS_INTERVALDAY", "INTERVAL DAY TO SECOND"), ("IS_INTERVALYEAR", "INTERVAL YEAR TO MONTH"),
):  # fmt: skip
    add(_name, "a", _has_type(_kinds))
add("ISNUMERIC", "s", "({0} IS NOT NULL AND TRY_CAST({0} AS DOUBLE) IS NOT NULL)", BOOLEAN)
add("ISNUMERIC", "n", "({0} IS NOT NULL)", BOOLEAN)


# -- the session -------------------------------------------------------------------------------------------------
def _user(call: Call) -> Bound:
    call.binder.queries.tables.personal.add(call.name)
    return Bound(kinds.text(call.binder.queries.tables.user), VARCHAR)


def _is_member(call: Call) -> Bound:
    """IS_MEMBER('role'): what the user has through roles counts too."""
    tables, role = call.binder.queries.tables, call.args[0].literal
    if tables.roles is None:
        raise UnsupportedOperation("IS_MEMBER is not supported in this edition: it has no roles.")
    if role is None:
        raise UnsupportedOperation("IS_MEMBER is supported with the role's name as a text only.")
    tables.personal.add(call.name)
    return Bound("TRUE" if role.lower() in tables.roles else "FALSE", BOOLEAN)


add("USER CURRENT_USER SESSION_USER SYSTEM_USER QUERY_USER", "", _user)
add("IS_MEMBER", "s", _is_member)
