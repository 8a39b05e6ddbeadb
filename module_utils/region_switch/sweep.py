"""Telling clients to leave: DeleteConnection at the pace that both regions' quotas allow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .aws import AwsClient
from .errors import AwsError
from .pace import TokenBucket
from .roster import Passenger

# https://docs.aws.amazon.com/general/latest/gr/iot-core.html: DeleteConnection per client ID, 1 per second.
CLIENT_INTERVAL = 1.1
ATTEMPTS = 6


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one DeleteConnection request.

    Attributes:
        at: epoch seconds, by this machine's clock, just before the request.
        found: False where AWS answered 404: the client had already gone.
        error: why AWS did not do it; None where it did.
    """

    at: float
    seconds: float
    found: bool = False
    error: AwsError | None = None


@dataclass
class Sweeper:
    """Sends DeleteConnection; may be used by many threads at once.

    Args:
        data: `iot-data` clients by region, without retries of their own.
        leaving: DeleteConnection requests per second, by the region that is left.
        arriving: clients per second, by the region that has to take them in.
    """

    data: Mapping[str, AwsClient]
    leaving: Mapping[str, float]
    arriving: Mapping[str, float]
    clean_session: bool = False
    prevent_will_message: bool = True
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    calls: int = 0
    throttled: int = 0
    _buckets: dict[tuple[str, str], TokenBucket] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, passenger: Passenger) -> Told:
        """Tell a client to leave, when it is its turn; one request.

        404 means that it had gone: what was wanted
        (https://docs.aws.amazon.com/iot/latest/developerguide/mqtt.html#mqtt-client-disconnect).
        """
        out = self._bucket("out", passenger.region, self.leaving)
        self._bucket("in", passenger.target, self.arriving).acquire()
        out.acquire()
        at, started = self.now(), self.clock()
        self._count(calls=1)
        try:
            answer = self.data[passenger.region].find(
                "DeleteConnection",
                clientId=passenger.client_id,
                cleanSession=self.clean_session,
                preventWillMessage=self.prevent_will_message,
            )
        except AwsError as error:
            if error.throttled:
                self._count(throttled=1)
                out.slow_down()
            return Told(at, self.clock() - started, error=error)
        out.recover()
        return Told(at, self.clock() - started, found=answer is not None)

    def rate(self) -> float:
        """Requests per second that all regions together are sent at present, as far as any was sent."""
        return sum(bucket.rate for (way, _), bucket in self._buckets.items() if way == "out")

    def _bucket(self, way: str, region: str, limits: Mapping[str, float]) -> TokenBucket:
        with self._lock:
            bucket = self._buckets.get((way, region))
            if bucket is None:
                bucket = self._buckets[way, region] = TokenBucket(limits[region], self.clock, self.sleep)
            return bucket

    def _count(self, calls: int = 0, throttled: int = 0) -> None:
        with self._lock:
            self.calls += calls
            self.throttled += throttled


def retry_delay(error: AwsError, attempts: int) -> float | None:
    """Seconds until the same request may be tried again, None where that is no use.

    Throttling is not the client's fault and is waited out; other failures are tried ATTEMPTS times. One client ID
    takes one request per second.

    Args:
        attempts: failed requests so far, with this one.
    """
    if error.throttled:
        return CLIENT_INTERVAL
    if error.temporary and attempts < ATTEMPTS:
        return CLIENT_INTERVAL * attempts
    return None
