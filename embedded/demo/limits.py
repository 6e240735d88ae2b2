"""How the REST service makes life hard, predictably: a rate limit and the occasional failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

REQUESTS_A_BURST = 39  # the 40th is refused
REST_SECONDS = 1
FAILING_REQUEST = 17  # every 17th answered request fails


@dataclass(frozen=True)
class Refusal:
    """Answer in place of the data."""

    status: int
    message: str
    headers: dict[str, str]


class Gate:
    """Counts all requests of the service. After 39 requests the next is refused with 429, and so is every
    other until a second has passed; then 39 more are let through. Every 17th request let through fails with
    500.

    A client that waits as `Retry-After` says and repeats a failed request loses one second in 40 requests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._let_through = 0
        self._left = REQUESTS_A_BURST
        self._closed_until = 0.0

    def refusal(self) -> Refusal | None:
        """Counts one request; None if it may be answered."""
        with self._lock:
            now = self._clock()
            if self._left == 0 and self._closed_until == 0.0:
                self._closed_until = now + REST_SECONDS
            if self._closed_until:
                if now < self._closed_until:
                    return Refusal(429, "Too many requests: wait and repeat.", {"Retry-After": str(REST_SECONDS)})
                self._left, self._closed_until = REQUESTS_A_BURST, 0.0
            self._left -= 1
            self._let_through += 1
            if self._let_through % FAILING_REQUEST == 0:
                return Refusal(500, "Something went wrong on our side: repeat the request.", {})
            return None
