"""What lies where: bytes and objects per prefix."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakehouse.minio.hook import StoredObject


@dataclass
class Usage:
    """Sums of one prefix. `newest`: when the last of its objects was written."""

    prefix: str
    objects: int = 0
    bytes: int = 0
    newest: datetime | None = None

    def add(self, item: "StoredObject") -> None:
        """Count one object."""
        self.objects += 1
        self.bytes += item.size
        if item.modified is not None and (self.newest is None or item.modified > self.newest):
            self.newest = item.modified

    def dump(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self) | {"newest": self.newest.isoformat() if self.newest else None}


def by_depth(objects: "Iterable[StoredObject]", below: str, depth: int) -> list[Usage]:
    """Sums by the first `depth` folders below a prefix, largest first; objects that lie higher count as their folder.

    :param below: prefix of the listing.
    """
    found: dict[str, Usage] = {}
    for item in objects:
        folders = item.key.removeprefix(below).split("/")[:-1][:depth]
        prefix = below + "".join(f"{folder}/" for folder in folders)
        found.setdefault(prefix, Usage(prefix)).add(item)
    return sorted(found.values(), key=lambda usage: (-usage.bytes, usage.prefix))


def table(usages: Sequence[Usage]) -> str:
    """The sums as lines for a log."""
    width = max([len(usage.prefix) for usage in usages], default=6)
    lines = [f"{'prefix':{width}}  {'objects':>9}  {'bytes':>16}  newest"]
    for usage in usages:
        newest = f"{usage.newest:%Y-%m-%d %H:%M}" if usage.newest else "-"
        lines.append(f"{usage.prefix:{width}}  {usage.objects:>9,}  {usage.bytes:>16,}  {newest}")
    return "\n".join(lines)
