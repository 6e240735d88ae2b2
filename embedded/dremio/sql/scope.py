"""What names mean inside one SELECT."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from embedded.dremio.errors import ValidationError
from embedded.dremio.sql.kinds import Kind, quoted
from embedded.dremio.sql.registry import Bound


class Field(NamedTuple):
    """A column of a relation, with Dremio's type where it is known."""

    name: str
    kind: Kind


@dataclass
class Relation:
    """A bound query or table: DuckDB's text and its columns."""

    sql: str
    columns: list[Field]


@dataclass
class Source:
    """One item of FROM: the alias in the emitted text, the names it is known by, its columns.

    `hidden`: columns (lower case) that a USING or NATURAL join merged with another source's.
    """

    alias: str
    path: tuple[str, ...]
    columns: list[Field]
    hidden: set[str] = field(default_factory=set)


@dataclass
class Scope:
    """The sources of one SELECT, and the scope around it for correlated subqueries.

    `merged`: the columns that USING and NATURAL joins made of two; ``*`` shows them first.
    """

    parent: Scope | None = None
    sources: list[Source] = field(default_factory=list)
    merged: dict[str, tuple[Field, Bound]] = field(default_factory=dict)

    def add(self, path: tuple[str, ...], columns: list[Field]) -> Source:
        """Add a source known by `path` (an alias, or the parts of a table's name); its emitted alias is unique."""
        taken = {source.alias.lower() for source in self.all_sources()}
        alias, number = path[-1], 0
        while alias.lower() in taken:
            number += 1
            alias = f"{path[-1]}_{number}"
        source = Source(alias, path, columns)
        self.sources.append(source)
        return source

    def all_sources(self) -> list[Source]:
        """Sources of this scope and of those around it."""
        return self.sources + (self.parent.all_sources() if self.parent else [])

    def resolve(self, names: list[str]) -> tuple[Bound, list[str]] | None:
        """What a dotted name stands for: a column and the names left over (fields of a struct), or None.

        Raises ValidationError when a bare name is a column of two sources.
        """
        lowered = [name.lower() for name in names]
        for source in self.sources:
            known = [part.lower() for part in source.path]
            for length in range(min(len(known), len(names) - 1), 0, -1):
                if known[-length:] == lowered[:length]:
                    found = _column(source, lowered[length])
                    if found is not None:
                        return found, names[length + 1 :]
        if lowered[0] in self.merged:
            return self.merged[lowered[0]][1], names[1:]
        hits = [(s, c) for s in self.sources if lowered[0] not in s.hidden and (c := _column(s, lowered[0]))]
        if len(hits) > 1:
            raise ValidationError(f"Column '{names[0]}' is ambiguous")
        if hits:
            return hits[0][1], names[1:]
        return self.parent.resolve(names) if self.parent is not None else None


def _column(source: Source, lowered: str) -> Bound | None:
    for column in source.columns:
        if column.name.lower() == lowered:
            return Bound(f"{quoted(source.alias)}.{quoted(column.name)}", column.kind)
    return None
