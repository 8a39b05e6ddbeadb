"""The device's clocks, in one object so that tests can hand over their own."""

from __future__ import annotations

import time
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock:
    """Nothing but `wall` changes when somebody sets the device's clock.

    Attributes:
        boot_id: differs after each boot, proc(5); "" where the kernel does not tell.
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
