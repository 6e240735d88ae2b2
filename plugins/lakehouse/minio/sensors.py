"""Sensors: an object, or the objects below a prefix, are there, new enough and no longer written to."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lakehouse.minio.exceptions import ObjectStoreError
from lakehouse.ops.waiting import Sighting, WaitingSensor, parse_time

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

    from lakehouse.minio.awaited import Awaited
    from lakehouse.minio.hook import ObjectStoreHook


class _ObjectsSensor(WaitingSensor):
    """Lists, and judges the listing.

    :param bucket: bucket (templated).
    :param min_age: seconds since the newest of the objects was written, by the server's clock: nobody is writing.
    :param newer_than: ISO time, UTC unless it says otherwise; older objects do not count (templated).
    :param poke_interval: seconds between two listings.
    :param aws_conn_id: Airflow connection of type `aws` (templated).
    """

    ui_color = "#f3e1e4"
    errors = (ObjectStoreError,)

    def __init__(
        self,
        *,
        bucket: str,
        min_age: float = 0.0,
        newer_than: str | None = None,
        poke_interval: float = 15.0,
        aws_conn_id: str = "minio_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.bucket = bucket
        self.min_age = min_age
        self.newer_than = newer_than
        self.aws_conn_id = aws_conn_id

    @cached_property
    def hook(self) -> "ObjectStoreHook":
        """Hook of this task."""
        from lakehouse.minio.hook import ObjectStoreHook

        return ObjectStoreHook(self.aws_conn_id)

    @abstractmethod
    def awaited(self) -> "Awaited":
        """What is waited for, as data."""

    def check(self, context: "Context") -> None:
        """Refuse arguments that do not fit.

        :raises ValueError: names them.
        """
        if self.newer_than is not None:
            parse_time(self.newer_than)
        if self.min_age < 0:
            raise ValueError(f"Task {self.task_id}: `min_age` is {self.min_age:g}; it must be 0 or more seconds")

    def look(self, context: "Context", until: float) -> Sighting:
        """List once.

        :raises StoreUnreachable: the object store does not answer or refuses the keys.
        """
        from lakehouse.minio.awaited import look

        return look(self.hook, self.awaited())

    def trigger(self, context: "Context", deadline: float, seen: str) -> "BaseTrigger":
        """The trigger that goes on looking."""
        from lakehouse.minio.triggers import ObjectsTrigger

        return ObjectsTrigger(
            aws_conn_id=self.aws_conn_id,
            awaited=asdict(self.awaited()),
            deadline=deadline,
            poke_interval=self.poke_interval,
            seen=seen,
        )

    def failure(self, reason: str, detail: str) -> Exception:
        """The error of a wait that the trigger ended."""
        return ObjectStoreError(detail)


class ObjectSensor(_ObjectsSensor):
    """Wait for an object, or for one that matches a shell pattern.

    Example::

        ObjectSensor(task_id="invoices", bucket="inbox", key="invoices/*.csv", min_age=60, timeout=7200, retries=2)

    Returns (XCom) `{"bucket", "objects": int, "bytes": int, "newest": ISO time, "first_key"}`.

    :param key: key, or a pattern with `*`, `?`, `[...]` over the whole key (templated).
    :param min_bytes: bytes that the objects must have together: an empty mark does not count with 1.
    """

    template_fields: Sequence[str] = ("bucket", "key", "newer_than", "aws_conn_id")

    def __init__(self, *, key: str, min_bytes: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.key = key
        self.min_bytes = min_bytes

    def awaited(self) -> "Awaited":
        """The key."""
        from lakehouse.minio.awaited import awaited_key

        return awaited_key(
            self.bucket, self.key, min_bytes=self.min_bytes, min_age=self.min_age, newer_than=self.newer_than
        )


class PrefixSensor(_ObjectsSensor):
    """Wait until enough objects lie below a prefix. Names that begin with `.` or `_` are marks and do not count.

    Example::

        PrefixSensor(
            task_id="landed",
            bucket="datalake",
            prefix="bronze/landing/source=shop/orders/",
            min_objects=3,
            min_age=120,
            newer_than="{{ dag_run.run_after }}",
            timeout=7200,
            retries=2,
        )

    Returns (XCom) `{"bucket", "objects": int, "bytes": int, "newest": ISO time, "first_key"}`.

    :param prefix: what the keys begin with (templated).
    :param min_objects: objects that must be there.
    :param min_bytes: bytes that they must have together.
    """

    template_fields: Sequence[str] = ("bucket", "prefix", "newer_than", "aws_conn_id")

    def __init__(self, *, prefix: str, min_objects: int = 1, min_bytes: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.prefix = prefix
        self.min_objects = min_objects
        self.min_bytes = min_bytes

    def check(self, context: "Context") -> None:
        """Refuse arguments that do not fit."""
        super().check(context)
        if self.min_objects < 1:
            raise ValueError(f"Task {self.task_id}: `min_objects` is {self.min_objects}; it must be at least 1")

    def awaited(self) -> "Awaited":
        """The prefix."""
        from lakehouse.minio.awaited import Awaited

        return Awaited(
            self.bucket,
            self.prefix,
            None,
            min_objects=self.min_objects,
            min_bytes=self.min_bytes,
            min_age=self.min_age,
            newer_than=self.newer_than,
        )
