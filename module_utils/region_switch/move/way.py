"""The contract of a way of moving clients: how one is made to leave its region, and how one sees that it has landed.

Ways are registered in `ways`. Every one has the same waves, guard, proof, restoring and report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..fleet.roster import TrackedClient
from ..model.errors import AwsError
from ..record.events import Event


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of one request that moves a client.

    Attributes:
        at: monotonic seconds just before the request.
        epoch: the same moment in epoch seconds, by this machine's clock.
        found: False where AWS answered that the client had already gone.
        error: why AWS did not do it; None where it did.
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
    """Makes clients leave, at the pace that both regions' quotas allow; used by many threads at once.

    Attributes:
        calls, throttled: requests so far, and how many of them AWS throttled.
    """

    calls: int
    throttled: int

    def attempted(self, *, client_id: str, region: str, found: bool) -> Event:
        """What the journal says of a client that was asked to leave."""

    def failed(self, *, client_id: str, error: str) -> Event:
        """What the journal says of a client that could not be asked."""

    def move(self, client: TrackedClient) -> Attempt:
        """Send one request for a client, when it is its turn."""

    def retry_delay(self, error: AwsError, attempts: int) -> float | None:
        """Seconds until the same request may be tried again, None where that is no use.

        Args:
            attempts: failed requests so far, with this one.
        """

    def rate(self) -> float:
        """Requests per second that all regions together are sent at present."""

    def start(self) -> None:
        """Send, again if it was stopped."""

    def stop(self) -> None:
        """Send nothing any more, neither for those who wait for their turn."""


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
