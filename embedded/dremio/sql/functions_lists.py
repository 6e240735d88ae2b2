"""Functions on lists, maps and JSON."""

from __future__ import annotations

from embedded.dremio.errors import UnsupportedOperation, ValidationError
from embedded.dremio.sql import casts, kinds
from embedded.dremio.sql.kinds import BIGINT, BOOLEAN, DOUBLE, INTEGER, VARCHAR, Kind
from embedded.dremio.sql.registry import Bound, Call, add
from embedded.dremio.types import DremioType


def _element(kind: Kind) -> Kind:
    return kind.children[0][1] if kind is not None and kind.children else None


def _same(args: list[Kind]) -> Kind:
    return args[0]


def list_of(kind: DremioType) -> DremioType:
    """LIST of a type."""
    return DremioType("LIST", children=(("", kind),))


def _fitting(call: Call, position: int = 1) -> tuple[Bound, Bound]:
    """A list and a value of its element's type; raises ValidationError."""
    of, value = call.args[0], call.args[position]
    element = _element(of.kind)
    if element is None or value.kind is None:
        raise UnsupportedOperation(f"{call.name}: the type of an argument is not known.")
    common = kinds.common(element, value.kind)
    if common is None:
        raise ValidationError(f"{call.name} expects values of one type, got {element.name} and {value.kind.name}")
    if common != element:
        of = Bound(f"CAST({of.sql} AS {kinds.duckdb_type(common)}[])", list_of(common))
    return of, casts.cast(value, common)


def _append(call: Call) -> Bound:
    of, value = _fitting(call)
    return Bound(f"list_append({of.sql}, {value.sql})", of.kind)


def _prepend(call: Call) -> Bound:
    of, value = _fitting(Call(call.name, call.args[::-1], call.node, call.binder, call.clauses))
    return Bound(f"list_prepend({value.sql}, {of.sql})", of.kind)


def _contains(call: Call) -> Bound:
    of, value = _fitting(call)
    return Bound(f"list_contains({of.sql}, {value.sql})", BOOLEAN)


def _remove(call: Call) -> Bound:
    of, value = _fitting(call)
    return Bound(f"list_filter({of.sql}, lambda x: x IS DISTINCT FROM {value.sql})", of.kind)


def _position(call: Call) -> Bound:
    """ARRAY_POSITION counts from 0 and is null when there is none."""
    of, value = _fitting(Call(call.name, call.args[::-1], call.node, call.binder, call.clauses))
    return Bound(f"CAST(list_position({of.sql}, {value.sql}) - 1 AS INTEGER)", INTEGER)


def _insert(call: Call) -> Bound:
    of, value = _fitting(call, 2)
    if of.kind != call.args[0].kind:
        raise ValidationError("ARRAY_INSERT expects a value of the list's type")
    return Bound(f"list_insert_at({of.sql}, {call.args[1].sql}, {value.sql})", of.kind)


def _concat(call: Call) -> Bound:
    kind: Kind = call.args[0].kind
    if any(arg.kind != kind for arg in call.args):
        raise ValidationError(f"{call.name} expects lists of one type")
    sql = " || ".join(arg.sql for arg in call.args)
    if call.name in ("ARRAY_CONCAT", "ARRAY_CAT"):
        return Bound(f"({sql})", kind)
    return Bound(f"list_sort(list_distinct({sql}))", kind)


def _common_lists(call: Call) -> tuple[Bound, Bound]:
    """Two lists brought to one type of elements; raises ValidationError."""
    first, second = call.args
    element = kinds.common(_element(first.kind), _element(second.kind))
    if element is None:
        raise ValidationError(f"{call.name} expects lists of one type")
    kind = list_of(element)
    return tuple(  # type: ignore[return-value]
        arg if arg.kind == kind else Bound(f"CAST({arg.sql} AS {kinds.duckdb_type(kind)})", kind)
        for arg in (first, second)
    )


def _overlap(call: Call) -> Bound:
    """ARRAYS_OVERLAP: an element in common."""
    first, second = _common_lists(call)
    return Bound(f"list_has_any({first.sql}, {second.sql})", BOOLEAN)


def _intersection(call: Call) -> Bound:
    """ARRAY_INTERSECTION: the distinct elements in common, in order."""
    first, second = _common_lists(call)
    return Bound(f"list_sort(list_distinct(list_intersect({first.sql}, {second.sql})))", first.kind)


def _frequency(call: Call) -> Bound:
    """ARRAY_FREQUENCY: each element, but nulls, with the number of times that it is there, in order."""
    element = _element(call.args[0].kind)
    if element is None or element.children:
        raise ValidationError("ARRAY_FREQUENCY expects a list of plain values")
    kind = DremioType("MAP", children=(("key", element), ("value", INTEGER)))
    of = call.args[0].sql
    counted = f"list_aggregate(list_filter({of}, lambda x: x IS NOT NULL), 'histogram')"
    sql = f"CASE WHEN {of} IS NOT NULL THEN coalesce({counted}, MAP()) END"
    return Bound(f"CAST({sql} AS {kinds.duckdb_type(kind)})", kind)


