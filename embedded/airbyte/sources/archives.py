"""Compressed files, by their names: .gz, .bz2, .zst and .xz hold one file, .zip holds files.

All of a file is decompressed, and its checksums are compared, before the first row of it is read.
"""

import lzma
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from embedded.airbyte.sources.file_rows import FileUnreadable

CHUNK_BYTES = 1024 * 1024
_CODECS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}


def members(path: Path, uri: str) -> Iterator[tuple[str, Path]]:
    """The data files that a fetched file is or holds, each with its uri; one within a zip has `#<name>` after it.

    :param path: the fetched file; its decompressed ones are made beside it, each removed when the next is asked for.
    :raises FileUnreadable: it is damaged or not whole.
    """
    suffix = Path(uri).suffix.lower()
    beside = path.with_name(f"{path.name}.member")
    try:
        if suffix == ".zip":
            yield from _of_zip(path, uri, beside)
        elif suffix in _CODECS or suffix == ".xz":
            _decompress(path, suffix, beside)
            yield uri, beside
        else:
            yield uri, path
    finally:
        beside.unlink(missing_ok=True)


def _decompress(path: Path, suffix: str, to: Path) -> None:
    if not path.stat().st_size:
        raise FileUnreadable("it is empty, and not a compressed file yet")
    try:
        with _opened(path, suffix) as stream, to.open("wb") as plain:
            shutil.copyfileobj(stream, plain, CHUNK_BYTES)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise FileUnreadable(f"it is no whole {suffix} file: {error}") from None


def _opened(path: Path, suffix: str) -> Any:
    return lzma.open(path) if suffix == ".xz" else pa.CompressedInputStream(str(path), _CODECS[suffix])


def _of_zip(path: Path, uri: str, beside: Path) -> Iterator[tuple[str, Path]]:
    try:
        with zipfile.ZipFile(path) as archive:
            # all of it is tried before the first row of it is delivered
            damaged = archive.testzip()
            if damaged:
                raise FileUnreadable(f"{damaged} in it is damaged")
            for entry in archive.infolist():
                if entry.is_dir() or entry.filename.startswith("__MACOSX/"):
                    continue
                with archive.open(entry) as packed, beside.open("wb") as plain:
                    shutil.copyfileobj(packed, plain, CHUNK_BYTES)
                yield f"{uri}#{entry.filename}", beside
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError, zlib.error) as error:
        # a RuntimeError is one that needs a password
        raise FileUnreadable(f"it is no zip file that can be read: {error}") from None
