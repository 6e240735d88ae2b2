"""Airbyte's source-sftp-bulk: the files of a folder of an SFTP server."""

import io
from typing import TYPE_CHECKING, Any

from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.sources.file_storage import TIMEOUT_SECONDS, FolderStorage
from embedded.airbyte.sources.file_streams import file_streams, refuse_other_than_records
from embedded.airbyte.sources.files import FileSource

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


def build(configuration: dict[str, Any], manifest: dict[str, Any] | None, lakehouse: dict[str, Any]) -> FileSource:
    """The reader of one configured server (`manifest` is not for this kind of source)."""
    refuse_other_than_records(configuration)
    storage = sftp_storage(
        configuration["host"],
        int(configuration.get("port") or 22),
        configuration["username"],
        configuration["credentials"].get("password"),
        configuration["credentials"].get("private_key"),
        configuration.get("folder_path") or "/",
    )
    return FileSource(
        storage, file_streams(configuration["streams"], lakehouse), lakehouse, configuration.get("start_date")
    )


def sftp_storage(
    host: str, port: int, user: str, password: str | None, private_key: str | None, folder: str = "/"
) -> FolderStorage:
    """A folder of an SFTP server. As with Airbyte the server's key is taken as it is shown."""

    def connect() -> "AbstractFileSystem":
        from fsspec.implementations.sftp import SFTPFileSystem

        return SFTPFileSystem(
            host,
            port=port,
            username=user,
            password=password,
            pkey=_key(private_key) if private_key else None,
            look_for_keys=False,
            allow_agent=False,
            timeout=TIMEOUT_SECONDS,
            banner_timeout=TIMEOUT_SECONDS,
            auth_timeout=TIMEOUT_SECONDS,
            skip_instance_cache=True,
        )

    return FolderStorage(f"sftp://{host}:{port} as {user}", connect, folder)


def _key(text: str) -> Any:
    """A private key as paramiko has it."""
    import paramiko  # type: ignore[import-untyped]

    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(io.StringIO(text))
        except (paramiko.SSHException, ValueError):
            continue
    raise SyncFailure(
        "credentials.private_key is no key of Ed25519, ECDSA or RSA without a passphrase; give the whole text of the "
        "private key's file, its first and last line included.",
        origin="source",
        kind="config_error",
    )
