"""Operators that tell about the object store: what lies where, and links to download from it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from lakehouse.minio.exceptions import ObjectStoreError

if TYPE_CHECKING:
    from airflow.sdk import Context

MAX_LINKS = 100
MAX_LINK_SECONDS = 7 * 86400  # by the signature's own rules


class StorageReportOperator(BaseOperator):
    """Count bytes and objects per prefix, and log them as a table.

    It lists page by page, so that memory does not grow with the objects; it costs a request for every thousand.

    Example::

        StorageReportOperator(task_id="storage", bucket="datalake", prefix="bronze/", depth=2)

    Returns (XCom) `{"bucket", "objects": int, "bytes": int, "prefixes": [{"prefix", "objects", "bytes", "newest"}]}`,
    largest first. `newest` is an ISO time.

    :param bucket: bucket (templated).
    :param prefix: only what lies below it (templated). Default: the whole bucket.
    :param depth: folders below `prefix` by which it is summed up.
    :param limit: prefixes that are named; the rest is summed up as `(others)`.
    :param aws_conn_id: Airflow connection of type `aws` (templated).
    """

    template_fields: Sequence[str] = ("bucket", "prefix", "aws_conn_id")
    ui_color = "#f3e1e4"

    def __init__(
        self,
        *,
        bucket: str,
        prefix: str = "",
        depth: int = 1,
        limit: int = 100,
        aws_conn_id: str = "minio_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bucket = bucket
        self.prefix = prefix
        self.depth = depth
        self.limit = limit
        self.aws_conn_id = aws_conn_id

    def execute(self, context: "Context") -> dict[str, Any]:
        """List and sum up.

        :raises ValueError: the prefix does not end with a slash, or depth or limit is below 1.
        :raises StoreUnreachable: the object store does not answer or refuses the keys.
        """
        from lakehouse.minio.hook import ObjectStoreHook
        from lakehouse.minio.storage import Usage, by_depth, table

        if self.prefix and not self.prefix.endswith("/"):
            raise ValueError(f"Task {self.task_id}: prefix {self.prefix!r} must end with a slash")
        if self.depth < 1 or self.limit < 1:
            raise ValueError(f"Task {self.task_id}: depth is {self.depth}, limit {self.limit}; both start at 1")
        found = by_depth(
            ObjectStoreHook(self.aws_conn_id).iter_objects(self.bucket, self.prefix), self.prefix, self.depth
        )
        named, rest = found[: self.limit], found[self.limit :]
        if rest:
            newest = max((one.newest for one in rest if one.newest), default=None)
            named.append(Usage("(others)", sum(o.objects for o in rest), sum(o.bytes for o in rest), newest))
        self.log.info("s3://%s/%s\n%s", self.bucket, self.prefix, table(named))
        return {
            "bucket": self.bucket,
            "objects": sum(usage.objects for usage in named),
            "bytes": sum(usage.bytes for usage in named),
            "prefixes": [usage.dump() for usage in named],
        }


class DownloadLinksOperator(BaseOperator):
    """Make links by which anybody can download objects for a while, for a person who has no keys.

    A link is as good as the object until it expires: it is in the XCom, for a notifier to send, and never in the log.
    Give it no longer than needed. Names that begin with `.` or `_` (manifests) get none.

    Example::

        DownloadLinksOperator(
            task_id="links", bucket="datalake", prefix="{{ ti.xcom_pull('export')['folder'] }}", seconds=3600
        )

    Returns (XCom) `{"expires_at": ISO time, "links": [{"key", "bytes", "url"}]}`.

    :param bucket: bucket (templated).
    :param prefix: what the keys begin with; one object: its key (templated).
    :param seconds: how long the links are good; at most 604800, seven days.
    :param aws_conn_id: Airflow connection of type `aws` (templated). Its endpoint is the links' host.
    """

    template_fields: Sequence[str] = ("bucket", "prefix", "aws_conn_id")
    ui_color = "#f3e1e4"

    def __init__(
        self, *, bucket: str, prefix: str, seconds: int = 3600, aws_conn_id: str = "minio_default", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.bucket = bucket
        self.prefix = prefix
        self.seconds = seconds
        self.aws_conn_id = aws_conn_id

    def execute(self, context: "Context") -> dict[str, Any]:
        """Look for the objects, and sign.

        :raises ValueError: `seconds` is not between 1 and seven days, or `prefix` is empty.
        :raises ObjectStoreError: there are no objects, or more than 100.
        :raises StoreUnreachable: the object store does not answer or refuses the keys.
        """
        from lakehouse.minio.hook import ObjectStoreHook

        if not 1 <= self.seconds <= MAX_LINK_SECONDS:
            raise ValueError(
                f"Task {self.task_id}: seconds is {self.seconds}; a link is good for 1 to {MAX_LINK_SECONDS}"
            )
        if not self.prefix:
            raise ValueError(f"Task {self.task_id}: `prefix` is empty, and would give away the whole bucket")
        store = ObjectStoreHook(self.aws_conn_id)
        found = [
            item
            for item in store.objects(self.bucket, self.prefix)
            if not item.key.rpartition("/")[2].startswith((".", "_"))
        ]
        if not 1 <= len(found) <= MAX_LINKS:
            raise ObjectStoreError(
                f"s3://{self.bucket}/{self.prefix}: {len(found)} objects, where 1 to {MAX_LINKS} can have links. "
                "Check bucket and prefix, or write fewer objects (rows_per_file of DremioToMinioOperator)."
            )
        expires_at = datetime.now(UTC) + timedelta(seconds=self.seconds)
        self.log.info("%d links below s3://%s/%s, good until %s", len(found), self.bucket, self.prefix, expires_at)
        return {
            "expires_at": expires_at.isoformat(timespec="seconds"),
            "links": [
                {"key": item.key, "bytes": item.size, "url": store.link(self.bucket, item.key, self.seconds)}
                for item in found
            ],
        }
