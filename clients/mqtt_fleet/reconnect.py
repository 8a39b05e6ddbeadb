"""When to send the next CONNECT: decisions, and the record that outlives the process."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mqtt_fleet.clock import Clock
from mqtt_fleet.transport import Cause

# AWS IoT Core quota "Connect requests per second per client ID": 1, not adjustable.
CONNECT_SPACING = 1.0
# The window after the first connection that came to nothing, and the shortest and longest after another connection took
# this one's client ID: that one would be thrown out in its turn.
FIRST_WINDOW = 2.0
TAKEN_OVER_WINDOW = 60.0
MOST_TAKEN_OVER_WINDOW = 900.0
# A connection that lasted so long, and twice the window before it, was a sound one.
SOUND_SECONDS = 60.0
# Each second connected takes so much off the next window.
CREDIT = 0.5
# Attempts while nobody answers are made at even intervals, which keeps a fleet as spread as its first ones were. They
# vary by so much, which keeps apart what began together.
VARIATION = 1.15
# A device that has been up for less, and has sent no CONNECT yet, may be one of many that got their power back.
BOOTING_SECONDS = 300.0


@dataclass(frozen=True)
class End:
    """How a connection ended.

    Attributes:
        lasted: seconds since the CONNACK; None: there was none.
    """

    cause: Cause
    lasted: float | None = None


@dataclass(frozen=True)
class ReconnectPolicy:
    """When to connect again: at once after an orderly end, otherwise spread over what the region's quota needs.

    With `spread` = fleet / quota, a fleet whose region is gone sends some 0.93 x the quota in CONNECTs a second, all
    the time, and is back within 1.15 x spread of the region's return.

    Attributes:
        cap: longest window in seconds, unless `spread` is longer.
        spread: seconds that the region needs for the CONNECTs of the whole fleet.
    """

    cap: float = 30.0
    spread: float = 0.0

    def widen(self, window: float, end: End) -> float:
        """Return the window, in seconds, after a connection or an attempt ended; 0: there is nothing to back off from.

        Args:
            window: the one before it.
        """
        lasted = end.lasted or 0.0
        sound = lasted >= max(SOUND_SECONDS, 2 * window)
        before = 0.0 if sound else window
        if end.cause is Cause.TAKEN_OVER:
            return min(MOST_TAKEN_OVER_WINDOW, max(TAKEN_OVER_WINDOW, 2 * before))
        if sound:
            return 0.0
        wider = max(before, min(self.cap, max(FIRST_WINDOW, 2 * before)))
        return max(0.0, wider - CREDIT * lasted)

    def pause(self, window: float, end: End, since_connect: float, jitter: float) -> float:
        """Seconds to wait before the next CONNECT.

        Args:
            window: what `widen` returned for this end.
            since_connect: seconds since the previous CONNECT was started; infinite where there was none.
            jitter: random number from 0 to 1.
        """
        spacing = max(0.0, CONNECT_SPACING - since_connect)
        low, high = self._range(window, end)
        return spacing + low + jitter * (high - low)

    def _range(self, window: float, end: End) -> tuple[float, float]:
        if end.cause is Cause.TAKEN_OVER:
            return window / 2, window
        if end.lasted is None:
            return max(self.spread, window / 2), max(VARIATION * self.spread, window)
        if end.cause is Cause.CLOSED and not window:
            # The broker's own pace spreads these, as DeleteConnection's does.
            return 0.0, 0.0
        return 0.0, max(self.spread, window)

    def first_pause(self, since_connect: float, since_boot: float, jitter: float) -> float:
        """Seconds that a new process waits before its first CONNECT."""
        if since_connect < math.inf:
            return max(0.0, CONNECT_SPACING - since_connect)
        return jitter * self.spread if since_boot < BOOTING_SECONDS else 0.0


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
