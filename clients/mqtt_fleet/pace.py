"""How fast messages may leave."""

from __future__ import annotations


class Pace:
    """A token bucket; times are the monotonic clock's."""

    def __init__(self, rate: float, now: float) -> None:
        """`rate` per second, evenly: there is room for a tenth of a second's at once, and for one at least."""
        self._rate = rate
        self._most = max(1.0, rate / 10)
        self._tokens = self._most
        self._at = now

    def allowed(self, now: float) -> int:
        """How many may leave now."""
        self._tokens = min(self._most, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        # Sums of floats fall short of whole numbers.
        return int(self._tokens + 1e-9)

    def take(self) -> None:
        """One leaves."""
        self._tokens -= 1

    @property
    def next(self) -> float:
        """When one may leave."""
        return self._at + max(0.0, 1 - self._tokens) / self._rate
