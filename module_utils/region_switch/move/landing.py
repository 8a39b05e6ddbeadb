"""Proof per client: connected in the region it belongs to, and gone from the one it left."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from ..aws.answers import OK
from ..aws.clients import AwsClient
from ..aws.paced import CLIENT_INTERVAL
from ..aws.refusals import Refusals
from ..aws.token_bucket import TokenBucket
from ..fleet.roster import ANOTHER_CONNECTION, TrackedClient
from ..model.connection_state import since
from ..model.errors import UNREADABLE, AwsError, one_line
from .runtime import MACHINE, Runtime
from .way import Sighting

# Slow clients are looked at less often, so that the quota is left for those that arrive.
LONGEST_INTERVAL = 8.0
BACKOFF = 1.4
# Share of the GetConnection quota: other callers use it, too.
HEADROOM = 0.95
# Looking earlier than clients usually come back would cost them a whole CLIENT_INTERVAL.
FIRST_LOOK = 0.3
# The AWS IoT SDK keeps a resolved address this long whatever the record's TTL: a client that went back
# and is disconnected earlier would go back again.
RESOLVER_CACHE = 30.0
# A connection that survives its deletion for so long is deleted again.
ASK_AGAIN = 10.0


def went_back(seen: Sighting, client: TrackedClient) -> bool:
    """Whether the connection in the old region is newer than the one that was disconnected.

    Both times are AWS's: this machine's clock does not matter. If the time of the disconnected connection is unknown,
    the present one is taken for it.
    """
    if seen.source_since is None or seen.source_since < 0 or not client.kicks:
        return False
    known = client.connected_since
    return known > 0 and seen.source_since >= known + ANOTHER_CONNECTION


def next_look(looks: int) -> float:
    """Seconds until a client is looked at again, by the number of looks so far."""
    return min(LONGEST_INTERVAL, CLIENT_INTERVAL * BACKOFF ** max(0, looks - 1))


def ask_again_at(seen: Sighting, client: TrackedClient, ttl: float, now: float) -> float | None:
    """When a client in the old region is to be disconnected again (monotonic seconds); None if it is not.

    One that went back waits until no resolver can return the old address any more.

    Args:
        now: monotonic seconds at which it was seen.
    """
    if seen.source_since is None or seen.source_since < 0:
        return None
    if went_back(seen, client):
        return now + max(ttl, RESOLVER_CACHE)
    return client.told_at + ASK_AGAIN


@dataclass
class Looker:
    """Asks GetConnection in both regions; may be used by many threads at once.

    Args:
        data: `iot-data` clients by region, without retries of their own.
        rates: GetConnection requests per second, by region.
        dead: regions whose API does not answer, which are not asked.

    Attributes:
        trouble: why AWS did not say where a client is, the last time that it did not.
    """

    data: Mapping[str, AwsClient]
    rates: Mapping[str, float]
    dead: Collection[str] = ()
    runtime: Runtime = MACHINE
    trouble: AwsError | None = None
    _buckets: dict[str, TokenBucket] = field(default_factory=dict)
    _refusals: dict[str, Refusals] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._buckets = {
            region: TokenBucket(rate * HEADROOM, self.runtime.monotonic, self.runtime.sleep)
            for region, rate in self.rates.items()
        }
        self._refusals = {region: Refusals(self.runtime.monotonic) for region in self.rates}

    def look(self, client: TrackedClient) -> Sighting:
        """Look for a client in the region it belongs to and in the one it left.

        Raises:
            AwsError: a refusal, such as a missing permission; a single 403 is none.
        """
        target = self._since(client.target, client.client_id)
        if client.region in self.dead:
            return Sighting(target, None, skipped=True)
        return Sighting(target, self._since(client.region, client.client_id))

    def _since(self, region: str, client_id: str) -> float | None:
        bucket = self._buckets[region]
        bucket.acquire()
        try:
            answer = bucket.adapt(lambda: self.data[region].find("GetConnection", clientId=client_id))
        except AwsError as error:
            if self._refusals[region].persist(error) or not (error.temporary or error.forbidden):
                raise
            self.trouble = error
            return None
        self._refusals[region].fulfilled()
        found = since(answer)
        if found is None:
            self.trouble = AwsError("GetConnection", region, UNREADABLE, OK, one_line(answer))
        return found
