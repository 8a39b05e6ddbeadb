"""Disconnecting the clients that are in a region they no longer belong to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from .aws import AwsClient
from .errors import AwsError
from .fleet import Client
from .journal import Journal
from .pace import TokenBucket

WORKERS = 32
ATTEMPTS = 6
# https://docs.aws.amazon.com/general/latest/gr/iot-core.html: DeleteConnection per client ID, 1 per second.
CLIENT_INTERVAL = 1.1


@dataclass
class Kick:
    """A client that was told to leave a region.

    Attributes:
        at: epoch seconds, by this machine's clock, just before the request that succeeded.
        found: False where AWS answered 404: it had already gone.
    """

    client: Client
    target: str
    at: float
    found: bool


@dataclass
class Sweeper:
    """Sends DeleteConnection to regions at the pace the quota allows.

    Args:
        data: `iot-data` clients by region, without retries of their own.
        rate: requests per second and region.
    """

    data: Mapping[str, AwsClient]
    rate: float
    journal: Journal
    clean_session: bool = False
    prevent_will_message: bool = True
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    calls: int = 0
    throttled: int = 0
    seconds: float = 0.0
    passes: int = 0
    _buckets: dict[str, TokenBucket] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def sweep(self, clients: Sequence[Client], desired: Mapping[str, str]) -> list[Kick]:
        """Disconnect these clients; one pass.

        Raises:
            AwsError: a refusal (403) or a failure that stayed after retries.
        """
        self.passes += 1
        started = self.clock()
        pool = ThreadPoolExecutor(max_workers=min(WORKERS, max(1, len(clients))))
        try:
            return list(pool.map(lambda client: self._kick(client, desired[client.endpoint]), clients))
        finally:
            # After a refusal nothing that is still queued may be sent.
            pool.shutdown(cancel_futures=True)
            self.seconds += self.clock() - started

    def _kick(self, client: Client, target: str) -> Kick:
        bucket = self._bucket(client.region)
        for attempt in range(1, ATTEMPTS + 1):
            bucket.acquire()
            at = self.now()
            try:
                found = self._delete(client)
            except AwsError as error:
                if not error.temporary or attempt == ATTEMPTS:
                    self.journal.write("delete_connection_failed", client_id=client.client_id, error=str(error))
                    raise
                if error.throttled:
                    self._count(throttled=1)
                    bucket.slow_down()
                self.sleep(CLIENT_INTERVAL * attempt)
            else:
                bucket.recover()
                self.journal.write("delete_connection", client_id=client.client_id, region=client.region, found=found)
                return Kick(client, target, at, found)
        raise AssertionError("unreachable")

    def _delete(self, client: Client) -> bool:
        """Send one request; False when AWS knows no such connection, which is what is wanted."""
        self._count(calls=1)
        answer = self.data[client.region].find(
            "DeleteConnection",
            clientId=client.client_id,
            cleanSession=self.clean_session,
            preventWillMessage=self.prevent_will_message,
        )
        return answer is not None

    def _bucket(self, region: str) -> TokenBucket:
        with self._lock:
            return self._buckets.setdefault(region, TokenBucket(self.rate, self.clock, self.sleep))

    def _count(self, calls: int = 0, throttled: int = 0) -> None:
        with self._lock:
            self.calls += calls
            self.throttled += throttled
