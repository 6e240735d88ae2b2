"""Joins what a stream has landed in many small objects, before it is published."""

from collections.abc import Iterable

from lakehouse.minio.compaction import Compacted, Compactor, digest
from lakehouse.minio.hook import ObjectStoreHook, StoredObject
from lakehouse.minio.partitions import made_of
from lakehouse.ops.lease import Holder, Lease

SMALL_BYTES = 64 << 20
JOINED = "-joined-"  # in the name of every object that was made of others


def lease_name(bucket: str, published: str, stream: str) -> str:
    """Return the lease that whoever changes what a stream has landed or published holds."""
    return f"publish/{bucket}/{published}/{stream}"


class LandingCompactor(Compactor):
    """Joins the landing objects of one stream of which nothing is published yet.

    A published object is named after the landing object that it was made of. That one must stay: the rows would be
    published once more under the name of what it is joined to. Nothing is published meanwhile, because publishing
    holds the same lease; and what a killed join has left behind, publishing puts right before it looks.

    The joined object's name begins with that of the last one in it: the order of keys stays the order in which rows
    came, by which publishing tells the newest columns.

    :param landing: prefix of the landing objects, `bronze/landing/source=<source>`.
    :param published: prefix of what is published, `bronze/<source>`.
    """

    takes_airbyte = True

    def __init__(
        self,
        store: ObjectStoreHook,
        *,
        bucket: str,
        landing: str,
        published: str,
        stream: str,
        conn_id: str,
        holder: Holder | str,
    ) -> None:
        super().__init__(store, bucket=bucket, layer="bronze", small_bytes=SMALL_BYTES, conn_id=conn_id, holder=holder)
        self._landing, self._published, self._stream = landing, published, stream

    def compact_stream(self) -> list[Compacted]:
        """Join what is small and not published; raises as `compact`."""
        return self.compact(f"{self._landing}/{self._stream}/")

    def finish(self, lease: Lease) -> None:
        """Take back, or end, a join that was killed; by who holds the stream's lease. Raises as `compact`."""
        self.finish_interrupted(f"{self._landing}/{self._stream}/", lease)

    def _lease_name(self, folder: str) -> str:
        return lease_name(self._bucket, self._published, self._stream)

    def _output(self, names: dict[str, str]) -> str:
        last = list(names)[-1].removesuffix(".parquet").split(JOINED)[0]
        return f"{last}{JOINED}{digest(names)}.parquet"

    def _small(self, items: Iterable[StoredObject]) -> list[StoredObject]:
        published = self._store.objects(self._bucket, f"{self._published}/{self._stream}/")
        used = {item.key.rpartition("/")[2].split("-")[0] for item in published}
        return [item for item in super()._small(items) if made_of(item.key) not in used]
