"""Errors as Dremio's Flight server reports them (DremioFlightErrorMapper)."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.flight as flight

from embedded.dremio.errors import Canceled, DremioError
from embedded.dremio.jobs.runner import UNEXPECTED


class _WithoutTraceback:
    """Keeps Python's traceback out of what the client reads.

    pyarrow adds the formatted exception to the message of an Arrow error; only when formatting fails does it add
    nothing but the name of the class.
    """

    @property
    def __notes__(self) -> list[str]:
        raise RuntimeError("this exception is for pyarrow's eyes only")


class InvalidArgument(_WithoutTraceback, pa.ArrowInvalid):
    """Answered as INVALID_ARGUMENT."""


class Unimplemented(_WithoutTraceback, pa.ArrowNotImplementedError):
    """Answered as UNIMPLEMENTED."""


_BY_TYPE: dict[str, type[Exception]] = {
    "PARSE": InvalidArgument,
    "VALIDATION": InvalidArgument,
    "UNSUPPORTED_OPERATION": InvalidArgument,
    "PERMISSION": flight.FlightUnauthorizedError,
    "RESOURCE": flight.FlightUnavailableError,
    "DATA_READ": flight.FlightUnavailableError,
    "INVALID_DATASET_METADATA": flight.FlightUnavailableError,
    "DATA_WRITE": flight.FlightUnavailableError,
    "CONCURRENT_MODIFICATION": flight.FlightUnavailableError,
}


def flight_error(error: BaseException) -> Exception:
    """The exception that makes pyarrow answer with the right gRPC code and Dremio's description."""
    if isinstance(error, Canceled):
        return flight.FlightCancelledError(error.message or "Query is cancelled by the server.")
    if isinstance(error, DremioError):
        return _BY_TYPE.get(error.error_type, flight.FlightInternalError)(error.description)
    if isinstance(error, InvalidArgument | Unimplemented | flight.FlightError):
        return error
    return flight.FlightInternalError(f"{UNEXPECTED} ({type(error).__name__})")
