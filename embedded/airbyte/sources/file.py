"""Airbyte's source-file: one dataset at one address.

Airbyte reads one file there, anew by each sync. Here the address may also have wildcards (except for HTTP), files that
were read are not read again by an incremental sync, and there is a provider `FTP`, which Airbyte has no connector for.
"""

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.sources.file_storage import TIMEOUT_SECONDS, FolderStorage, S3Storage, Storage, WebStorage
from embedded.airbyte.sources.file_streams import file_streams, refused
from embedded.airbyte.sources.files import FileSource
from embedded.airbyte.sources.sftp_bulk import sftp_storage

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

FILETYPES = {"csv": "csv", "jsonl": "jsonl", "parquet": "parquet", "excel": "excel", "excel_binary": "excel"}
# pandas' names, which Airbyte takes in `reader_options` -> those of the file-based connectors
READER_OPTIONS = {
    "sep": "delimiter", "delimiter": "delimiter", "encoding": "encoding", "quotechar": "quote_char",
    "doublequote": "double_quote",
}  # fmt: skip


def build(configuration: dict[str, Any], manifest: dict[str, Any] | None, lakehouse: dict[str, Any]) -> FileSource:
    """The reader of one configured dataset (`manifest` is not for this kind of source)."""
    name, filetype = configuration["dataset_name"], FILETYPES.get(configuration["format"])
    if filetype is None:
        raise refused(name, "format", configuration["format"], ", ".join(FILETYPES))
    storage, glob = _place(name, configuration["url"], configuration["provider"])
    shape = {"filetype": filetype, **_shape(name, filetype, configuration.get("reader_options"))}
    return FileSource(storage, file_streams([{"name": name, "globs": [glob], "format": shape}], lakehouse), lakehouse)


def _shape(name: str, filetype: str, reader_options: str | None) -> dict[str, Any]:
    try:
        given = json.loads(reader_options or "{}")
    except ValueError as error:
        raise refused(name, "reader_options", reader_options, f"a JSON object ({error})") from None
    known = READER_OPTIONS if filetype == "csv" else {}
    for option in given:
        if option not in known:
            raise refused(name, f"reader_options.{option}", given[option], ", ".join(known) or f"none for {filetype}")
    return {known[option]: value for option, value in given.items()}


def _place(name: str, url: str, provider: dict[str, Any]) -> tuple[Storage, str]:
    """Where the dataset lies, and the glob of its files there."""
    kind = str(provider.get("storage")).upper()
    parts = urlsplit(url if "://" in url else f"//{url}")
    if kind == "HTTPS":
        return WebStorage(url if "://" in url else f"https://{url}"), "**"
    if kind == "LOCAL":
        path = url.removeprefix("file://")
        if not path.startswith("/"):
            raise refused(name, "url", url, "the whole path of a file of this machine, or a glob of files")
        return FolderStorage("this machine", _local), path
    if kind == "S3":
        storage = S3Storage(
            parts.netloc, provider.get("aws_access_key_id"), provider.get("aws_secret_access_key"), None, None
        )
        return storage, parts.path.lstrip("/")
    if kind in ("SFTP", "FTP"):
        host, user, password = provider["host"], provider.get("user"), provider.get("password")
        # the address is a path on the host; a host in it is not meant for anything
        path = "/" + (parts.path if "://" in url else url).lstrip("/")
        if kind == "SFTP":
            return sftp_storage(host, int(provider.get("port") or 22), str(user), password, None), path
        return _ftp_storage(host, int(provider.get("port") or 21), user, password), path
    raise SyncFailure(
        f"Stream {name}: provider.storage {provider.get('storage')!r} is not supported by the embedded Airbyte; it "
        "takes: HTTPS, local, S3, SFTP, FTP.",
        origin="source",
        kind="config_error",
    )


def _local() -> "AbstractFileSystem":
    from fsspec.implementations.local import LocalFileSystem

    return LocalFileSystem(skip_instance_cache=True)


def _ftp_storage(host: str, port: int, user: str | None, password: str | None) -> FolderStorage:
    def connect() -> "AbstractFileSystem":
        from fsspec.implementations.ftp import FTPFileSystem

        return FTPFileSystem(host, port, user, password, timeout=TIMEOUT_SECONDS, skip_instance_cache=True)

    return FolderStorage(f"ftp://{host}:{port} as {user or 'anonymous'}", connect)
