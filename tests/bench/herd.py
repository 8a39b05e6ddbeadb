"""When a fleet sends its CONNECTs once its region is gone, and when it is back: the clients' own policy, simulated.

Run by `make bench-herd`. At 0 s every connection is lost; for some minutes each attempt fails at once; then the region
takes CONNECTs at its quota, and refuses what is above it. Nothing sleeps: the clock is simulated.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mqtt_fleet.reconnect import CONNECT_SPACING, End, ReconnectPolicy
from mqtt_fleet.transport import Cause

from . import page, results

SECTION = "herd"
CLIENTS = 100_000
OUTAGE = 600.0
# AWS's default quotas of CONNECTs, a second and account, in its Regions.
QUOTAS = (3000.0, 100.0)
# Until an attempt has failed: one that is refused, and one that nobody answers.
REFUSED_SECONDS = 0.05
SILENT_SECONDS = 10.0
LONG_CONNECTED = 3600.0
AFTER, BEFORE = "spread over the quota", "at once, then up to 30 s"


class Policy(Protocol):
    """What is simulated of `ReconnectPolicy`."""

    def widen(self, window: float, end: End) -> float:
        """See there."""

    def pause(self, window: float, end: End, since_connect: float, jitter: float) -> float:
        """See there."""


class AtOnce:
    """The usual policy of MQTT clients, with jitter: the first attempt at once, then up to 2, 4, … 30 s."""

    def widen(self, window: float, end: End) -> float:
        return 0.0 if end.lasted else min(30.0, max(2.0, 2 * window))

    def pause(self, window: float, end: End, since_connect: float, jitter: float) -> float:  # noqa: ARG002
        return max(CONNECT_SPACING - since_connect, jitter * window, 0.0)


@dataclass(frozen=True)
class Herd:
    """What became of a fleet.

    Attributes:
        attempts: CONNECTs by the second they were sent in.
        back: seconds from the region's return until the last client was connected.
        refused: CONNECTs above the quota, once it was back.
    """

    attempts: Counter[int]
    back: float
    refused: int

    @property
    def busiest(self) -> int:
        """CONNECTs of the busiest second."""
        return max(self.attempts.values())


class Quota:
    """A token bucket that holds a second's worth."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._tokens = rate
        self._at = -math.inf

    def take(self, now: float) -> bool:
        self._tokens = min(self._rate, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def simulate(policy: Policy, clients: int, quota: float, outage: float, took: float = REFUSED_SECONDS) -> Herd:
    """Lose a fleet's region for `outage` seconds, in which each attempt fails after `took`, and see it come back."""
    jitter = random.Random(1).random
    lost, failed = End(Cause.LOST, LONG_CONNECTED), End(Cause.LOST, took=took)
    first = policy.widen(0.0, lost)
    due = [(policy.pause(first, lost, LONG_CONNECTED, jitter()), number, first) for number in range(clients)]
    heapq.heapify(due)
    attempts: Counter[int] = Counter()
    bucket, refused, now = Quota(quota), 0, 0.0
    while due:
        now, number, window = due[0]
        attempts[int(now)] += 1
        if now >= outage and bucket.take(now):
            heapq.heappop(due)
            continue
        refused += now >= outage
        window = policy.widen(window, failed)
        pause = policy.pause(window, failed, 0.0, jitter())
        heapq.heapreplace(due, (now + took + pause, number, window))
    return Herd(attempts, now - outage, refused)


def figures(name: str, herd: Herd, clients: int, quota: float) -> dict[str, Any]:
    """What is kept of a run: its curve in steps of ten seconds, of which the busiest second counts."""
    curve = [0] * (max(herd.attempts) // 10 + 1)
    for second, count in herd.attempts.items():
        curve[second // 10] = max(curve[second // 10], count)
    return {
        "policy": name,
        "clients": clients,
        "quota": quota,
        "busiest": herd.busiest,
        "back": round(herd.back, 1),
        "floor": round(clients / quota, 1),
        "refused": herd.refused,
        "curve": curve,
    }


def measure(quotas: Sequence[float] = QUOTAS, clients: int = CLIENTS, outage: float = OUTAGE) -> list[dict[str, Any]]:
    """Both policies at each quota."""
    found = []
    for quota in quotas:
        policies: dict[str, Policy] = {AFTER: ReconnectPolicy(spread=clients / quota), BEFORE: AtOnce()}
        for name, policy in policies.items():
            found.append(figures(name, simulate(policy, clients, quota, outage), clients, quota))
    return found


def main() -> None:
    results.write(SECTION, {"outage": OUTAGE, "herds": measure()})
    page.show_written()


if __name__ == "__main__":
    main()
