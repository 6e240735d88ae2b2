"""What a stream has landed in the last days, for readers that cannot wait for the daily batch.

`<live>/<stream>/` holds copies of the newest landing objects under their own names, made inside the server. It is a
function of what has landed and of the time: looking again does what is missing, so nothing is kept of what was done.

While objects of landing are being joined, the joined one and those that it is made of lie side by side there. The
copies pass from one to the other when the join is over: then they are removed here before Dremio looks again.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from lakehouse.minio.compaction import PLAN
from lakehouse.minio.hook import ObjectStoreHook
from lakehouse.minio.landing_compaction import JOINED

KEPT = timedelta(days=7)


def bring_up_to_date(
    store: ObjectStoreHook, bucket: str, landing: str, live: str, streams: Collection[str], now: datetime
) -> list[str]:
    """Copy what is new, remove what is older than KEPT or was joined; return the streams that have changed.

    A stream that has brought nothing for so long keeps its last objects, because Dremio has no table without one.

    :param landing: prefix of the landing objects, `bronze/landing/source=<source>`.
    :param live: prefix of the copies, `bronze/live/<source>`.
    :raises StoreUnreachable: the object store does not answer or refuses the keys.
    """
    return [stream for stream in streams if _mirror(store, bucket, f"{landing}/{stream}/", f"{live}/{stream}/", now)]


def _mirror(store: ObjectStoreHook, bucket: str, landing: str, live: str, now: datetime) -> bool:
    plan = landing + PLAN
    joining = bool(store.objects(bucket, plan))  # asked before and after: a long listing is no picture of one moment
    landed = store.objects(bucket, landing)
    joining = joining or any(item.key == plan for item in landed)
    wanted = {
        item.key.removeprefix(landing): item.size
        for item in landed
        if item.key.endswith(".parquet") and (item.modified is None or item.modified >= now - KEPT)
    }
    if not wanted:
        return False
    present = {item.key.removeprefix(live): item.size for item in store.objects(bucket, live)}
    if joining:
        wanted = {name: size for name, size in wanted.items() if JOINED not in name or name in present}
    new = [name for name, size in wanted.items() if present.get(name) != size]  # a copy that was cut off is made again
    for name in new:
        store.copy_whole(bucket, landing + name, live + name)
    old = [] if joining else [live + name for name in present if name not in wanted]
    if old:  # after the copies: what was joined is there before its parts go
        store.remove(bucket, old)
    return bool(new or old)
