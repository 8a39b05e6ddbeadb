"""A connection through the configured library."""

from __future__ import annotations

from mqtt_fleet.config import Config
from mqtt_fleet.libraries import LIBRARIES, load
from mqtt_fleet.traffic import Traffic
from mqtt_fleet.transport import Connection, Disconnected, Report


def connect(config: Config, report: Report) -> Connection:
    """Start connecting with the configured library; returns at once and never raises.

    The endpoint's name is resolved again each time, without any cache.
    """
    try:
        connection: Connection = load(LIBRARIES[config.library].transport)(config, report)
        return connection
    # What a library raises has no common class, and must not end the client.
    except Exception as error:  # noqa: BLE001
        report(Disconnected(f"{config.endpoint}: {config.library}: {type(error).__name__}: {error}"))
        return NoConnection()


class NoConnection:
    """A connection that could not even be started, which has been reported."""

    def publish(self, topic: str, payload: bytes) -> int:  # noqa: ARG002
        return 0

    def subscribe(self, topic: str) -> None:
        """Nobody is there."""

    def traffic(self) -> Traffic | None:
        return None

    def phase(self) -> str:
        return "not begun"

    def close(self, timeout: float = 0.0) -> None:
        """Nothing is open."""
