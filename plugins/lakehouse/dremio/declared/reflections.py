"""What `include/pipelines/reflections.yaml` may say, and its translation to Dremio's REST objects."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from lakehouse.dremio.declared.catalog import DatasetPath, Name
from lakehouse.ops.declarations import Declared

Measure = Literal["MIN", "MAX", "SUM", "COUNT", "APPROX_COUNT_DISTINCT"]
_FIELD_KEYS = ("displayFields", "dimensionFields", "measureFields", "partitionFields", "sortFields")
HOUR_MS = 3_600_000  # also the shortest refresh period that Dremio takes


class Reflection(Declared):
    """One reflection.

    :ivar dataset: table or view; `gold.<mart>` stands for the mart's table in a slot.
    :ivar measures: column -> aggregations. There is no COUNT(*): count a column that is never null.
    :ivar refresh_every_hours: refresh policy of the tables in `policy_on`, by default of the dataset itself.
    :ivar checks: queries that this reflection must answer once refreshed; `{dataset}` is the table's name.
    """

    name: Name
    dataset: DatasetPath
    type: Literal["RAW", "AGGREGATION"]
    display: list[str] = Field(default_factory=list)
    dimensions: list[str] = Field(default_factory=list)
    measures: dict[str, list[Measure]] = Field(default_factory=dict)
    partition_by: list[str] = Field(default_factory=list)
    sort_by: list[str] = Field(default_factory=list)
    refresh_every_hours: int | None = Field(default=None, ge=1)
    policy_on: list[DatasetPath] = Field(default_factory=list)
    checks: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check_fields(self) -> "Reflection":
        if self.type == "RAW" and (not self.display or self.dimensions or self.measures):
            raise ValueError(f"reflection {self.name}: RAW takes `display` alone, and needs it")
        if self.type == "AGGREGATION" and (self.display or not (self.dimensions or self.measures)):
            raise ValueError(f"reflection {self.name}: AGGREGATION takes `dimensions` and `measures`")
        for check in self.checks:
            if "{dataset}" not in check:
                raise ValueError(f"reflection {self.name}: the check {check!r} does not name {{dataset}}")
        return self

    def table(self, slot: str, database: str = "datalake.gold") -> str:
        """Dotted path of the dataset in a slot: `gold.orders` -> `datalake.gold.slot_a.orders`."""
        space, _, mart = self.dataset.partition(".")
        return f"{database}.slot_{slot}.{mart}" if space == "gold" else self.dataset

    def payload(self, dataset_id: str) -> dict[str, Any]:
        """Body of `POST /reflection`."""
        body: dict[str, Any] = {
            "entityType": "reflection",
            "type": self.type,
            "name": self.name,
            "datasetId": dataset_id,
            "enabled": True,
            "partitionFields": [{"name": name} for name in self.partition_by],
            "sortFields": [{"name": name} for name in self.sort_by],
        }
        if self.type == "RAW":
            return body | {"displayFields": [{"name": name} for name in self.display]}
        return body | {
            "dimensionFields": [{"name": name} for name in self.dimensions],
            "measureFields": [{"name": name, "measureTypeList": list(types)} for name, types in self.measures.items()],
        }

    def matches(self, there: Mapping[str, Any]) -> bool:
        """Whether an existing reflection has this definition and is enabled."""
        wanted = self.payload(str(there.get("datasetId")))
        return (
            there.get("enabled") is True
            and there.get("type") == self.type
            and all(_fields(there, key) == _fields(wanted, key) for key in _FIELD_KEYS)
        )


def _fields(body: Mapping[str, Any], key: str) -> list[tuple[str, tuple[str, ...]]]:
    """Names and measure types, comparable; the order of sort and partition columns matters to Dremio."""
    found = [(str(item["name"]), tuple(sorted(item.get("measureTypeList") or ()))) for item in body.get(key) or []]
    return found if key in ("sortFields", "partitionFields") else sorted(found)


class Reflections(Declared):
    """The whole file."""

    reflections: list[Reflection]

    @model_validator(mode="after")
    def _check_unique(self) -> "Reflections":
        names = [(entry.dataset, entry.name) for entry in self.reflections]
        twice = sorted({f"{name} on {dataset}" for dataset, name in names if names.count((dataset, name)) > 1})
        if twice:
            raise ValueError(f"declared more than once: {', '.join(twice)}")
        return self
