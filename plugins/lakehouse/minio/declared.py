"""What include/pipelines/storage.yaml declares: buckets and the prefixes that people look for in them."""

from pydantic import Field, field_validator

from lakehouse.ops.declarations import Declared


class Bucket(Declared):
    """A bucket. `prefixes` are made visible (by an object `.keep`) before anything is stored below them."""

    name: str
    prefixes: list[str] = Field(default_factory=list)

    @field_validator("prefixes")
    @classmethod
    def _relative(cls, prefixes: list[str]) -> list[str]:
        for prefix in prefixes:
            if prefix.startswith("/") or prefix.endswith("/") or "//" in prefix:
                raise ValueError(f"{prefix!r}: write a prefix without slashes at its ends, as bronze/landing")
        return prefixes


class Storage(Declared):
    """All buckets of the lake."""

    buckets: list[Bucket]


FILES = {"storage.yaml": Storage}
