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
# The window after the first attempt that failed, and the shortest and longest after another connection took
# this one's client ID: that one would be disconnected in its turn.
FIRST_WINDOW = 2.0
TAKEN_OVER_WINDOW = 60.0
MOST_TAKEN_OVER_WINDOW = 900.0
# A connection that lasted so long, and twice the window before it, was a sound one.
SOUND_SECONDS = 60.0
# Each second connected takes so much off the next window.
CREDIT = 0.5
# Attempts while nobody answers are made at intervals from 1 to HEADROOM times the spread: nearly even ones keep a fleet
# as spread as its first attempts were.
HEADROOM = 1.15
# A device that has been up for less, and has sent no CONNECT yet, may be one of many that got their power back.
BOOTING_SECONDS = 300.0


@dataclass(frozen=True)
class End:
    """How a connection ended.

    Attributes:
        lasted: seconds since the CONNACK; None: there was none.
        took: seconds that an attempt without one took.
    """

    cause: Cause
    lasted: float | None = None
    took: float = 0.0


@dataclass(frozen=True)
class ReconnectPolicy:
    """When to connect again: at once after an orderly end, otherwise spread over what the region's quota needs.

    With `spread` = fleet / quota, a fleet whose region is gone sends CONNECTs at some 0.93 x the quota, all the time,
    and is back within HEADROOM x spread of the region's return.

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
        return spacing + self._beside(spacing, window, end, jitter)

    def _beside(self, spacing: float, window: float, end: End, jitter: float) -> float:
        """Seconds beside the spacing."""
        if end.cause is Cause.TAKEN_OVER:
            return window / 2 + jitter * window / 2
        if end.cause is Cause.CLOSED and end.lasted is not None:
            # What the broker closes in order is spread by its own pace, as DeleteConnection's is.
            return jitter * window
        # The spread is that of CONNECTs: what has passed since the last one counts.
        passed = spacing + end.took
        low, high = self.spread - passed, HEADROOM * self.spread - passed
        if low < window / 2:
            low, high = window / 2, max(high, window)
        return low + jitter * (high - low) if end.lasted is None else _first_of(low, high, jitter)

    def first_pause(self, since_connect: float, since_boot: float, jitter: float) -> float:
        """Seconds that a new process waits before its first CONNECT."""
        if since_connect < math.inf:
            return max(0.0, CONNECT_SPACING - since_connect)
        return _first_of(self.spread, HEADROOM * self.spread, jitter) if since_boot < BOOTING_SECONDS else 0.0


def _first_of(low: float, high: float, jitter: float) -> float:
    """Seconds until the first of attempts at intervals from low to high, as if they had always been made.

    So a fleet sends as many CONNECTs in its first second as in any other (the residual life of a renewal process, whose
    density is 1 - F, solved for a share of it).
    """
    mean, width = (low + high) / 2, high - low
    beyond = jitter * mean - low
    return jitter * mean if beyond <= 0 else high - math.sqrt(max(0.0, width**2 - 2 * width * beyond))


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
