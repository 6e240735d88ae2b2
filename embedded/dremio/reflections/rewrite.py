"""Puts materializations in the place of datasets, where and only where the result is provably the same.

Raw: the SELECT uses only display columns of the dataset. Aggregation: the SELECT groups by, filters by and shows
only dimensions (or expressions over them), and its aggregates can be computed from the stored ones. Everything that
is not known to be safe is left alone; see `levels` for what may lie between the SELECT and the dataset.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from embedded.dremio.catalog import Catalog, Entity
from embedded.dremio.reflections.definition_sql import used_columns
from embedded.dremio.reflections.levels import (
    Level,
    NoMatch,
    call_name,
    is_plain_source,
    levels_of,
    names_source,
    only_source,
    source_names,
)
from embedded.dremio.reflections.model import RAW, Reflection
from embedded.dremio.reflections.roll_up import RollUp


@dataclass(frozen=True)
class Candidate:
    """A reflection that may be used now: its materialization's table and its dataset."""

    reflection: Reflection
    table: str
    dataset: Entity


@dataclass
class Outcome:
    """Ids of the reflections that could have been used and of those that were."""

    matched: set[str] = field(default_factory=set)
    chosen: set[str] = field(default_factory=set)


def rewrite_query(query: exp.Expr, candidates: list[Candidate], catalog: Catalog) -> Outcome:
    """Rewrite the tree in place and say which reflections took part."""
    rewriter = _Rewriter(candidates, catalog)
    rewriter.visit(query)
    return rewriter.outcome


class _Rewriter:
    def __init__(self, candidates: list[Candidate], catalog: Catalog) -> None:
        self._candidates: dict[str, list[Candidate]] = {}
        for one in sorted(candidates, key=_cost):
            self._candidates.setdefault(one.dataset.id, []).append(one)
        self._catalog = catalog
        self.outcome = Outcome()

    def visit(self, node: exp.Expr) -> None:
        """Outermost first: what a view's reflection covers is not looked into."""
        if isinstance(node, exp.Select):
            self._select(node)
        for child in list(node.iter_expressions()):
            self.visit(child)

    def _select(self, select: exp.Select) -> None:
        source = only_source(select)
        if source is not None and self._single(select, source):
            return
        for one in _sources(select):
            self._raw_in_place(select, one)

    def _single(self, select: exp.Select, source: exp.Expr) -> bool:
        """Try the reflections of everything under the only source: the smallest that matches is taken."""
        matches: list[tuple[Candidate, RollUp]] = []
        for level in levels_of(source, self._catalog):
            for candidate in self._candidates.get(level.dataset.id, []):
                try:
                    plan = RollUp(select, source, level, candidate.reflection, candidate.dataset)
                except NoMatch:
                    continue
                matches.append((candidate, plan))
                self.outcome.matched.add(candidate.reflection.reflection_id)
        if not matches:
            return False
        candidate, plan = min(matches, key=lambda match: _cost(match[0]))
        plan.apply(_materialization(source, candidate.table))
        self.outcome.chosen.add(candidate.reflection.reflection_id)
        return True

    def _raw_in_place(self, select: exp.Select, source: exp.Expr) -> None:
        """Replace one of the sources by a raw materialization that has all columns the SELECT may use of it."""
        dataset_id = source.meta.get("dataset_id")
        if dataset_id not in self._candidates or not is_plain_source(source) or _natural(select):
            return
        for candidate in self._candidates[dataset_id]:
            if candidate.reflection.type != RAW:
                continue
            level = levels_of(source, self._catalog)[0]
            if not _covers(select, source, level, candidate):
                continue
            self.outcome.matched.add(candidate.reflection.reflection_id)
            self.outcome.chosen.add(candidate.reflection.reflection_id)
            source.replace(_materialization(source, candidate.table))
            return


def _cost(candidate: Candidate) -> tuple[int, int]:
    built = candidate.reflection.built
    columns = len(candidate.reflection.fields.get("displayFields", []))
    return (built.records if built else 0, columns)


def _sources(select: exp.Select) -> list[exp.Expr]:
    from_ = select.args.get("from_")
    items = [from_.this] if from_ is not None else []
    items += [join.this for join in select.args.get("joins") or []]
    return [item for item in items if isinstance(item, exp.Table | exp.Subquery)]


def _natural(select: exp.Select) -> bool:
    return any((join.args.get("method") or "").upper() == "NATURAL" for join in select.args.get("joins") or [])


def _covers(select: exp.Select, source: exp.Expr, level: Level, candidate: Candidate) -> bool:
    """True when every column that the SELECT, or a query inside it, may mean by this source is kept."""
    kept = {column.name.lower() for column in used_columns(candidate.reflection, candidate.dataset)}
    if kept == level.columns.keys():
        return True
    used: set[str] = set()
    sources = {id(one) for one in _sources(select)}
    stack: list[exp.Expr] = [select]
    while stack:
        node = stack.pop()
        if id(node) in sources:
            continue
        if isinstance(node, exp.Star) and (node.parent is None or call_name(node.parent) != "COUNT"):
            return False
        if isinstance(node, exp.Join):
            used |= {name.name.lower() for name in node.args.get("using") or []}
        if isinstance(node, exp.Column) and names_source(node, source):
            used.add(node.name.lower())
        stack += list(node.iter_expressions())
    return used & level.columns.keys() <= kept


def _materialization(source: exp.Expr, table: str) -> exp.Table:
    names = source_names(source) or (table,)
    node = exp.Table(this=exp.to_identifier(names[-1], quoted=True))
    node.meta["materialization"] = table
    node.meta["names"] = list(names)
    return node
