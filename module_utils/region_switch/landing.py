"""Proof per client: connected in the region it belongs to, and gone from the one it left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from .aws import AwsClient
from .errors import AwsError, SwitchError
from .fleet import Client
from .pace import TokenBucket
from .sweep import WORKERS, Kick

# https://docs.aws.amazon.com/general/latest/gr/iot-core.html: GetConnection requests per second, and per client ID.
QUERY_RATE = 90.0
CLIENT_INTERVAL = 1.1
TICK = 0.05
# Looking earlier than clients usually come back would cost them a whole CLIENT_INTERVAL.
FIRST_LOOK = 0.3
NOT_CONNECTED = -1.0
# The AWS IoT SDK keeps a resolved address this long whatever the record's TTL: a client that went back
# and is disconnected earlier would go back again.
RESOLVER_CACHE = 30.0
# The index and GetConnection need not agree on the moment; a client may CONNECT once per second.
SINCE_TOLERANCE = 1.0
# Time that clients who had left before they were told to get to show up anywhere.
VANISHED_GRACE = 15.0


@dataclass(frozen=True)
class Sighting:
    """What GetConnection says of a client in the region it belongs to and in the one it left."""

    in_target: bool
    in_source: bool
    source_since: float = NOT_CONNECTED


@dataclass
class Flight:
    """A client on its way, and when to look for it again (monotonic seconds)."""

    kick: Kick
    next_look: float
    seen: Sighting = field(default_factory=lambda: Sighting(in_target=False, in_source=False))
    went_back: bool = False


def landed(seen: Sighting) -> bool:
    return seen.in_target and not seen.in_source


def went_back(seen: Sighting, kick: Kick) -> bool:
    """Whether the connection in the old region is one made after the client was told to leave.

    The start of the connection that was cut counts too: both times are AWS's, while the time of the
    request is this machine's.
    """
    known = kick.client.connected_since
    return seen.in_source and (
        seen.source_since >= kick.at or bool(known and seen.source_since >= known + SINCE_TOLERANCE)
    )


@dataclass
class Landing:
    """Waits for clients to land.

    Args:
        data: `iot-data` clients by region, without retries of their own.
        sweep_again: disconnects clients that went back; returns their new kicks.
        ttl: seconds that resolvers may keep the old answer.
        timeout: seconds that clients may take, besides those that the quota needs to look at each of them.
    """

    data: Mapping[str, AwsClient]
    sweep_again: Callable[[Sequence[Client]], list[Kick]]
    ttl: float
    timeout: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time
    bounced: set[str] = field(default_factory=set)
    _buckets: dict[str, TokenBucket] = field(default_factory=dict)

    def wait(self, kicks: Sequence[Kick]) -> list[Flight]:
        """Return the clients that have not landed when the time is over; none is what one wants.

        Raises:
            SwitchError: AWS knew none of the clients, and none shows up where it belongs.
        """
        self._buckets = {region: TokenBucket(QUERY_RATE, self.clock, self.sleep) for region in self.data}
        started = self.clock()
        timeout = self.timeout + len(kicks) / QUERY_RATE
        pending = [Flight(kick, started + FIRST_LOOK) for kick in kicks]
        vanished = bool(kicks) and not any(kick.found for kick in kicks)
        with ThreadPoolExecutor(max_workers=WORKERS) as pool:
            while pending and self.clock() - started < timeout:
                due = [flight for flight in pending if flight.next_look <= self.clock()]
                list(pool.map(self._look, due))
                pending = [flight for flight in pending if not landed(flight.seen)]
                if vanished and len(pending) == len(kicks) and self.clock() - started > VANISHED_GRACE:
                    raise SwitchError(_vanished(kicks))
                self._send_away_again(pending)
                if pending:
                    self.sleep(TICK)
        return pending

    def _look(self, flight: Flight) -> None:
        client, target = flight.kick.client, flight.kick.target
        in_target = self._connected_since(target, client.client_id)
        in_source = self._connected_since(client.region, client.client_id)
        flight.next_look = self.clock() + CLIENT_INTERVAL
        if in_target is None or in_source is None:
            return
        flight.seen = Sighting(in_target >= 0, in_source >= 0, in_source)
        if went_back(flight.seen, flight.kick):
            flight.went_back = True
            self.bounced.add(client.client_id)

    def _connected_since(self, region: str, client_id: str) -> float | None:
        """Since when the client is connected (epoch seconds), NOT_CONNECTED, or None where AWS did not say."""
        self._buckets[region].acquire()
        try:
            answer = self.data[region].find("GetConnection", clientId=client_id)
        except AwsError as error:
            if not error.temporary:
                raise
            if error.throttled:
                self._buckets[region].slow_down()
            return None
        if not answer or not answer.get("connected"):
            return NOT_CONNECTED
        return float(answer.get("connectedSince", 0)) / 1000

    def _send_away_again(self, pending: Sequence[Flight]) -> None:
        """Disconnect those that went back, once no resolver can still give them the old address."""
        rest = max(self.ttl, RESOLVER_CACHE)
        again = {
            flight.kick.client.client_id: flight
            for flight in pending
            if flight.went_back and self.now() >= max(flight.kick.at, flight.seen.source_since) + rest
        }
        if not again:
            return
        for kick in self.sweep_again([flight.kick.client for flight in again.values()]):
            flight = again[kick.client.client_id]
            flight.kick, flight.went_back = kick, False
            flight.next_look = self.clock()


def _vanished(kicks: Sequence[Kick]) -> str:
    regions = ", ".join(sorted({kick.client.region for kick in kicks}))
    return (
        f"DeleteConnection in {regions}: found 404 for all {len(kicks)} clients and none of them in the region it "
        "belongs to, expected connections: check account, region and the spelling of the client IDs"
    )
