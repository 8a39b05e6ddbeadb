"""When to send the next CONNECT: pure decisions."""

from __future__ import annotations

from dataclasses import dataclass

# AWS IoT Core quota "Connect requests per second per client ID": 1, not adjustable.
CONNECT_SPACING = 1.0
FIRST_DELAY = 1.0


@dataclass(frozen=True)
class ReconnectPolicy:
    """First attempt at once, then full jitter over a doubling range.

    Attributes:
        cap: longest delay in seconds.
    """

    cap: float = 30.0

    def delay(self, failures: int, since_last_connect: float, jitter: float) -> float:
        """Seconds to wait before the next CONNECT.

        Args:
            failures: connections that ended without one acknowledged message, since the last such message.
            since_last_connect: seconds since the previous CONNECT was started; infinite when there was none.
            jitter: random number from 0 to 1.
        """
        spacing = max(0.0, CONNECT_SPACING - since_last_connect)
        if failures == 0:
            return spacing
        # The exponent is bounded because 2.0 ** 1024 overflows.
        spread = min(self.cap, FIRST_DELAY * 2.0 ** min(failures, 32))
        return max(spacing, jitter * spread)
