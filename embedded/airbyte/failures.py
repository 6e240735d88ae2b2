"""Why a sync, a check or a discovery failed, in the words and kinds that Airbyte uses for its failures."""

from typing import Any, Literal

Origin = Literal["source", "destination", "platform"]
Kind = Literal["config_error", "transient_error", "system_error"]


class SyncFailure(Exception):
    """A failure with a reason that a person can act on.

    :param message: what failed, on which object, what to check; never a secret.
    :param origin: which side failed.
    :param kind: `config_error` ends the job at once (trying again cannot help), the others are retried.
    :param detail: what the other side said, for the person who looks closer.
    """

    def __init__(self, message: str, *, origin: Origin, kind: Kind, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.origin = origin
        self.kind = kind
        self.detail = detail or message

    @property
    def retryable(self) -> bool:
        return self.kind != "config_error"

    def as_reason(self, timestamp_ms: int) -> dict[str, Any]:
        """The entry of an attempt's `failureSummary.failures` (times there are epoch milliseconds)."""
        return {
            "failureOrigin": self.origin,
            "failureType": self.kind,
            "externalMessage": self.message,
            "internalMessage": self.detail,
            "retryable": self.retryable,
            "timestamp": timestamp_ms,
        }
