"""Faults that are injected into API calls on request."""

from __future__ import annotations

import math
import threading
from dataclasses import asdict, dataclass, field
from typing import Any

KINDS = ("latency", "error", "throttle", "hang", "hold")
# A hanging call must outlast every client's patience, yet end some day.
HANG_SECONDS = 900.0


@dataclass
class Fault:
    """What happens to calls of an operation ("*": any) in a region (None: any).

    Attributes:
        containing: what a request's path or body has to contain to be meant.
        kind: "latency" delays by `seconds`, "hang" for `seconds` or very long and then answers 503, "hold" until the
            fault is no longer in force, and then lets the call continue, "error" answers `status` and `code`, which is
            the status's usual one where it is empty, "throttle" answers 429 ThrottlingException.
        share: of the calls, 0 to 1, evenly spread and beginning with the first: 0.5 is every other one.
        after: how many calls it lets pass first.
        times: how many calls it hits, None for all.
        hits: how many it has hit.
    """

    operation: str
    kind: str
    region: str | None = None
    containing: str = ""
    seconds: float | None = None
    status: int = 500
    code: str = ""
    share: float = 1.0
    after: int = 0
    times: int | None = None
    hits: int = 0
    _calls: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: {self.kind!r}, expected one of {', '.join(KINDS)}")
        if not 0 <= self.share <= 1:
            raise ValueError(f"share: {self.share}, expected 0 to 1")

    def hit(self, operation: str, region: str | None, text: str) -> bool:
        """Return whether a call is hit; counts it."""
        if self.operation not in ("*", operation) or self.region not in (None, region) or self.containing not in text:
            return False
        self._calls += 1
        number = self._calls - self.after
        if number <= 0 or self.hits == self.times:
            return False
        if math.ceil(number * self.share) == math.ceil((number - 1) * self.share):
            return False
        self.hits += 1
        return True


class Faults:
    """The faults in force, in order."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._faults: list[Fault] = []

    def replace(self, items: list[dict[str, Any]]) -> None:
        """Put these faults in force and no others; calls that earlier ones held or let hang continue.

        Raises:
            TypeError, ValueError: a fault has an unknown key or value.
        """
        faults = [Fault(**item) for item in items]
        with self._changed:
            self._faults = faults
            self._changed.notify_all()

    def listed(self) -> list[dict[str, Any]]:
        with self._changed:
            faults = [asdict(fault) for fault in self._faults]
        return [{key: value for key, value in fault.items() if not key.startswith("_")} for fault in faults]

    def hitting(self, operation: str, region: str | None, text: str = "") -> list[Fault]:
        """Return the faults that hit this call.

        Args:
            region: None for a call of a global service.
            text: the request's path and body.
        """
        with self._changed:
            return [fault for fault in self._faults if fault.hit(operation, region, text)]

    def wait_for_end(self, fault: Fault, seconds: float) -> None:
        """Wait until a fault is no longer in force, for some seconds at most."""
        with self._changed:
            self._changed.wait_for(lambda: not any(each is fault for each in self._faults), seconds)