def _sum(call: Call) -> Bound:
    element = _element(call.args[0].kind)
    if element is None or not kinds.is_number(element):
        raise ValidationError(f"No match found for function signature {call.name}(<LIST>)")
    if element.name == "DECIMAL":
        if call.name == "ARRAY_AVG":
            raise UnsupportedOperation("ARRAY_AVG of decimals is not supported.")
        kind = DremioType("DECIMAL", 38, element.scale)
        of = call.args[0].sql
        sql = f"CASE WHEN {of} IS NOT NULL THEN coalesce(list_sum({of}), 0) END"
        return Bound(f"CAST({sql} AS {kinds.duckdb_type(kind)})", kind)
    if call.name == "ARRAY_AVG":
        return Bound(f"list_avg({call.args[0].sql})", DOUBLE)
    if element.name in kinds.INTEGERS:
        return Bound(f"CAST(coalesce(list_sum({call.args[0].sql}), 0) AS BIGINT)", BIGINT)
    return Bound(f"coalesce(list_sum({call.args[0].sql}), 0)", DOUBLE)


def _extreme(call: Call) -> Bound:
    """ARRAY_MAX and ARRAY_MIN: null when an element is null."""
    of = call.args[0].sql
    name = "list_max" if call.name == "ARRAY_MAX" else "list_min"
    return Bound(f"CASE WHEN list_count({of}) = len({of}) THEN {name}({of}) END", _element(call.args[0].kind))


def _range(call: Call) -> Bound:
    sqls = [arg.sql for arg in call.args]
    start, stop = ("0", sqls[0]) if len(sqls) == 1 else (sqls[0], sqls[1])
    step = sqls[2] if len(sqls) > 2 else "1"
    return Bound(f"CAST(range({start}, {stop}, {step}) AS INTEGER[])", list_of(INTEGER))


def _map(call: Call) -> Bound:
    if len(call.args) % 2:
        raise ValidationError("MAP takes keys and values in turn.")
    keys, key = casts.unify(list(call.args[0::2]))
    values, value = casts.unify(list(call.args[1::2]))
    if key is None or value is None:
        raise UnsupportedOperation("MAP: the types of keys or values are not known.")
    kind = DremioType("MAP", children=(("key", key), ("value", value)))
    sql = f"MAP([{', '.join(k.sql for k in keys)}], [{', '.join(v.sql for v in values)}])"
    return Bound(sql, kind)


def _map_part(call: Call) -> Bound:
    kind = call.args[0].kind
    position, name = (0, "map_keys") if call.name == "MAP_KEYS" else (1, "map_values")
    child = kind.children[position][1] if kind is not None else None
    return Bound(f"{name}({call.args[0].sql})", list_of(child) if child is not None else None)


def _slice(call: Call) -> Bound:
    """ARRAY_SLICE(list, from[, to]): from 0, the end is left out, negative counts from the end."""
    of = call.args[0].sql
    end = call.args[2].sql if len(call.args) > 2 else f"len({of})"
    return Bound(f"list_part({of}, {call.args[1].sql}, {end})", call.args[0].kind)


add("ARRAY_APPEND", "l,a", _append)
add("ARRAY_PREPEND", "a,l", _prepend)
add("ARRAY_CONTAINS", "l,a", _contains)
add("ARRAY_REMOVE", "l,a", _remove)
add("ARRAY_POSITION", "a,l", _position)
add("ARRAY_INSERT", "l,i,a", _insert)
add("ARRAY_CONCAT ARRAY_CAT SET_UNION", "l,l,l*", _concat)
add("ARRAYS_OVERLAP", "l,l", _overlap)
add("ARRAY_INTERSECTION", "l,l", _intersection)
add("ARRAY_FREQUENCY", "l", _frequency)
add("ARRAY_SORT", "l", "list_sorted({0})", _same)
add("SUBLIST", "l,i,i", "list_sub({0}, {1}, {2})", _same)
add("ARRAY_SUM ARRAY_AVG", "l", _sum)
add("ARRAY_MAX ARRAY_MIN", "l", _extreme)
add("ARRAY_GENERATE_RANGE", "i,i?,i?", _range)
add("ARRAY_SIZE CARDINALITY ARRAY_LENGTH", "l", "CAST(len({0}) AS INTEGER)", INTEGER)
add("CARDINALITY", "p", "CAST(cardinality({0}) AS INTEGER)", INTEGER)
add("ARRAY_DISTINCT", "l", "list_sort(list_distinct({0}))", _same)
add("ARRAY_REMOVE_AT", "l,i", "list_without_at({0}, {1})", _same)
add("ARRAY_SLICE", "l,i,i?", _slice)
add("ARRAY_COMPACT", "l", "list_filter({0}, lambda x: x IS NOT NULL)", _same)
add("ARRAY_TO_STRING", "l,s", "array_to_string({0}, {1})", VARCHAR)
add("MAP_CONSTRUCT", "a,a,a*", _map)
add("MAP_KEYS MAP_VALUES", "p", _map_part)
