"""The client's own moves: when it gives up a connection because the endpoint's name resolves elsewhere."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from mqtt_fleet.config import Config
from mqtt_fleet.endpoint_watch import EndpointWatch
from mqtt_fleet.probe import probe
from mqtt_fleet.resolve import Lookup

# Seconds from one move of its own to the next.
MOVE_PAUSE = 60.0
MOST_MOVE_PAUSE = 3600.0
# Seconds between two probes of a place that cannot be used.
PROBE_PAUSE = 30.0
MOST_PROBE_PAUSE = 600.0
# One address of the new place that can be used is enough; a name may have many.
MOST_ADDRESSES = 4


@dataclass(frozen=True)
class Probed:
    """What probing found; `problem`: why none of the addresses can be used, or "". `number`: which probing it was."""

    number: int
    problem: str


class Mover:
    """Decides about moving to what the endpoint's name resolves to; times are the monotonic clock's.

    A name is believed once it resolves elsewhere in several lookups, and the place once one of its addresses has shown
    the endpoint's certificate: a resolver may be wrong for a while, and a good connection is not given up for that.
    """

    def __init__(self, config: Config) -> None:
        self._watch = EndpointWatch(config.endpoint)
        self._moves = config.endpoint_watch == "move"
        self._jitter = config.endpoint_watch_jitter or config.spread
        self._patience = config.connect_timeout
        self._said = False
        self._addresses: tuple[str, ...] = ()
        self._at = math.inf
        self._number = 0
        self._probing = False
        self._usable = False
        self._said_unusable = False
        self._probe_pause = PROBE_PAUSE
        self._not_before = -math.inf
        self._pause = MOVE_PAUSE

    def connected(self, address: str | None) -> None:
        """A connection to "address:port" began; None: it ended, or nobody knows where it goes."""
        self._watch.connected(address)
        self._stay()

    def _stay(self) -> None:
        self._said = self._said_unusable = self._probing = self._usable = False
        self._at = math.inf
        self._number += 1
        self._probe_pause = PROBE_PAUSE

    def looked(self, found: Lookup, now: float) -> bool:
        """Process a lookup; return whether the name newly resolves elsewhere."""
        if not self._watch.leads_elsewhere(found):
            self._stay()
            return False
        self._addresses = found.addresses[:MOST_ADDRESSES]
        if self._moves and self._at == math.inf and now >= self._not_before:
            self._at = now + random.uniform(0, self._jitter)  # noqa: S311 - spreads a fleet
        newly, self._said = not self._said, True
        return newly

    def next(self) -> float:
        """When there is something to do; infinite: never."""
        return self._at

    def to_probe(self, now: float) -> tuple[int, tuple[str, ...]] | None:
        """The addresses to probe now, with the probing's number; None: nothing is to be probed."""
        if now < self._at or self._usable:
            return None
        self._number += 1
        self._probing = True
        # What is not answered until then is asked again.
        self._at = now + self._patience * len(self._addresses) + self._next_pause()
        return self._number, self._addresses

    def probed(self, found: Probed, now: float) -> bool:
        """Process the result of probing; return whether it is the first that found nothing usable."""
        if not self._probing or found.number != self._number:
            return False
        self._probing = False
        if not found.problem:
            self._usable = True
            self._at = now
            return False
        self._at = now + self._next_pause()
        self._probe_pause = min(MOST_PROBE_PAUSE, self._probe_pause * 2)
        first, self._said_unusable = not self._said_unusable, True
        return first

    def _next_pause(self) -> float:
        return self._probe_pause * random.uniform(0.5, 1)  # noqa: S311 - spreads a fleet

    def leaves(self, now: float) -> bool:
        """Return whether it is time to move to a place that was found usable."""
        return self._usable and now >= self._at

    def moved(self, now: float) -> None:
        """Note a move, so that the client does not follow answers that change to and fro."""
        self._usable = False
        self._at = math.inf
        self._not_before = now + self._pause
        self._pause = min(MOST_MOVE_PAUSE, self._pause * 2)


def start_probe(config: Config, number: int, addresses: tuple[str, ...], report: Callable[[Probed], None]) -> None:
    """Probe addresses in turn until one can be used, in a thread of its own; `report` is called there, once."""

    def run() -> None:
        problem = "no address"
        for address in addresses:
            problem = probe(config, address, config.connect_timeout)
            if not problem:
                break
        report(Probed(number, problem))

    threading.Thread(target=run, name="probe", daemon=True).start()
