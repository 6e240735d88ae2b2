"""Remove what is older than its layer keeps, whole partitions at a time."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from lakehouse.minio.exceptions import ObjectStoreError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from lakehouse.minio.hook import StoredObject

_DATED = re.compile(r"[^/=]+=(\d{4}-\d{2}-\d{2})")
_ICEBERG = re.compile(r"/metadata/[^/]+\.metadata\.json$")


@dataclass
class DatedFolder:
    """A partition: the folder `…/<name>=<date>/` and what lies below it, however deep."""

    folder: str
    day: date
    keys: list[str] = field(default_factory=list)
    bytes: int = 0


class RetentionOperator(BaseOperator):
    """Remove partitions older than their prefix keeps them: a folder `<name>=<YYYY-MM-DD>` whole, or not at all.

    Objects outside of such folders are left, and counted in the log. The newest partition of each table stays however
    old it is, so a source that has stopped does not lose its last data. Manifests (names that begin with `_`) go
    first: whoever reads a batch by its manifest sees all of it or none. Safe to interrupt and to run again.

    A table that Dremio reads from these folders needs its metadata refreshed afterwards (DremioPromoteOperator). Not
    for Iceberg tables, whose files belong to snapshots: `VACUUM TABLE … EXPIRE SNAPSHOTS` is theirs, and a prefix that
    holds one is refused.

    Example::

        RetentionOperator(
            task_id="retention",
            bucket="datalake",
            keep_days={"exports/orders/": 30, "bronze/quarantine/": 90},
            report_only="{{ params.report_only }}",
        )

    Returns (XCom) `{"bucket", "report_only": bool, "objects": int, "bytes": int, "prefixes": [{"prefix", "before": ISO
    date, "removed": [folder], "kept": int}]}`; objects and bytes are those removed, or with `report_only` those that
    would be.

    :param bucket: bucket (templated).
    :param keep_days: days by prefix; a partition whose date is earlier than today less so many goes (templated). Today
        is the server's, in UTC.
    :param keep_newest: partitions that always stay of each folder that holds some (of each table), at least 1.
    :param report_only: only say what would be removed; true or false, or a template of it.
    :param aws_conn_id: Airflow connection of type `aws` (templated).
    """

    template_fields: Sequence[str] = ("bucket", "keep_days", "report_only", "aws_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"keep_days": "json"}
    ui_color = "#f3e1e4"

    def __init__(
        self,
        *,
        bucket: str,
        keep_days: Mapping[str, int],
        keep_newest: int = 1,
        report_only: bool | str = False,
        aws_conn_id: str = "minio_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bucket = bucket
        self.keep_days = keep_days
        self.keep_newest = keep_newest
        self.report_only = report_only
        self.aws_conn_id = aws_conn_id

    def execute(self, context: "Context") -> dict[str, Any]:
        """List, choose, remove.

        :raises ValueError: a prefix does not end with a slash, a number is below 1, or `report_only` is neither true
            nor false; nothing was removed.
        :raises ObjectStoreError: a prefix holds an Iceberg table; nothing was removed.
        :raises StoreUnreachable: the object store does not answer or refuses the keys.
        """
        from lakehouse.minio.hook import ObjectStoreHook

        report_only, keep_days = self._checked()
        store = ObjectStoreHook(self.aws_conn_id)
        today = store.server_time(self.bucket).date()
        listed = {prefix: self._partitions(store.iter_objects(self.bucket, prefix), prefix) for prefix in keep_days}
        chosen: list[DatedFolder] = []
        prefixes = []
        for prefix, days in keep_days.items():
            before = today - timedelta(days=days)
            old = [each for each in self._but_newest(listed[prefix]) if each.day < before]
            chosen += old
            folders = sorted(each.folder for each in old)
            kept = len(listed[prefix]) - len(old)
            prefixes.append({"prefix": prefix, "before": before.isoformat(), "removed": folders, "kept": kept})
            self.log.info(
                "s3://%s/%s: %d partitions before %s %s, %d stay%s",
                self.bucket, prefix, len(old), before, "would go" if report_only else "go", kept,
                "".join(f"\n  {folder}" for folder in folders),
            )  # fmt: skip
        if not report_only:
            for partition in chosen:
                store.remove(self.bucket, sorted(partition.keys, key=_manifests_first))
        return {
            "bucket": self.bucket,
            "report_only": report_only,
            "objects": sum(len(each.keys) for each in chosen),
            "bytes": sum(each.bytes for each in chosen),
            "prefixes": prefixes,
        }

    def _but_newest(self, partitions: list[DatedFolder]) -> list[DatedFolder]:
        """All but the newest partitions of each folder that holds any."""
        by_parent: dict[str, list[DatedFolder]] = {}
        for each in sorted(partitions, key=lambda each: each.day, reverse=True):
            by_parent.setdefault(each.folder.rstrip("/").rpartition("/")[0], []).append(each)
        return [each for newest_first in by_parent.values() for each in newest_first[self.keep_newest :]]

    def _checked(self) -> tuple[bool, dict[str, int]]:
        said = str(self.report_only).strip().lower()
        if said not in ("true", "false"):
            raise ValueError(f"Task {self.task_id}: report_only is {self.report_only!r}; it must be true or false")
        if self.keep_newest < 1:
            raise ValueError(f"Task {self.task_id}: keep_newest is {self.keep_newest}; it must be at least 1")
        keep_days = {str(prefix): int(days) for prefix, days in dict(self.keep_days).items()}
        for prefix, days in keep_days.items():
            if prefix in ("", "/") or not prefix.endswith("/"):
                raise ValueError(f"Task {self.task_id}: prefix {prefix!r} must name a folder and end with a slash")
            if days < 1:
                raise ValueError(f"Task {self.task_id}: {prefix} is to be kept {days} days; it must be at least 1")
        return said == "true", keep_days

    def _partitions(self, objects: Iterable["StoredObject"], prefix: str) -> list[DatedFolder]:
        found: dict[str, DatedFolder] = {}
        undated = 0
        for item in objects:
            if _ICEBERG.search(item.key):
                raise ObjectStoreError(
                    f"s3://{self.bucket}/{prefix} holds an Iceberg table ({item.key}), whose files belong to "
                    "snapshots. Expire these by VACUUM TABLE, and take the prefix out of keep_days."
                )
            folder = _dated_folder(item.key, prefix)
            if folder is None:
                undated += 1
                continue
            name, day = folder
            partition = found.setdefault(name, DatedFolder(name, day))
            partition.keys.append(item.key)
            partition.bytes += item.size
        if undated:
            self.log.info("s3://%s/%s: %d objects in no dated folder are left", self.bucket, prefix, undated)
        return list(found.values())


def _dated_folder(key: str, prefix: str) -> tuple[str, date] | None:
    """The first folder below the prefix that is named by a date, and the date."""
    above = prefix
    for part in key[len(prefix) :].split("/")[:-1]:
        above += f"{part}/"
        if named := _DATED.fullmatch(part):
            try:
                return above, date.fromisoformat(named[1])
            except ValueError:  # a 31st of February
                return None
    return None


def _manifests_first(key: str) -> tuple[bool, str]:
    return not key.rpartition("/")[2].startswith("_"), key
