"""Keeps requests under a quota."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ..model.errors import AwsError

Answer = TypeVar("Answer")

BURST_SECONDS = 0.1
RECOVERY = 0.05
FLOOR = 1.0


class TokenBucket:
    """Lets threads pass at a rate that drops when AWS throttles requests, and recovers to the limit.

    Args:
        limit: requests per second.
    """

    def __init__(
        self,
        limit: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.limit = limit
        self.rate = limit
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next = clock()
        self._slowed = float("-inf")

    def acquire(self) -> None:
        """Wait for a turn."""
        with self._lock:
            now = self._clock()
            # Unused turns expire soon: after a long pause, a burst would exceed the quota.
            start = max(self._next, now - BURST_SECONDS)
            self._next = start + 1 / self.rate
            wait = start - now
        if wait > 0:
            self._sleep(wait)

    def adapt(self, send: Callable[[], Answer]) -> Answer:
        """Send a request whose turn it is, adapt the rate to how AWS takes it, and return its answer."""
        try:
            answer = send()
        except AwsError as error:
            if error.throttled:
                self.slow_down()
            raise
        self.recover()
        return answer

    def slow_down(self) -> None:
        """Halve the rate, at most once a second: many threads notice the same throttling at once."""
        with self._lock:
            now = self._clock()
            if now - self._slowed >= 1:
                self._slowed = now
                self.rate = max(min(FLOOR, self.limit), self.rate / 2)

    def recover(self) -> None:
        """Raise the rate a little towards the limit, after an accepted request."""
        with self._lock:
            if self.rate < self.limit and self._clock() - self._slowed >= 1:
                self.rate = min(self.limit, self.rate * (1 + RECOVERY))
