"""The device's clocks, in one object so that tests can hand over their own."""

from __future__ import annotations

import time
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Epoch seconds of 2026-01-01T00:00:00Z, before any release of this package: a clock that is behind it was not set.
EARLIEST = 1_767_225_600.0


class Clock:
    """Nothing but `wall` changes when somebody sets the device's clock.

    Attributes:
        boot_id: differs after each boot, proc(5); "" where the kernel does not say.
    """

    def __init__(self) -> None:
        try:
            self.boot_id = BOOT_ID.read_text().strip()
        except OSError:
            self.boot_id = ""

    def monotonic(self) -> float:
        """Seconds for measuring and pacing."""
        return time.monotonic()

    def wall(self) -> float:
        """Epoch seconds, which may jump."""
        return time.time()

    def since_boot(self) -> float:
        """Seconds since this boot, including those asleep; the same for every process."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


def iso(seconds: float) -> str:
    """Epoch seconds as UTC, such as 2026-11-25T01:02:03Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def is_set(wall: float) -> bool:
    """Whether a clock that says so was set: one without a battery begins in 1970, or when its software was built."""
    return wall >= EARLIEST
