"""Aggregate and window functions."""

from __future__ import annotations

from embedded.dremio.errors import UnsupportedOperation, ValidationError
from embedded.dremio.sql import kinds
from embedded.dremio.sql.kinds import BIGINT, BOOLEAN, DOUBLE, VARCHAR, Kind
from embedded.dremio.sql.registry import Bound, Call, aggregate, window
from embedded.dremio.types import DremioType


def _same(args: list[Kind]) -> Kind:
    return args[0]


def _list(args: list[Kind]) -> Kind:
    return None if args[0] is None else DremioType("LIST", children=(("", args[0]),))


def _sum_decimal(args: list[Kind]) -> Kind:
    return DremioType("DECIMAL", 38, args[0].scale if args[0] is not None else 0)


def _avg_decimal(call: Call) -> Bound:
    """AVG of decimals is exact, with at least six digits after the point (DuckDB goes to DOUBLE)."""
    arg, clauses = call.args[0], call.clauses
    scale = (arg.kind.scale if arg.kind else 0) or 0
    target = max(scale, 6)
    total = f"CAST(sum({clauses.distinct}{arg.sql}){clauses.over} AS DECIMAL(38, {scale}))"
    count = f"nullif(count({clauses.distinct}{arg.sql}){clauses.over}, 0)"
    unit = "0." + "0" * (target - 1) + "1"
    sql = f"decimal_quotient(decimal_digits({total}), CAST({count} AS HUGEINT), {target - scale})"
    return Bound(
        f"CAST(CAST({sql} AS DECIMAL(38, 0)) * {unit} AS DECIMAL(38, {target}))", DremioType("DECIMAL", 38, target)
    )


def _count_many(call: Call) -> Bound:
    """COUNT(a, b): rows in which no argument is null; DISTINCT counts combinations."""
    sqls = [arg.sql for arg in call.args]
    nulls = " OR ".join(f"{s} IS NULL" for s in sqls)
    row = f"CASE WHEN {nulls} THEN NULL ELSE row({', '.join(sqls)}) END"
    return Bound(f"count({call.clauses.distinct}{row}){call.clauses.over}", BIGINT)


def _listagg(call: Call) -> Bound:
    """LISTAGG: without a delimiter nothing stands between the items."""
    delimiter = call.args[1].sql if len(call.args) > 1 else "''"
    c = call.clauses
    return Bound(f"string_agg({c.distinct}{call.args[0].sql}, {delimiter}{c.order}){c.over}", VARCHAR)


def _percentile(call: Call) -> Bound:
    """PERCENTILE_CONT/DISC(p) WITHIN GROUP (ORDER BY x)."""
    if not call.clauses.order:
        raise ValidationError(f"{call.name} needs WITHIN GROUP (ORDER BY ..)")
    order = call.clauses.order.replace(" NULLS LAST", "").replace(" NULLS FIRST", "")
    name = call.name.lower()
    kind = DOUBLE if name == "percentile_cont" else None  # DISC gives one of the values: DuckDB knows its type
    return Bound(f"{name}({call.args[0].sql}) WITHIN GROUP ({order.strip()}){call.clauses.over}", kind)


def _no_text(call: Call) -> Bound:
    raise ValidationError(
        f"Cannot apply '{call.name}' to arguments of type '{call.name}(<VARCHAR>)'. "
        f"Supported form(s): '{call.name}(<NUMERIC>)'"
    )


def _neighbour(call: Call) -> Bound:
    if len(call.args) > 1 and (call.args[1].literal or "").startswith("-"):
        raise ValidationError(f"{call.name}: the offset must not be negative")
    args = ", ".join(arg.sql for arg in call.args)
    return Bound(f"{call.name.lower()}({args}{call.clauses.nulls}){call.clauses.over}", call.args[0].kind)


def _refuse_lag_default(call: Call) -> Bound:
    raise UnsupportedOperation(f"{call.name} with a default value is not supported.")


