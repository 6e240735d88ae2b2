"""What include/pipelines/storage.yaml declares: buckets, what they are to do, and the prefixes that people look for."""

from typing import Any, Self

from pydantic import ByteSize, Field, field_validator, model_validator

from lakehouse.ops.declarations import Declared


class Expiry(Declared):
    """A lifecycle rule: what lies below a prefix goes after some days, by the server itself.

    :ivar prefix: with a slash at its end; empty for the whole bucket, where only old versions may go.
    :ivar expiration_days: after which an object goes (in a versioned bucket it becomes an old version).
    :ivar noncurrent_expiration_days: after which an old version goes for good.
    """

    prefix: str = ""
    expiration_days: int | None = Field(default=None, ge=1)
    noncurrent_expiration_days: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.expiration_days is None and self.noncurrent_expiration_days is None:
            raise ValueError("name expiration_days, noncurrent_expiration_days or both")
        if self.prefix and (self.prefix.startswith("/") or not self.prefix.endswith("/")):
            raise ValueError(f"{self.prefix!r}: write a prefix with a slash at its end alone, as logs/")
        if self.expiration_days is not None and not self.prefix:
            raise ValueError("expiration_days needs a prefix: without one the whole bucket would be emptied")
        return self


class Bucket(Declared):
    """A bucket. What is not named is left as it is on the server.

    :ivar name: left out: the lake's, which the Airflow connection names (`service_config: {s3: {bucket_name: ...}}` in
        its extra), else `datalake`.
    :ivar prefixes: are made visible (by an object `.keep`) before anything is stored below them.
    :ivar versioning: true keeps old versions of objects; false suspends that, old versions stay.
    :ivar lifecycle: rules by prefix. Rules on the server that were not made from here stay beside them.
    :ivar quota: bytes or text as 500GiB, beyond which the server takes nothing more (MinIO).
    :ivar policy: the bucket's policy in S3's own form, whole.
    """

    name: str = Field(default="", min_length=1)
    prefixes: list[str] = Field(default_factory=list)
    versioning: bool | None = None
    lifecycle: list[Expiry] | None = None
    quota: ByteSize | None = Field(default=None, ge=1)
    policy: dict[str, Any] | None = None

    @field_validator("prefixes")
    @classmethod
    def _relative(cls, prefixes: list[str]) -> list[str]:
        for prefix in prefixes:
            if prefix.startswith("/") or prefix.endswith("/") or "//" in prefix:
                raise ValueError(f"{prefix!r}: write a prefix without slashes at its ends, as bronze/landing")
        return prefixes

    @field_validator("lifecycle")
    @classmethod
    def _once(cls, lifecycle: list[Expiry] | None) -> list[Expiry] | None:
        prefixes = [rule.prefix for rule in lifecycle or []]
        for prefix in prefixes:
            if prefixes.count(prefix) > 1:
                raise ValueError(f"prefix {prefix!r} has two rules: write them as one")
        return lifecycle

    @field_validator("policy")
    @classmethod
    def _with_statements(cls, policy: dict[str, Any] | None) -> dict[str, Any] | None:
        if policy is not None and not policy.get("Statement"):
            raise ValueError("a policy needs Version and at least one Statement")
        return policy


class Storage(Declared):
    """All buckets of the lake."""

    buckets: list[Bucket]

    @field_validator("buckets")
    @classmethod
    def _told_apart(cls, buckets: list[Bucket]) -> list[Bucket]:
        names = [bucket.name for bucket in buckets]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name or 'a bucket without a name, which is the lake,'} is declared twice")
        return buckets

    def named(self, lake: str) -> list[Bucket]:
        """Return the buckets, the lake's under this name."""
        return [bucket if bucket.name else bucket.model_copy(update={"name": lake}) for bucket in self.buckets]


FILES = {"storage.yaml": Storage}
