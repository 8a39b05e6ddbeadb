"""The way of moving `disconnect`: DeleteConnection at the pace that both regions' quotas allow."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..aws.clients import AwsClient
from ..aws.paced import ATTEMPTS, CLIENT_INTERVAL
from ..aws.refusals import FEWEST
from ..aws.token_bucket import TokenBucket
from ..fleet.roster import TrackedClient
from ..model.errors import AwsError
from ..record import events
from .runtime import MACHINE, Runtime
from .way import Attempt

# For one client: the caller's policy may exclude it and allow others. With the pauses between, where there is only this
# one, as many as stop a move (see `refusals`).
FORBIDDEN_ATTEMPTS = FEWEST


def retry_delay(error: AwsError, attempts: int) -> float | None:
    """Seconds until the same request may be retried, None where retrying is of no use.

    Throttling is waited out; other failures are retried up to ATTEMPTS times, a 403 up to FORBIDDEN_ATTEMPTS times (see
    `refusals`). One client ID takes one request per second.

    Args:
        attempts: failed requests so far, with this one.
    """
    if error.throttled:
        return CLIENT_INTERVAL
    if (error.temporary and attempts < ATTEMPTS) or (error.forbidden and attempts < FORBIDDEN_ATTEMPTS):
        return CLIENT_INTERVAL * attempts
    return None


@dataclass
class Disconnector:
    """Sends DeleteConnection; may be used by many threads at once.

    Args:
        data: `iot-data` clients by region, without retries of their own.
        leaving: DeleteConnection requests per second, by source region.
        arriving: clients per second, by target region.
    """

    data: Mapping[str, AwsClient]
    leaving: Mapping[str, float]
    arriving: Mapping[str, float]
    clean_session: bool = False
    prevent_will_message: bool = True
    runtime: Runtime = MACHINE
    calls: int = 0
    throttled: int = 0
    _buckets: dict[tuple[str, str], TokenBucket] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: threading.Event = field(default_factory=threading.Event)

    retry_delay = staticmethod(retry_delay)
    attempted = events.DeleteConnection
    failed = events.DeleteConnectionFailed

    def stop(self) -> None:
        """Send no more requests, not even for clients that already wait for their turn."""
        self._stopped.set()

    def start(self) -> None:
        """Send again."""
        self._stopped.clear()

    def move(self, client: TrackedClient) -> Attempt:
        """Disconnect a client, when it is its turn; one request.

        A 404 means that it was already gone, which is as good
        (https://docs.aws.amazon.com/iot/latest/developerguide/mqtt.html#mqtt-client-disconnect).
        """
        out = self._bucket("out", client.region, self.leaving)
        self._bucket("in", client.target, self.arriving).acquire()
        out.acquire()
        at, epoch = self.runtime.monotonic(), self.runtime.now()
        # Checked after the wait, which may be long.
        if self._stopped.is_set():
            return Attempt(at, epoch, 0.0, sent=False)
        self._count(calls=1)
        try:
            answer = out.adapt(lambda: self._disconnect(client))
        except AwsError as error:
            self._count(throttled=int(error.throttled))
            return Attempt(at, epoch, self.runtime.monotonic() - at, error=error)
        return Attempt(at, epoch, self.runtime.monotonic() - at, found=answer is not None)

    def _disconnect(self, client: TrackedClient) -> dict[str, Any] | None:
        return self.data[client.region].find(
            "DeleteConnection",
            clientId=client.client_id,
            cleanSession=self.clean_session,
            preventWillMessage=self.prevent_will_message,
        )

    def rate(self) -> float:
        """The current request rate of all regions together, per second."""
        return sum(bucket.rate for (way, _), bucket in self._buckets.items() if way == "out")

    def _bucket(self, way: str, region: str, limits: Mapping[str, float]) -> TokenBucket:
        with self._lock:
            bucket = self._buckets.get((way, region))
            if bucket is None:
                bucket = self._buckets[way, region] = TokenBucket(limits[region], self.runtime.monotonic, self._pause)
            return bucket

    def _pause(self, seconds: float) -> None:
        """Sleep until the time is over or the sweep is stopped."""
        self.runtime.wait(self._stopped, seconds)

    def _count(self, calls: int = 0, throttled: int = 0) -> None:
        with self._lock:
            self.calls += calls
            self.throttled += throttled
