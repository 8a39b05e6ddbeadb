"""Faults that are injected into API calls on request."""

from __future__ import annotations

import random
import threading
from dataclasses import asdict, dataclass
from typing import Any

KINDS = ("latency", "error", "throttle", "hang")
# A hanging call must outlast every client's patience, yet end some day.
HANG_SECONDS = 900.0


@dataclass
class Fault:
    """What happens to calls of an operation ("*": any) in a region (None: any).

    Attributes:
        kind: "latency" delays by `seconds`, "hang" for `seconds` or very long and then answers 503,
            "error" answers `status` and `code`, "throttle" answers 429 ThrottlingException.
        share: probability, 0 to 1.
        times: how many calls it still hits, None for all.
    """

    operation: str
    kind: str
    region: str | None = None
    seconds: float | None = None
    status: int = 500
    code: str = "InternalFailureException"
    share: float = 1.0
    times: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: {self.kind!r}, expected one of {', '.join(KINDS)}")
        if not 0 <= self.share <= 1:
            raise ValueError(f"share: {self.share}, expected 0 to 1")

    def hits(self, operation: str, region: str) -> bool:
        """Say whether a call is hit; counts it."""
        if self.operation not in ("*", operation) or self.region not in (None, region) or self.times == 0:
            return False
        if self.share < 1 and random.random() >= self.share:  # noqa: S311 - a die, not a secret
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Faults:
    """The faults in force, in order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def replace(self, items: list[dict[str, Any]]) -> None:
        """Put these faults in force and no others.

        Raises:
            TypeError, ValueError: a fault has an unknown key or value.
        """
        faults = [Fault(**item) for item in items]
        with self._lock:
            self._faults = faults

    def listed(self) -> list[dict[str, Any]]:
        with self._lock:
            return [asdict(fault) for fault in self._faults]

    def hitting(self, operation: str, region: str) -> list[Fault]:
        """Return the faults that hit this call."""
        with self._lock:
            return [fault for fault in self._faults if fault.hits(operation, region)]
