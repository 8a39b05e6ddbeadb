"""When to send the next CONNECT: decisions, and the record that outlives the process."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mqtt_fleet.clock import Clock

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


class ConnectRecord:
    """When this device last sent a CONNECT, kept in a file: a process that is restarted over and over must not forget.

    Seconds since boot are written with the boot's ID: setting the device's clock changes neither.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def note(self) -> None:
        """A CONNECT is about to be sent."""
        text = f"{self._clock.boot_id} {self._clock.since_boot():020.3f}\n"
        # In place and always as long, which a full disk allows. Without the file there is still RestartSec.
        with suppress(OSError), self._path.open("r+" if self._path.exists() else "w", encoding="ascii") as file:
            file.write(text)

    def age(self) -> float:
        """Seconds since the last CONNECT; infinite where there was none since boot."""
        try:
            boot_id, at = self._path.read_text(encoding="ascii").split()
            age = self._clock.since_boot() - float(at)
        except (OSError, ValueError):
            return math.inf
        return age if boot_id == self._clock.boot_id and age >= 0 else math.inf
