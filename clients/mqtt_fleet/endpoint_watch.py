"""Notices that the endpoint's name resolves to another place than where the client is connected."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial

from mqtt_fleet.resolve import Lookup, look_up

# Lookups in a row that have to agree, since name servers change one after the other.
LOOKS = 2
# The same where the answer holds an address that was once given together with ours: a name may have
# many addresses of which each answer holds some.
LOOKS_AMONG_MANY = 10


class EndpointWatch:
    """Decides from the result of each lookup; failed lookups are not passed to it."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint.rstrip(".").lower()
        self._address = ""
        self._siblings: set[str] = set()
        self._canonical: str | None = None
        self._elsewhere = 0

    def connected(self, address: str | None) -> None:
        """A connection to "address:port" began; None: nobody knows where, and nothing is noticed."""
        self._address = (address or "").rpartition(":")[0].strip("[]")
        self._siblings.clear()
        self._canonical = None
        self._elsewhere = 0

    def leads_elsewhere(self, found: Lookup) -> bool:
        """Return whether, after this lookup, the name is considered to resolve elsewhere."""
        family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        if not self._address or family in found.unanswered:
            return False
        if self._address in found.addresses:
            self._siblings.update(found.addresses)
            self._canonical = found.canonical
            self._elsewhere = 0
            return False
        if found.canonical == self._canonical != self._endpoint:
            # Other addresses of the same region's endpoint.
            self._elsewhere = 0
            return False
        self._elsewhere += 1
        among_many = found.canonical == self._canonical and bool(self._siblings.intersection(found.addresses))
        return self._elsewhere >= (LOOKS_AMONG_MANY if among_many else LOOKS)


class Lookups:
    """Looks the name up at an interval, from a thread of its own."""

    def __init__(
        self, endpoint: str, port: int, resolvers: Sequence[str], interval: float, report: Callable[[Lookup], None]
    ) -> None:
        """`interval` in seconds; `report` is called in this thread."""
        self._look_up = partial(look_up, endpoint, port, resolvers)
        self._interval = interval
        self._report = report
        self._stopping = False
        self._now = threading.Event()
        self._thread = threading.Thread(target=self._run, name="endpoint-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def look_now(self) -> None:
        """Do not wait for the interval to be over."""
        self._now.set()

    def stop(self) -> None:
        # A lookup under way may take long: the thread ends with the process.
        self._stopping = True
        self._now.set()

    def _run(self) -> None:
        while not self._stopping:
            # Devices that were switched on together do not keep asking at the same time.
            self._now.wait(self._interval * random.uniform(0.9, 1.1))  # noqa: S311 - spreads a fleet
            self._now.clear()
            try:
                found = self._look_up()
            except OSError:
                # Without an answer nothing is known about where the name leads.
                continue
            self._report(found)
