"""The client's own messages: a number and a time, at an even pace."""

from __future__ import annotations

import math


class Heartbeat:
    """Says when; times are the monotonic clock's.

    Attributes:
        next: when the next message is due; infinite: never.
    """

    def __init__(self, interval: float, now: float) -> None:
        """`interval` in seconds; 0: no messages."""
        self._interval = interval
        self.next = now if interval else math.inf

    def hurry(self, now: float) -> None:
        """Send the next one now, and keep the pace from there."""
        if self._interval:
            self.next = now

    def due(self, now: float) -> bool:
        """Whether to send one now; after a standstill those missed are not made up for."""
        if now < self.next:
            return False
        self.next += self._interval
        if self.next <= now:
            self.next = now + self._interval
        return True