aggregate("COUNT(*)", "", "count(*){o}", BIGINT)
aggregate("COUNT", "a", "count({d}{0}){o}", BIGINT)
aggregate("COUNT", "a,a,a*", _count_many)
aggregate("SUM", "i", "CAST(sum({d}{0}){o} AS BIGINT)", BIGINT)
aggregate("SUM", "f", "sum({d}CAST({0} AS DOUBLE)){o}", DOUBLE)
aggregate("SUM", "c", "sum({d}{0}){o}", _sum_decimal)
aggregate("AVG", "i", "avg({d}{0}){o}", DOUBLE)
aggregate("AVG", "f", "avg({d}CAST({0} AS DOUBLE)){o}", DOUBLE)
aggregate("AVG", "c", _avg_decimal)
aggregate("MIN", "a", "min({0}){o}", _same)
aggregate("MAX", "a", "max({0}){o}", _same)
aggregate("STDDEV STDDEV_SAMP", "f", "stddev_samp({d}{0}){o}", DOUBLE)
aggregate("STDDEV_POP", "f", "stddev_pop({d}{0}){o}", DOUBLE)
aggregate("VARIANCE VAR_SAMP", "f", "var_samp({d}{0}){o}", DOUBLE)
aggregate("VAR_POP", "f", "var_pop({d}{0}){o}", DOUBLE)
aggregate("CORR", "f,f", "corr({0}, {1}){o}", DOUBLE)
aggregate("COVAR_POP", "f,f", "covar_pop({0}, {1}){o}", DOUBLE)
aggregate("COVAR_SAMP", "f,f", "covar_samp({0}, {1}){o}", DOUBLE)
# counted exactly: an approximate answer of another algorithm would differ from Dremio's anyway
aggregate("NDV APPROX_COUNT_DISTINCT", "a", "count(DISTINCT {0}){o}", BIGINT)
aggregate("BOOL_AND", "b", "bool_and({0}){o}", BOOLEAN)
aggregate("BOOL_OR", "b", "bool_or({0}){o}", BOOLEAN)
aggregate("BIT_AND", "i", "bit_and({0}){o}", _same)
aggregate("BIT_OR", "i", "bit_or({0}){o}", _same)
aggregate("BIT_XOR", "i", "bit_xor({0}){o}", _same)
aggregate("LISTAGG", "s,s?", _listagg)
aggregate("ARRAY_AGG", "a", "array_agg({d}{0}{w}) FILTER ({0} IS NOT NULL){o}", _list)
aggregate("MEDIAN", "n", "median({d}CAST({0} AS DOUBLE)){o}", DOUBLE)
aggregate("SUM AVG STDDEV STDDEV_SAMP STDDEV_POP VARIANCE VAR_SAMP VAR_POP MEDIAN", "s", _no_text)
aggregate("PERCENTILE_CONT", "f", _percentile)
aggregate("PERCENTILE_DISC", "f", _percentile)
aggregate("GROUPING", "a", "grouping({0})", BIGINT)
aggregate("GROUPING_ID", "a,a*", "grouping_id({all})", BIGINT)
aggregate("ANY_VALUE", "a", "any_value({0}){o}", _same)
aggregate("APPROX_PERCENTILE", "n,n", "quantile_cont(CAST({0} AS DOUBLE), {1}){o}", DOUBLE)

window("ROW_NUMBER", "", "row_number(){o}", BIGINT)
window("RANK", "", "rank(){o}", BIGINT)
window("DENSE_RANK", "", "dense_rank(){o}", BIGINT)
window("PERCENT_RANK", "", "percent_rank(){o}", DOUBLE)
window("CUME_DIST", "", "cume_dist(){o}", DOUBLE)
window("NTILE", "i", "CAST(ntile({0}){o} AS INTEGER)", kinds.INTEGER)
window("LAG LEAD", "a,i?", _neighbour)
window("LAG LEAD", "a,i,a", _refuse_lag_default)
window("FIRST_VALUE", "a", "first_value({0}{i}){o}", _same)
window("LAST_VALUE", "a", "last_value({0}{i}){o}", _same)
window("NTH_VALUE", "a,i", "nth_value({0}, {1}{i}){o}", _same)
