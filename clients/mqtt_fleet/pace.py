"""How fast messages are sent, or log lines written."""

from __future__ import annotations

# A broker that says "quota exceeded" is given less, down to one message in ten seconds, and then more again.
LOWEST_RATE = 0.1
CUT = 0.5
GROWTH = 1.5
# What is accepted, and a quarter more, is never cut.
HEADROOM = 1.25


class Pace:
    """A token bucket; times are the monotonic clock's."""

    def __init__(self, rate: float, now: float, burst: float = 0.1) -> None:
        """`rate` per second; those of `burst` seconds, and one at least, may be sent at once."""
        self._rate = rate
        self._burst = burst
        self._tokens = self._most
        self._at = now

    @property
    def _most(self) -> float:
        return max(1.0, self._rate * self._burst)

    def change(self, rate: float, now: float) -> None:
        """From now on `rate` per second."""
        if rate != self._rate:
            self._fill(now)
            self._rate = rate
            self._tokens = min(self._most, self._tokens)

    def _fill(self, now: float) -> None:
        self._tokens = min(self._most, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now

    def allowed(self, now: float) -> int:
        """How many may be sent now."""
        self._fill(now)
        # Sums of floats fall short of whole numbers.
        return int(self._tokens + 1e-9)

    def take(self) -> None:
        """One is sent."""
        self._tokens -= 1

    @property
    def next(self) -> float:
        """When the next one may be sent."""
        return self._at + max(0.0, 1 - self._tokens) / self._rate


class Throttle:
    """The rate that a broker with a quota lets pass: lower after a second with a refusal, higher after one without.

    Attributes:
        rate: publishes per second.
    """

    def __init__(self, most: float, now: float) -> None:
        """`most`: the configured rate, which it begins with and never exceeds."""
        self.rate = most
        self._most = most
        self._since = now
        self._accepted = 0
        self._refused = 0

    def accepted(self) -> None:
        self._accepted += 1

    def refused(self, now: float) -> None:
        """The broker says that its quota is exceeded."""
        self.turn(now)
        self._refused += 1

    def turn(self, now: float) -> None:
        """Adapt the rate when a second is over."""
        elapsed = now - self._since
        if elapsed < 1:
            return
        if self._refused:
            lower = max(self.rate * CUT, self._accepted / elapsed * HEADROOM)
            self.rate = max(LOWEST_RATE, min(self.rate, lower))
        else:
            # The exponent is bounded because GROWTH ** 10000 overflows.
            self.rate = min(self._most, self.rate * GROWTH ** min(int(elapsed), 100))
        self._since = now
        self._accepted = self._refused = 0
