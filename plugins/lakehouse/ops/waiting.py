"""What all sensors share: look from the worker for a few seconds, then wait in the triggerer."""

import time
from abc import abstractmethod
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

WAIT_IN_WORKER = 5.0  # seconds before deferring; very short deferrals go wrong in Airflow now and then
WEEK = 7 * 86400.0  # seconds; Airflow's own default for sensors
NOTHING_SEEN = "nothing was seen yet"


@dataclass(frozen=True)
class Sighting:
    """What a look came to.

    :param detail: one line for the log and for the error when time is over.
    :param value: plain JSON that the sensor returns once `done`.
    """

    done: bool
    detail: str
    value: dict[str, Any] = field(default_factory=dict)

    def event(self, reason: str) -> dict[str, Any]:
        """The event of a trigger: `{"reason": "done" | "failed" | "deadline" | "unreachable", "detail", "value"}`."""
        return {"reason": reason, "detail": self.detail, "value": self.value}


class LookGivenUp(Exception):
    """Time was over in the middle of a look; the sensor itself deals with it."""

    remedy = "Raise the sensor's timeout, then clear the group."


class WaitingSensor(BaseSensorOperator):
    """Base of this package's sensors. A subclass says how to look, and which trigger goes on looking.

    :param poke_interval: seconds between two looks.
    :param timeout: seconds for the whole wait, deferred or not; then the task fails with what was seen last.
    :param deferrable: wait in the triggerer. Otherwise in the worker, or by `mode="reschedule"`.
    """

    errors: ClassVar[tuple[type[Exception], ...]] = ()
    """What `look` raises when it cannot look, or when what is waited for will never come."""

    def __init__(
        self, *, poke_interval: float = 5.0, timeout: float = WEEK, deferrable: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(poke_interval=poke_interval, timeout=timeout, **kwargs)
        self.deferrable = deferrable
        self._until: float | None = None
        self._seen = NOTHING_SEEN

    @abstractmethod
    def check(self, context: "Context") -> None:
        """Refuse arguments that do not fit together.

        :raises ValueError: names them.
        """

    @abstractmethod
    def look(self, context: "Context", until: float) -> Sighting:
        """Look once.

        :param until: epoch seconds, at which a long look is to be given up.
        :raises LookGivenUp: it was.
        """

    @abstractmethod
    def trigger(self, context: "Context", deadline: float, seen: str) -> "BaseTrigger":
        """The trigger that goes on looking until `deadline` (epoch seconds)."""

    @abstractmethod
    def failure(self, reason: str, detail: str) -> Exception:
        """The error of a wait that ended as `failed` or `unreachable`."""

    def poke(self, context: "Context") -> PokeReturnValue:
        """Look once."""
        try:
            sighting = self.look(context, self._until or time.time() + self.timeout)
        except LookGivenUp:
            return PokeReturnValue(False)
        self._seen = sighting.detail
        self.log.info("%s", sighting.detail)
        return PokeReturnValue(sighting.done, sighting.value or None)

    def execute(self, context: "Context") -> Any:
        """Look for a few seconds, then defer.

        :raises AirflowSensorTimeout: it did not come true within `timeout`; skipped instead with `soft_fail`.
        """
        self.check(context)  # wrong arguments fail before the first wait
        if not self.deferrable:
            return super().execute(context)
        deadline = time.time() + self.timeout
        self._until = min(deadline, time.time() + WAIT_IN_WORKER)
        while True:
            found = self._poke(context)
            if found.is_done:
                return found.xcom_value
            left = self._until - time.time()
            if left <= 0:
                break
            time.sleep(min(self.poke_interval, left))
        if time.time() >= deadline:
            late = self._late(self._seen)
            raise AirflowSkipException(str(late)) if self.soft_fail or self.never_fail else late
        self.defer(trigger=self.trigger(context, deadline, self._seen), method_name="resume")

    def resume(self, context: "Context", event: Any = None) -> Any:
        """Take up the task when the trigger has fired.

        :raises AirflowSensorTimeout: time was over; has what was seen last.
        """
        reason = event.get("reason") if isinstance(event, dict) else None
        if reason == "done":
            self.log.info("%s", event["detail"])
            return event["value"] or None
        if reason == "deadline":
            raise self._late(event["detail"])
        if reason in ("failed", "unreachable"):
            raise self._softened(self.failure(reason, str(event["detail"])))
        raise RuntimeError(f"Task {self.task_id} was woken by an unknown event: {event!r}")

    def _poke(self, context: "Context") -> PokeReturnValue:
        try:
            return self.poke(context)
        except self.errors as error:
            if self.silent_fail:
                self.log.warning("No look was possible: %s", error)
                return PokeReturnValue(False)
            if self.never_fail:
                raise self._softened(error) from error
            raise

    def _late(self, seen: str) -> AirflowSensorTimeout:
        return AirflowSensorTimeout(f"Task {self.task_id}: not within {self.timeout:g} s; last seen: {seen}")

    def _softened(self, error: Exception) -> Exception:
        return AirflowSkipException(f"Skipped, because never_fail is set: {error}") if self.never_fail else error


def parse_time(text: str) -> datetime:
    """An ISO date or time; UTC unless it says otherwise.

    :raises ValueError: it is none.
    """
    found = datetime.fromisoformat(text.strip())
    return found if found.tzinfo else found.replace(tzinfo=UTC)
