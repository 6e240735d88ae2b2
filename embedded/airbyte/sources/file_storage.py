"""Where files lie: a bucket, a folder of this machine, an SFTP or FTP server, a web address.

A storage lists files and fetches one whole to a local path. A file that changes under its reading is not taken.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from botocore.exceptions import ClientError
from wcmatch import glob

from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.object_store import explained, s3_client

if TYPE_CHECKING:
    import httpx
    from fsspec import AbstractFileSystem

QUOTES = '"'  # some servers put them around an ETag in one answer and not in another
CHUNK_BYTES = 1024 * 1024
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class StoredFile:
    """A file as it is listed.

    :param uri: what `_ab_source_file_url` shows.
    :param modified: its time, as text that sorts.
    :param version: what tells two files of one time apart: an ETag, or the size. Empty: no two can be told apart.
    :param timed: whether `modified` is the file's own time, and not that at which it was seen.
    """

    uri: str
    modified: str
    version: str
    timed: bool = True


class Storage(Protocol):
    """What the reader of files asks of a storage. All of it raises SyncFailure with a reason for people."""

    where: str

    def list(self, globs: list[str]) -> list[StoredFile]:
        """The files that one of the globs matches."""

    def fetch(self, file: StoredFile, to: Path) -> StoredFile | None:
        """Write a file to a local path; returns it as it is now, None if it is gone."""


class S3Storage:
    """A bucket of S3. The uri of a file is its key."""

    def __init__(
        self, bucket: str, key_id: str | None, secret: str | None, endpoint: str | None, region: str | None
    ) -> None:
        self.where = f"bucket {bucket}"
        self._bucket = bucket
        self._endpoint = endpoint or "AWS"
        self._key_id = key_id
        self._client = s3_client(key_id, secret, endpoint, region)

    def list(self, globs: list[str]) -> list[StoredFile]:
        found, prefix = [], common_folder(globs)
        with self._explained(f"list s3://{self._bucket}/{prefix}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            for entry in (entry for page in pages for entry in page.get("Contents", [])):
                if matches(entry["Key"], globs):
                    found.append(StoredFile(entry["Key"], as_text(entry["LastModified"]), entry["ETag"].strip(QUOTES)))
        return found

    def fetch(self, file: StoredFile, to: Path) -> StoredFile | None:
        try:
            with self._explained(f"read s3://{self._bucket}/{file.uri}"):
                answer = self._client.get_object(Bucket=self._bucket, Key=file.uri)
                with to.open("wb") as local:
                    for chunk in answer["Body"].iter_chunks(CHUNK_BYTES):
                        local.write(chunk)
        except SyncFailure as failure:
            cause = failure.__cause__
            if isinstance(cause, ClientError) and cause.response.get("Error", {}).get("Code") == "NoSuchKey":
                return None
            raise
        version = answer["ETag"].strip(QUOTES)
        # the listing's time is the finer one
        return file if version == file.version else StoredFile(file.uri, as_text(answer["LastModified"]), version)

    def _explained(self, action: str) -> AbstractContextManager[None]:
        return explained("source", action, self._endpoint, self._key_id)


class FolderStorage:
    """A folder of this machine, or of an SFTP or FTP server. The uri of a file is its path there."""

    def __init__(self, where: str, open_: "Callable[[], AbstractFileSystem]", folder: str = "/") -> None:
        """
        :param where: host and user, for people.
        :param open_: makes the fsspec file system; it connects.
        :param folder: what globs that do not begin with `/` are relative to.
        """
        self.where = where
        self._open = open_
        self._folder = f"/{folder.strip('/')}/".replace("//", "/")
        self._opened: AbstractFileSystem | None = None

    def list(self, globs: list[str]) -> list[StoredFile]:
        absolute = [entry if entry.startswith("/") else self._folder + entry for entry in globs]
        folder = common_folder(absolute)
        with self._explained(f"list {folder}"):
            files = self._files()
            if not files.isdir(folder):
                raise FileNotFoundError(folder)
            listed = files.find(folder, detail=True, on_error="raise")
            return [self._listed(path, entry) for path, entry in listed.items() if matches(path, absolute)]

    def fetch(self, file: StoredFile, to: Path) -> StoredFile | None:
        with self._explained(f"read {file.uri}"):
            try:
                before = self._now(file.uri)
                self._files().get_file(file.uri, str(to))
                after = self._now(file.uri)
            except FileNotFoundError:
                return None
        if before != after or to.stat().st_size != int(after.version):
            raise SyncFailure(
                f"File {file.uri} at {self.where} changed while it was read ({before.version} bytes before, "
                f"{to.stat().st_size} read, {after.version} after): it is being written. Nothing of it was taken; let "
                "writers use another name until a file is whole, and rename it then.",
                origin="source",
                kind="transient_error",
            )
        return after

    def _files(self) -> "AbstractFileSystem":
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _now(self, path: str) -> StoredFile:
        self._files().invalidate_cache()
        return self._listed(path, self._files().info(path))

    def _listed(self, path: str, entry: dict[str, Any]) -> StoredFile:
        at = entry.get("mtime") or self._time_of_ftp(path, entry)
        if isinstance(at, float | int):
            at = datetime.fromtimestamp(at, UTC)
        return StoredFile(path, as_text(at), str(entry["size"]))

    def _time_of_ftp(self, path: str, entry: dict[str, Any]) -> datetime:
        """An FTP server's time of a file: in its listing, or asked for where the listing is one for people."""
        text = str(entry.get("modify", ""))
        if not re.fullmatch(r"\d{14}(\.\d+)?", text):
            text = self._files().ftp.sendcmd(f"MDTM {path}").split()[1]
        return datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)

    @contextmanager
    def _explained(self, action: str) -> Iterator[None]:
        """Turns what the file systems raise into a SyncFailure with what to check."""
        try:
            yield
        except SyncFailure:
            raise
        except Exception as error:
            # the libraries of SFTP and FTP are not imported for their errors alone
            name, text = type(error).__name__, str(error)
            denied = isinstance(error, PermissionError) or name == "AuthenticationException" or text.startswith("530")
            absent = isinstance(error, FileNotFoundError) or text.startswith("550")
            host_key = name == "BadHostKeyException"
            if not (denied or absent or host_key or isinstance(error, OSError | EOFError)) and not re.match(
                "(paramiko|ftplib|fsspec)", type(error).__module__
            ):
                raise
            hint = (
                "check user, password or key, and the rights" if denied
                else "check the path, and whether the user may read it" if absent
                else "the server's key is not the known one" if host_key
                else "check host and port, and that the server runs"
            )  # fmt: skip
            raise SyncFailure(
                f"Could not {action} at {self.where}: {name} {text}; {hint}.",
                origin="source",
                kind="config_error" if denied or absent or host_key else "transient_error",
            ) from error


