"""Functions made by CREATE FUNCTION: their body is bound in place of the call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from embedded.dremio.catalog.entities import Kind
from embedded.dremio.engine.contracts import Session
from embedded.dremio.errors import ValidationError
from embedded.dremio.sql import casts
from embedded.dremio.sql.dialect import parse_expression
from embedded.dremio.sql.registry import Bound
from embedded.dremio.sql.statements import parse_type
from embedded.dremio.sql.words import Words

if TYPE_CHECKING:
    from embedded.dremio.engine.engine import Engine


class UserFunctions:
    """Binds calls of user-defined scalar functions for one statement."""

    def __init__(self, engine: Engine, session: Session) -> None:
        self.engine = engine
        self.session = session

    def call(self, binder: Any, node: exp.Anonymous) -> Bound | None:
        """The call with the arguments in the places of the parameters; None for an unknown name."""
        name = str(node.this)
        entity = None
        for path in ((*self.session.context, name), (f"@{self.session.user}", name), (name,)):
            found = self.engine.catalog.find(path)
            if found is not None and found.kind == Kind.FUNCTION:
                entity = found
                break
        if entity is None:
            return None
        parameters = entity.body["functionArgList"]
        if len(parameters) != len(node.expressions):
            raise ValidationError(f"Function {entity.dotted} takes {len(parameters)} arguments.")
        body = parse_expression(entity.body["functionBody"])
        values = {}
        for parameter, argument in zip(parameters, node.expressions, strict=True):
            kind = exp.DataType.build(parameter["type"], dialect="dremio")
            values[parameter["name"].lower()] = exp.Cast(this=argument.copy(), to=kind)
        body = body.transform(
            lambda n: (
                values[n.name.lower()].copy()
                if isinstance(n, exp.Column) and len(n.parts) == 1 and n.name.lower() in values
                else n
            )
        )
        bound = binder.bind(body)
        target = parse_type(entity.body["returnType"], Words(entity.body["returnType"]))
        return casts.explicit(bound, target, False) if bound.kind != target.kind else bound
