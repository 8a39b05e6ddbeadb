"""Configuration of the client: one JSON file, every error named by its key."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

LIBRARIES = ("awsiotsdk", "paho")
PATH_KEYS = ("ca", "certificate", "private_key", "outbox")

# AWS IoT Core, "MQTT": a client ID has 1 to 128 characters and does not begin with $; a name used
# as one level of a topic cannot hold the separator or a wildcard either.
CLIENT_ID_LENGTH = 128
CLIENT_ID_FORBIDDEN = "/+#"

# Key: (lowest, highest) accepted. Keep-alive as AWS IoT Core enforces it; 100 unacknowledged
# QoS 1 publishes are the most it accepts per client.
LIMITS: dict[str, tuple[float, float]] = {
    "port": (1, 65535),
    "heartbeat_interval": (0.01, 86400),
    "keep_alive": (30, 1200),
    "connect_timeout": (1, 300),
    "reconnect_delay_cap": (1, 3600),
    "session_expiry": (0, 604800),
    "window": (1, 100),
}


class ConfigError(Exception):
    """The configuration cannot be used; the text is one line that names the key."""


@dataclass(frozen=True)
class Config:
    """What one client needs to know.

    Attributes:
        client_id: MQTT client ID, also the second level of its topics.
        endpoint: name to connect to; also the SNI and the name verified in the server's certificate.
        library: "awsiotsdk" or "paho".
        ca: CA file that the server's certificate is verified against.
        certificate: client certificate file.
        private_key: its key file.
        outbox: SQLite file that holds what is not yet acknowledged.
        port: 443 (with ALPN) or 8883; 0 stands for the library's usual one.
        heartbeat_interval: seconds between two messages.
        keep_alive: seconds.
        connect_timeout: seconds that name resolution, TCP, TLS and CONNACK may take together.
        reconnect_delay_cap: longest pause between two attempts in seconds.
        session_expiry: seconds the broker keeps the session of an absent client; 0: none.
        window: most QoS 1 messages in flight.
    """

    client_id: str
    endpoint: str
    library: str
    ca: Path
    certificate: Path
    private_key: Path
    outbox: Path
    port: int = 0
    heartbeat_interval: float = 0.1
    keep_alive: int = 30
    connect_timeout: float = 10.0
    reconnect_delay_cap: float = 30.0
    session_expiry: int = 0
    window: int = 20

    @property
    def message_topic(self) -> str:
        return f"fleet/{self.client_id}/messages"

    @property
    def command_topic(self) -> str:
        return f"fleet/{self.client_id}/commands"


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Config:
    """Read and validate a configuration file.

    Relative paths in it are relative to systemd's $CREDENTIALS_DIRECTORY, where that is set, else to
    the file's own directory; the outbox's to $STATE_DIRECTORY likewise.

    Raises:
        ConfigError: unreadable file, unknown, missing or wrong key, or a file it names does not exist.
    """
    content = read_object(path)
    credentials = Path(environment.get("CREDENTIALS_DIRECTORY", path.parent))
    state = Path(environment.get("STATE_DIRECTORY", path.parent))
    config = parse(content, credentials, state)
    for key in ("ca", "certificate", "private_key"):
        require_file(key, getattr(config, key))
    return config


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        ConfigError: it cannot be read or is no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds {type(content).__name__}, expected a JSON object")
    return content


def parse(content: Mapping[str, Any], credentials: Path, state: Path) -> Config:
    """Turn a JSON object into a Config; touches no file.

    Raises:
        ConfigError: see `load`.
    """
    known = {field.name for field in fields(Config)}
    required = {field.name for field in fields(Config) if field.default is MISSING}
    if unknown := sorted(set(content) - known):
        raise ConfigError(f"{unknown[0]}: unknown key, expected one of: {', '.join(sorted(known))}")
    if missing := sorted(required - set(content)):
        raise ConfigError(f"{missing[0]}: missing key")
    values = {key: _value(key, value) for key, value in content.items()}
    for key in PATH_KEYS:
        values[key] = (state if key == "outbox" else credentials) / values[key]
    if not values.get("port"):
        values["port"] = 443 if values["library"] == "awsiotsdk" else 8883
    return Config(**values)


def _value(key: str, value: Any) -> Any:
    if key in LIMITS:
        return _number(key, value)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{key}: found {json.dumps(value)}, expected a string that is not empty")
    if key == "library" and value not in LIBRARIES:
        raise ConfigError(f"library: found {value!r}, expected one of: {', '.join(LIBRARIES)}")
    if key == "client_id":
        _check_client_id(value)
    return value


def _check_client_id(value: str) -> None:
    if len(value) > CLIENT_ID_LENGTH or value.startswith("$") or set(value) & set(CLIENT_ID_FORBIDDEN):
        raise ConfigError(
            f"client_id: found {value!r}, expected 1 to {CLIENT_ID_LENGTH} characters without / + # "
            "and not beginning with $"
        )


def _number(key: str, value: Any) -> float:
    low, high = LIMITS[key]
    if key == "port" and value == 0 and not isinstance(value, bool):
        return 0
    whole = {field.name: field.type for field in fields(Config)}[key] == "int"
    usable = isinstance(value, int) or (isinstance(value, float) and not whole)
    if isinstance(value, bool) or not usable or not low <= value <= high:
        raise ConfigError(
            f"{key}: found {json.dumps(value)}, expected a {'whole ' if whole else ''}number from {low} to {high}"
        )
    return float(value) if not whole else int(value)


def require_file(key: str, path: Path) -> None:
    """Refuse a key whose file cannot be opened for reading.

    Raises:
        ConfigError: names the key, the file and the reason.
    """
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(f"{key}: {path} cannot be read: {error.strerror}") from error