class WebStorage:
    """One file at an address of HTTP(S). Its uri is the address without what may be secret in it.

    Where the server tells neither time nor ETag of the file, each sync reads it anew.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        parts = urlsplit(url)
        self._uri = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self.where = self._uri

    def list(self, globs: list[str]) -> list[StoredFile]:
        with self._answer() as answer:
            return [self._stored(answer)]

    def fetch(self, file: StoredFile, to: Path) -> StoredFile | None:
        with self._answer() as answer, to.open("wb") as local:
            for chunk in answer.iter_bytes(CHUNK_BYTES):
                local.write(chunk)
            return self._stored(answer)

    def _stored(self, answer: "httpx.Response") -> StoredFile:
        headers = answer.headers
        etag = headers.get("etag", "").removeprefix("W/").strip(QUOTES)
        if "last-modified" in headers:
            at = parsedate_to_datetime(headers["last-modified"])
            return StoredFile(self._uri, as_text(at), etag or headers.get("content-length", "-"))
        return StoredFile(self._uri, as_text(datetime.now(UTC)), etag, timed=False)

    @contextmanager
    def _answer(self) -> "Iterator[httpx.Response]":
        import httpx

        try:
            with httpx.stream("GET", self._url, follow_redirects=True, timeout=TIMEOUT_SECONDS) as answer:
                if answer.is_error:
                    busy = answer.status_code in (408, 429) or answer.status_code >= 500
                    raise SyncFailure(
                        f"Could not read {self.where}: the server answered {answer.status_code} "
                        f"{answer.reason_phrase}; {'it is tried again' if busy else 'check address and rights'}.",
                        origin="source",
                        kind="transient_error" if busy else "config_error",
                    )
                yield answer
        except (httpx.TransportError, httpx.InvalidURL, httpx.DecodingError, httpx.TooManyRedirects) as error:
            text = str(error).replace(self._url, self._uri)
            raise SyncFailure(
                f"Could not read {self.where}: {type(error).__name__} {text}; check address and port, and that the "
                "server runs.",
                origin="source",
                kind="config_error" if isinstance(error, httpx.InvalidURL) else "transient_error",
            ) from error


def matches(path: str, globs: list[str]) -> bool:
    """Whether one of the globs matches, as in Airbyte."""
    return bool(glob.globmatch(path, globs, flags=glob.GLOBSTAR | glob.BRACE))


def common_folder(globs: list[str]) -> str:
    """The folder, with its last `/`, that all files of the globs lie in."""
    plain = [re.split(r"[*?\[{]", entry)[0] for entry in globs]
    first = plain[0] if all(prefix == plain[0] for prefix in plain) else "/" if plain[0].startswith("/") else ""
    return first[: first.rfind("/") + 1]


def as_text(at: datetime) -> str:
    """A time in the form in which Airbyte's file sources show it: text that sorts."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
