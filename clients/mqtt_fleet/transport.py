"""What the client needs of an MQTT library: one connection, which never reconnects by itself."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Union

from mqtt_fleet.attempt import Attempt
from mqtt_fleet.config import Config
from mqtt_fleet.traffic import Traffic


@dataclass(frozen=True)
class Connected:
    """The broker accepted the CONNECT.

    Attributes:
        address: the broker's, as "address:port", IPv6 in brackets; None: it is behind a proxy.
        through: the proxy, or "".
    """

    session_present: bool
    address: str | None
    through: str = ""


class Cause(enum.Enum):
    """What ended a connection, as far as it matters for when to connect again.

    Attributes:
        CLOSED: the broker closed it on purpose: a DISCONNECT that is an administrative one, or, in MQTT 3.1.1, which
            has none, an orderly close.
        TAKEN_OVER: another connection uses the client ID (MQTT 5, 0x8E).
        REFUSED: a CONNACK with a reason code.
        LOST: anything else: nobody answers, or the connection broke.
    """

    CLOSED = "closed"
    TAKEN_OVER = "taken_over"
    REFUSED = "refused"
    LOST = "lost"


@dataclass(frozen=True)
class Disconnected:
    """The connection ended, or was never established."""

    reason: str
    cause: Cause = Cause.LOST


@dataclass(frozen=True)
class Acknowledged:
    """The broker's PUBACK for the publish that returned this token."""

    token: int


@dataclass(frozen=True)
class PublishRefused:
    """The message of this token was not accepted, and the connection stays.

    Attributes:
        code: reason code of the PUBACK (MQTT 5, 0x80 and above); None: the library did not send it.
    """

    token: int
    code: int | None
    reason: str


@dataclass(frozen=True)
class Subscribed:
    """The SUBACK for a topic filter; `reason`: why it was refused, or ""."""

    topic: str
    reason: str = ""


@dataclass(frozen=True)
class Received:
    """A message of a subscription."""

    topic: str
    payload: bytes


Event = Union[Connected, Disconnected, Acknowledged, PublishRefused, Subscribed, Received]
Report = Callable[[Event], None]


class Connection(Protocol):
    """One attempt and, if it succeeds, the connection. Events are reported from any thread."""

    def publish(self, topic: str, payload: bytes) -> int:
        """Send at QoS 1; the token comes back in Acknowledged or PublishRefused. Never raises."""

    def subscribe(self, topic: str) -> None:
        """Subscribe at QoS 1; answered by Subscribed. Never raises."""

    def traffic(self) -> Traffic | None:
        """How far the connection's bytes have come; None where that is not known."""

    def phase(self) -> str:
        """What the attempt waits for: one line that names the endpoint, the phase and the address."""

    def close(self, timeout: float = 0.0) -> None:
        """End the connection, waiting at most `timeout` seconds for a proper DISCONNECT."""


def connected(config: Config, attempt: Attempt, session_present: bool) -> Connected:
    """The event of a connection that an attempt has led to."""
    if config.proxy:
        return Connected(session_present, None, attempt.far)
    return Connected(session_present, attempt.peer)
