"""In which order, and when, the addresses of a name are tried: RFC 8305, "Happy Eyeballs Version 2". No I/O."""

from __future__ import annotations

import math
import socket
from collections.abc import Sequence

from mqtt_fleet.attempt import Memory
from mqtt_fleet.resolve import FAMILIES

# RFC 8305, 8, "Connection Attempt Delay" and "Resolution Delay", in seconds.
ATTEMPT_DELAY = 0.25
RESOLUTION_DELAY = 0.05


class Schedule:
    """Is notified of what is found and tried; times are the monotonic clock's."""

    def __init__(self, memory: Memory, families: Sequence[int] = FAMILIES) -> None:
        """`families`: those that are being asked for."""
        self._memory = memory
        self._asked = set(families)
        self._first = socket.AF_INET if memory.prefers_ipv4 else socket.AF_INET6
        # Of the address taken last: they take turns.
        self._last: int = socket.AF_INET6 if memory.prefers_ipv4 else socket.AF_INET
        self._waiting: dict[str, int] = {}
        self._found_at = math.inf
        self._not_before = -math.inf
        self._taken = 0

    def found(self, family: int, addresses: Sequence[str], now: float) -> None:
        """The answer for a family; no addresses: it has none, or nobody knows."""
        self._asked.discard(family)
        self._waiting.update(dict.fromkeys(addresses, family))
        if addresses:
            self._found_at = min(self._found_at, now)

    @property
    def over(self) -> bool:
        """Whether no address is left and none can come."""
        return not self._asked and not self._waiting

    def next(self, under_way: int) -> float:
        """When an address may be taken, while so many are being tried; infinite: not before something happens."""
        if not self._waiting:
            return math.inf
        if not self._taken:
            best = self._first in self._waiting.values() or self._first not in self._asked
            return -math.inf if best else self._found_at + RESOLUTION_DELAY
        return self._not_before if under_way else -math.inf

    def take(self, now: float) -> tuple[int, str]:
        """The family and the address to try now."""
        order = self._memory.order(self._waiting)
        fresh = [address for address in order if not self._memory.has_failed(address)]
        other = [address for address in fresh if self._waiting[address] != self._last]
        address = (other or fresh or order)[0]
        self._last = self._waiting.pop(address)
        self._taken += 1
        self._not_before = now + ATTEMPT_DELAY
        return self._last, address

    def failed(self) -> None:
        """An address that was being tried failed: the next need not wait."""
        self._not_before = -math.inf
