"""The monitor's configuration file, every error named by its key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mqtt_fleet.config import ConfigError, is_text, read_object

# A message's own topic, and one level below it; no message matches both.
TOPICS = ("fleet/+/messages", "fleet/+/messages/+")
MAX_RETENTION_HOURS = 8760
# A thread each.
MAX_CONNECTIONS = 50


@dataclass(frozen=True)
class RegionEndpoint:
    """Where a region's broker listens; `host` is also the SNI."""

    name: str
    host: str
    port: int


@dataclass(frozen=True)
class MonitorConfig:
    """The monitor's configuration.

    Attributes:
        ca: PEM file of the CAs that the regions' own host names are verified against; None: the system's.
        resolvers: addresses of DNS servers; empty: the system's.
        retention_hours: what arrived longer ago is deleted.
        connections: per region; more than one share the messages among them, since AWS IoT Core passes on 100 messages
            per second and connection and discards what is more ("Publish requests per second per connection").
    """

    ledger: Path
    client_id: str
    certificate: Path
    private_key: Path
    ca: Path | None
    resolvers: tuple[str, ...]
    regions: tuple[RegionEndpoint, ...]
    retention_hours: float = 24.0
    connections: int = 1

    def client_id_of(self, number: int) -> str:
        """The client ID of the n-th connection of a region."""
        return self.client_id if number == 1 else f"{self.client_id}-{number}"

    @property
    def filters(self) -> list[str]:
        """What each connection subscribes to."""
        return [topic if self.connections == 1 else f"$share/{self.client_id}/{topic}" for topic in TOPICS]


def load(path: Path, environment: Mapping[str, str] = os.environ) -> MonitorConfig:
    """Read and validate a configuration file.

    Relative paths in it are relative to a directory of systemd's where that is set, else to the file's own: CA,
    certificate and key to $CREDENTIALS_DIRECTORY, the ledger to $STATE_DIRECTORY.

    Raises:
        ConfigError: names the key that is missing or wrong, or the file that does not exist.
    """
    content = read_object(path)
    credentials, state = (
        Path(environment.get(name, path.parent)) for name in ("CREDENTIALS_DIRECTORY", "STATE_DIRECTORY")
    )
    resolvers = content.get("resolvers", [])
    if not isinstance(resolvers, list) or not all(isinstance(entry, str) for entry in resolvers):
        raise ConfigError(f"resolvers: found {resolvers!r}, expected a list of addresses")
    regions = content.get("regions")
    if not isinstance(regions, dict) or not regions:
        raise ConfigError(f"regions: found {regions!r}, expected an object with at least one region")
    return MonitorConfig(
        ledger=state / _text(content, "ledger"),
        client_id=_text(content, "client_id"),
        certificate=credentials / _text(content, "certificate"),
        private_key=credentials / _text(content, "private_key"),
        ca=credentials / _text(content, "ca") if content.get("ca", "") != "" else None,
        resolvers=tuple(resolvers),
        regions=tuple(_region(name, entry) for name, entry in regions.items()),
        retention_hours=_hours(content.get("retention_hours", MonitorConfig.retention_hours)),
        connections=_connections(content.get("connections", MonitorConfig.connections)),
    )


def _text(content: Mapping[str, Any], key: str) -> str:
    value = content.get(key)
    if not isinstance(value, str) or not value or not is_text(value):
        raise ConfigError(f"{key}: found {value!r}, expected a string that is not empty")
    return value


def _hours(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= MAX_RETENTION_HOURS:
        raise ConfigError(f"retention_hours: found {value!r}, expected a number above 0, at most {MAX_RETENTION_HOURS}")
    return float(value)


def _connections(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_CONNECTIONS:
        raise ConfigError(f"connections: found {value!r}, expected a whole number from 1 to {MAX_CONNECTIONS}")
    return value


def _region(name: str, entry: Any) -> RegionEndpoint:
    host, port = (entry.get("host"), entry.get("port", 8883)) if isinstance(entry, dict) else (None, None)
    named = isinstance(host, str) and host and is_text(host) and is_text(name)
    if not named or not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
        raise ConfigError(f"regions.{name}: found {entry!r}, expected an object with host and port, from 1 to 65535")
    return RegionEndpoint(name, str(host), port)
