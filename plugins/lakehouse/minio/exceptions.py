"""What can go wrong with the object store and with publishing, as types with attributes.

`what` and `remedy` say in a sentence each what failed and what to do (see `lakehouse.ops.explain`).
"""

from collections.abc import Mapping, Sequence

from airflow.sdk.exceptions import AirflowFailException

from lakehouse.ops.explain import explain


class ObjectStoreError(Exception):
    """Base of everything this package raises about the object store."""

    remedy = "Put right what it names in the object store, then clear the group."


class StoreUnreachable(ObjectStoreError):
    """The object store does not answer, or refuses the keys."""

    def __init__(self, conn_id: str, endpoint: str, user: str | None, reason: str) -> None:
        self.conn_id, self.endpoint, self.user, self.reason = conn_id, endpoint, user, reason
        self.what = f"object store at {endpoint} (access key {user or '-'}): {reason}"
        self.remedy = (
            "Check that it runs, and endpoint_url, login (access key) and password (secret key) of the Airflow "
            f"connection {conn_id}."
        )
        super().__init__(f"{self.what}. {self.remedy}")


class UnsafeKey(ObjectStoreError, ValueError):
    """A key that some servers take for a folder, after which nothing can be stored below it."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(
            f"key {key!r} ends with a slash: rclone stores it as a file in the folder's place. "
            "Store <prefix>/.keep to make a prefix visible."
        )


class CannotCompact(ObjectStoreError):
    """Objects that must not be joined, or could not be; their folder is as it was."""

    def __init__(self, address: str, problem: str, remedy: str) -> None:
        self.address, self.problem, self.remedy = address, problem, remedy
        self.what = f"{address} {problem}"
        super().__init__(f"{self.what}. {remedy}")


class PublishError(ObjectStoreError):
    """A stream could not be published; what was published before stays as it was."""

    def __init__(self, stream: str, problem: str, remedy: str) -> None:
        self.stream, self.problem, self.remedy = stream, problem, remedy
        self.what = f"stream {stream}: {problem}"
        super().__init__(f"{self.what}. {remedy}")


class ColumnTypeChanged(PublishError, AirflowFailException):
    """A column came with a type that the column's other type cannot be widened to without loss."""

    def __init__(self, stream: str, column: str, before: str, now: str, key: str) -> None:
        self.column, self.before, self.now, self.key = column, before, now, key
        super().__init__(
            stream,
            f"column {column!r} changed its type from {before} to {now} (first seen in {key})",
            "Nothing was published. Change the type back at the source, or clear the stream in Airbyte and "
            "sync it again, so that all of it lands with the new type.",
        )


class ColumnDropped(PublishError, AirflowFailException):
    """The newest data lacks columns that the stream had, and nobody said that they are to go."""

    def __init__(self, stream: str, columns: list[str], key: str, source: str) -> None:
        self.columns, self.key = columns, key
        they = "it" if len(columns) == 1 else "them"
        gone = f"column {columns[0]!r} is" if len(columns) == 1 else f"columns {', '.join(map(repr, columns))} are"
        super().__init__(
            stream,
            f"{gone} gone: {key} lacks {they}, older objects had {they}",
            f"Nothing was published. Bring {they} back at the source (or select {they} again in Airbyte) and sync "
            f"again (clear the group extract): rows that were read meanwhile stay null there until the stream is "
            f"cleared in Airbyte (a reset) and read again. If {they} went for good, list {they} under "
            f"dropped_columns of stream {stream} in include/pipelines/connections/{source}.yaml: newer rows then have "
            f"null there on purpose.",
        )


class ValuesAltered(PublishError, AirflowFailException):
    """Airbyte could not deliver values as the source sent them, and nobody said that this is to be so."""

    def __init__(self, stream: str, altered: Mapping[str, str], key: str, source: str) -> None:
        self.altered, self.key = dict(altered), key
        them = "the column" if len(altered) == 1 else "the columns"
        columns = "; ".join(f"column {name!r}: {what}" for name, what in altered.items())
        super().__init__(
            stream,
            f"{key} has values that are not as the source sent them: {columns}",
            f"Nothing was published. See what the source sends (what is kept under raw_path has it), then correct it "
            f"there or give {them} a type that fits (of a low-code source: in its manifest under "
            f"include/pipelines/connectors, then run platform_setup), and clear the stream in Airbyte (a reset) and "
            f"sync it again. If such values may be null from now on, list {them} under dropped_columns of stream "
            f"{stream} in include/pipelines/connections/{source}.yaml.",
        )


class MissingBatchColumn(PublishError, AirflowFailException):
    """The column that tells a row's day is not in the data."""

    def __init__(self, stream: str, column: str, key: str) -> None:
        self.column, self.key = column, key
        super().__init__(
            stream,
            f"there is no column {column!r} in {key}, by which its rows are put to their days",
            "Correct batch_date of the stream in include/pipelines/connections, or bring the column back.",
        )


class StreamsFailed(ExceptionGroup[Exception]):
    """Several streams of a source could not be published."""

    def derive(self, excs: Sequence[Exception]) -> "StreamsFailed":  # type: ignore[override]
        """Return the same kind for a part of them, as `except*` asks."""
        return type(self)(self.message, excs)

    @property
    def what(self) -> str:
        """What failed, of each."""
        return "; ".join(dict.fromkeys(explain(error).what for error in self.exceptions))

    @property
    def remedy(self) -> str:
        """What to do, of each."""
        return " ".join(dict.fromkeys(explain(error).remedy for error in self.exceptions))


class StreamsCannotBePublished(StreamsFailed, AirflowFailException):
    """The same where a retry could help none of them, so that none is made."""
