"""Dremio's error types, as the protocols report them.

Names follow ``UserBitShared.DremioPBError.ErrorType`` of the open-source server. REST answers 400 for all of
them but CONCURRENT_MODIFICATION (409) and PERMISSION (403); Flight maps PARSE, VALIDATION and
UNSUPPORTED_OPERATION to INVALID_ARGUMENT, the rest by `error_type`.
"""

from __future__ import annotations

from typing import ClassVar


class DremioError(Exception):
    """A statement or request that failed; `message` is the first line that a client sees.

    `context` holds the lines that Dremio adds below it (``SQL Query ..``, ``startLine 1``, ``startColumn 8``).
    """

    error_type: ClassVar[str] = "SYSTEM"

    def __init__(
        self, message: str, *, sql: str | None = None, line: int | None = None, column: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.sql = sql
        self.line = line
        self.column = column

    @property
    def context(self) -> list[str]:
        """The context lines, in Dremio's order; empty when nothing is known about the place."""
        lines = [] if self.sql is None else [f"SQL Query {self.sql}"]
        if self.line is not None:
            lines.append(f"startLine {self.line}")
        if self.column is not None:
            lines.append(f"startColumn {self.column}")
        return lines

    @property
    def description(self) -> str:
        """Message and context, one line each: what a Flight client sees."""
        return "\n".join([self.message, *self.context])


class ParseError(DremioError):
    """The text is no SQL that Dremio's grammar knows."""

    error_type = "PARSE"


class ValidationError(DremioError):
    """The statement is grammatical, but a name, type or argument in it is wrong."""

    error_type = "VALIDATION"


class PermissionDenied(DremioError):
    """The user may not do this, or the edition does not have it."""

    error_type = "PERMISSION"


class ResourceError(DremioError):
    """Out of memory, out of disk, too large."""

    error_type = "RESOURCE"


class DataReadError(DremioError):
    """A file or a source could not be read."""

    error_type = "DATA_READ"


class InvalidMetadata(DataReadError):
    """A table's metadata name a file that is there no more; a query is then tried again with new metadata."""

    error_type = "INVALID_DATASET_METADATA"


class FunctionError(DremioError):
    """A function failed on a value (division by zero, a text that is no number ...)."""

    error_type = "FUNCTION"


class ConcurrentModification(DremioError):
    """Somebody else changed the object first, or it exists already; answers 409."""

    error_type = "CONCURRENT_MODIFICATION"


class UnsupportedOperation(DremioError):
    """Dremio (or this program) cannot do that on this object; the message says what to do instead."""

    error_type = "UNSUPPORTED_OPERATION"


class NotFound(DremioError):
    """A catalog entity that does not exist; REST answers 404, SQL reports it as VALIDATION."""

    error_type = "VALIDATION"


class InvalidRequest(DremioError):
    """A catalog request with a bad body; REST answers 400."""

    error_type = "VALIDATION"


class Canceled(DremioError):
    """The statement was cancelled by a user, a timeout or a client that went away."""

    error_type = "CANCELED"
