"""Which objects a published stream consists of: a pure function of what landed."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from lakehouse.minio.batch_date import SNAPSHOT_DAY, BatchDate
from lakehouse.minio.landing import LandingObject

# Part of every name: raised when published objects are to be written differently.
_FORM = "1"
_HEX = 12  # digits of each half of a name
_GENERATION = re.compile(r"-g(\d+)\.parquet$")  # of streams that are overwritten


@dataclass(frozen=True)
class Slice:
    """The rows of one landing object that belong to one day: one published object.

    :ivar day: partition, text YYYY-MM-DD.
    :ivar source_day: what `BatchDate.days` calls it.
    :ivar whole: the landing object as it is can be copied.
    """

    source: LandingObject
    day: str
    source_day: str
    rows: int
    whole: bool


def current(objects: Sequence[LandingObject], rule: BatchDate) -> list[LandingObject]:
    """Return the landing objects that are to be published: all, or of snapshots the newest generation."""
    newest = max((item.generation for item in objects), default=0)
    return [item for item in objects if not rule.is_snapshot or item.generation == newest]


def desired(
    objects: Sequence[LandingObject], schema: pa.Schema, rule: BatchDate, batch: str, overwrites: bool = False
) -> dict[str, Slice]:
    """Return name relative to the stream's folder (`date=<day>/<name>.parquet`) -> slice.

    A name is made of the landing object's key and of everything that its content depends on, so an object that
    is there under its name is right, and a changed schema gives new names.

    :param batch: day of the run, which a snapshot belongs to.
    :param overwrites: whether names are to tell Airbyte's generation, for `superseded`.
    """
    named: dict[str, Slice] = {}
    for item in current(objects, rule):
        version = _digest(item.etag, str(item.size), _form(schema)) + (f"-g{item.generation}" if overwrites else "")
        whole = item.copyable and len(item.days) == 1 and _same_columns(item.schema, schema)
        for source_day, rows in item.days.items():
            day = batch if source_day == SNAPSHOT_DAY else source_day
            name = f"date={day}/{made_of(item.key)}-{version}.parquet"
            named[name] = Slice(item, day, source_day, rows, whole)
    return named


def made_of(key: str) -> str:
    """Return what the names of all objects begin with that are published from the landing object `key`, up to a `-`."""
    return _digest(key)


def empty_name(schema: pa.Schema, batch: str) -> str:
    """Return the name of the object without rows that stands for a stream that has none."""
    return f"date={batch}/empty-{_digest(_form(schema))}.parquet"


def superseded(
    present: Iterable[str],
    wanted: Iterable[str],
    objects: Iterable[LandingObject],
    rule: BatchDate,
    batch: str,
    overwritten_before: int = 0,
) -> list[str]:
    """Return the published names that another has taken the place of.

    What came from a landing object that is there no more stays: retention thins out landing, not bronze.
    Of a snapshot, everything else in the run's own partition goes.

    :param overwritten_before: generation before which Airbyte has overwritten everything: of it nothing stays. A name
        that tells no generation is from before the stream was overwritten.
    """
    keep = set(wanted)
    sources = {made_of(item.key) for item in objects}
    gone = []
    for name in present:
        folder, _, file = name.rpartition("/")
        from_landing = file.split("-")[0] in sources
        stale = folder == f"date={batch}" if rule.is_snapshot else from_landing
        stale = stale or file.startswith("empty-") or _generation(file) < overwritten_before
        if name not in keep and file.endswith(".parquet") and stale:
            gone.append(name)
    return gone


def _generation(file: str) -> int:
    told = _GENERATION.search(file)
    return int(told[1]) if told else 0


def _same_columns(one: pa.Schema, other: pa.Schema) -> bool:
    return [(f.name, f.type) for f in one] == [(f.name, f.type) for f in other]


def _form(schema: pa.Schema) -> str:
    return "\n".join([_FORM, *(f"{field.name} {field.type}" for field in schema)])


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_HEX]
