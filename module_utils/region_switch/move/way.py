"""The contract of a way of moving clients: how a client leaves its region, and how its landing is proven.

Ways are registered in `ways`. Waves, guard, restore and report are the same for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..fleet.roster import TrackedClient
from ..model.errors import AwsError
from ..record.events import Event


@dataclass(frozen=True, slots=True)
class Attempt:
    """The result of one request that moves a client.

    Attributes:
        at: monotonic seconds just before the request.
        epoch: the same moment in epoch seconds, by this machine's clock.
        found: False if AWS answered that the client was already gone.
        error: None if it succeeded.
        sent: False where the sweep was stopped before it was this client's turn.
    """

    at: float
    epoch: float
    seconds: float
    found: bool = False
    error: AwsError | None = None
    sent: bool = True


@dataclass(frozen=True, slots=True)
class Sighting:
    """What AWS says of a client; None where it did not say.

    Attributes:
        target_since, source_since: since when it is connected in the region it belongs to and in the one it left
            (epoch seconds by AWS's clock), NOT_CONNECTED where it is not.
        skipped: the old region cannot be asked: its API is down.
    """

    target_since: float | None
    source_since: float | None
    skipped: bool = False

    @property
    def in_target(self) -> bool | None:
        return None if self.target_since is None else self.target_since >= 0

    @property
    def in_source(self) -> bool | None:
        return None if self.source_since is None else self.source_since >= 0

    @property
    def landed(self) -> bool:
        return self.in_target is True and (self.skipped or self.in_source is False)


class Mover(Protocol):
    """Makes clients leave, at the pace of both regions' quotas; used by many threads at once.

    Attributes:
        calls, throttled: requests so far, and how many of them AWS throttled.
    """

    calls: int
    throttled: int

    def attempted(self, *, client_id: str, region: str, found: bool) -> Event:
        """The journal's event for a request that succeeded."""

    def failed(self, *, client_id: str, error: str) -> Event:
        """The journal's event for a request that failed."""

    def move(self, client: TrackedClient) -> Attempt:
        """Send one request for a client, when it is its turn."""

    def retry_delay(self, error: AwsError, attempts: int) -> float | None:
        """Seconds until the same request may be retried, None where retrying is of no use.

        Args:
            attempts: failed requests so far, with this one.
        """

    def rate(self) -> float:
        """The current request rate of all regions together, per second."""

    def start(self) -> None:
        """Send requests, also after a stop."""

    def stop(self) -> None:
        """Send no more requests, not even for clients that already wait for their turn."""


class Proof(Protocol):
    """Sees where clients are; used by many threads at once.

    Attributes:
        trouble: why AWS did not say where a client is, the last time that it did not.
    """

    trouble: AwsError | None

    def look(self, client: TrackedClient) -> Sighting:
        """Look for a client in the region it belongs to and in the one it left.

        Raises:
            AwsError: a refusal, such as a missing permission.
        """


@dataclass(frozen=True)
class Way:
    """A way of moving, ready for one sweep.

    Attributes:
        in_flight: how many clients are on their way at most, unless the operator says otherwise.
    """

    mover: Mover
    proof: Proof
    in_flight: int
