"""Configuration of the client: one JSON file, every error named by its key."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from mqtt_fleet import proxy
from mqtt_fleet.host_name import host_problem
from mqtt_fleet.libraries import LIBRARIES
from mqtt_fleet.resolve import is_address
from mqtt_fleet.topic import LEVEL_FORBIDDEN, TOPIC_BYTES

CREDENTIAL_KEYS = ("ca", "certificate", "private_key")
# "" stands for none.
OPTIONAL_PATH_KEYS = ("socket", "metrics_file", "proxy_credentials")
TOKEN_KEYS = ("pkcs11_module", "pkcs11_token_label", "pkcs11_key_label", "pkcs11_pin_file")
OPTIONAL_TEXT_KEYS = (*OPTIONAL_PATH_KEYS, *TOKEN_KEYS, "will_topic", "will_payload")
CHOICES = {
    "library": tuple(LIBRARIES),
    "outbox_when_full": ("refuse", "drop_oldest"),
    "endpoint_watch": ("off", "log", "move"),
    "reconnect_by": ("new_connection", "process_restart"),
}

# AWS IoT Core, "Message broker and protocol quotas": a client ID has 1 to 128 bytes of UTF-8; "MQTT": it does not begin
# with $. A name used as one level of a topic cannot hold the separator or a wildcard either.
CLIENT_ID_LENGTH = 128
# sockaddr_un.sun_path without its NUL, unix(7), and without the suffix of the temporary name.
SOCKET_PATH_BYTES = 106
# MQTT: a will has two bytes for its length.
WILL_PAYLOAD_BYTES = 65535

# Key: (lowest, highest) accepted. Keep-alive as AWS IoT Core enforces it; 100 unacknowledged
# QoS 1 publishes are the most it accepts per client, and 100 publishes a second per connection.
LIMITS: dict[str, tuple[float, float]] = {
    "port": (1, 65535),
    "heartbeat_interval": (0.01, 86400),
    "keep_alive": (30, 1200),
    "connect_timeout": (1, 300),
    "reconnect_delay_cap": (1, 3600),
    "fleet_size": (1, 100_000_000),
    "connect_rate": (1, 1_000_000),
    "session_expiry": (0, 604800),
    "window": (1, 100),
    "outbox_max_bytes": (1 << 20, 1 << 40),
    "dead_letters_max_bytes": (1 << 20, 1 << 40),
    "outbox_max_age": (1, 31_536_000),
    "publish_rate": (1, 100_000),
    "endpoint_watch_interval": (1, 86400),
    "endpoint_watch_jitter": (0.1, 86400),
    # AWS IoT Core has no QoS 2.
    "will_qos": (0, 1),
    "will_delay": (0, 604800),
}
# 0 stands for none, or for the usual one.
ZERO_KEYS = ("port", "heartbeat_interval", "outbox_max_age", "endpoint_watch_jitter")


class ConfigError(Exception):
    """The configuration cannot be used; each argument is one line that names the key."""

    def __str__(self) -> str:
        return "; ".join(str(problem) for problem in self.args)


@dataclass(frozen=True)
class Config:
    """What one client needs to know.

    Attributes:
        client_id: MQTT client ID, also the second level of its topics.
        endpoint: name to connect to; also the SNI and the name verified in the server's certificate.
        library: one of `libraries.LIBRARIES`.
        ca: CA file that the server's certificate is verified against.
        certificate: client certificate file.
        outbox: SQLite file that holds what is not yet acknowledged.
        port: 443 (with ALPN) or 8883; 0 stands for the library's usual one.
        heartbeat_interval: seconds between two messages of the client's own; 0: none.
        standard_input: each line of standard input is a message.
        socket: Unix socket that takes messages from other programs; None: none.
        socket_mode: permissions of the socket.
        keep_alive: seconds.
        connect_timeout: seconds that name resolution, TCP, TLS and CONNACK may take together.
        reconnect_delay_cap: longest pause between two attempts in seconds.
        fleet_size: devices of the account that connect to the Region which this one connects to.
        connect_rate: CONNECTs per second that the Region takes of all of them.
        reconnect_by: "new_connection", or "process_restart", which starts the program again.
        session_expiry: seconds the broker keeps the session of an absent client; 0: none.
        window: most QoS 1 messages in flight.
        publish_rate: most publishes per second.
        outbox_max_bytes: most bytes of messages in the outbox.
        outbox_max_age: seconds after which a message is dropped; 0: never.
        outbox_when_full: "refuse" the new message, or "drop_oldest".
        dead_letters_max_bytes: most bytes of messages that were set aside because the broker never takes them.
        resolvers: addresses of DNS servers to ask in place of the system's resolver; empty: the system's.
        proxy: http://host:port of a proxy that connects to the endpoint by CONNECT; "": none.
        proxy_credentials: file that holds user:password for it; None: it wants none.
        endpoint_watch: "off", "log" when the endpoint's name resolves elsewhere, or "move" there.
        endpoint_watch_interval: seconds between two lookups.
        endpoint_watch_jitter: longest random delay before a move in seconds; 0: `spread`.
        metrics_file: file for node_exporter's textfile collector; None: none.
        private_key: the certificate's key file; None: the key is in a token, see `pkcs11_module`.
        pkcs11_module: library of a PKCS#11 token that holds the key; "": none.
        pkcs11_token_label, pkcs11_slot, pkcs11_key_label: which token and key; "", None: the only one there is.
        pkcs11_pin_file: file with the token's PIN; None: it has a keypad or the like of its own.
        will_topic: last level of the topic that the broker publishes to when the connection breaks; "": no will.
        will_payload, will_qos, will_retain: of that message.
        will_delay: seconds without a new connection after which it is published, MQTT 5 only.
    """

    client_id: str
    endpoint: str
    library: str
    ca: Path
    certificate: Path
    outbox: Path
    port: int = 0
    heartbeat_interval: float = 60.0
    standard_input: bool = False
    socket: Path | None = None
    socket_mode: int = 0o660
    keep_alive: int = 30
    connect_timeout: float = 10.0
    reconnect_delay_cap: float = 30.0
    fleet_size: int = 100
    connect_rate: float = 100.0
    reconnect_by: str = "new_connection"
    session_expiry: int = 0
    window: int = 20
    publish_rate: float = 100.0
    outbox_max_bytes: int = 64 << 20
    outbox_max_age: float = 0.0
    outbox_when_full: str = "refuse"
    dead_letters_max_bytes: int = 4 << 20
    resolvers: tuple[str, ...] = ()
    proxy: str = ""
    proxy_credentials: Path | None = None
    endpoint_watch: str = "off"
    endpoint_watch_interval: float = 300.0
    endpoint_watch_jitter: float = 0.0
    metrics_file: Path | None = None
    private_key: Path | None = None
    pkcs11_module: str = ""
    pkcs11_token_label: str = ""
    pkcs11_slot: int | None = None
    pkcs11_key_label: str = ""
    pkcs11_pin_file: Path | None = None
    will_topic: str = ""
    will_payload: str = ""
    will_qos: int = 1
    will_retain: bool = False
    will_delay: int = 0

    @property
    def spread(self) -> float:
        """Seconds that the Region needs for the CONNECTs of the whole fleet."""
        return self.fleet_size / self.connect_rate

    @property
    def message_topic(self) -> str:
        return self.topic("messages")

    @property
    def command_topic(self) -> str:
        return self.topic("commands")

    @property
    def whole_will_topic(self) -> str:
        return self.topic(self.will_topic)

    def topic(self, level: str) -> str:
        """A topic below the client's own, which its policy allows."""
        return f"fleet/{self.client_id}/{level}"


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Config:
    """Read and validate a configuration file; the files that it names need not exist.

    Relative paths in it are relative to a directory of systemd's where that is set, else to the
    file's own: certificates and key to $CREDENTIALS_DIRECTORY, outbox and metrics file to
    $STATE_DIRECTORY, the socket to $RUNTIME_DIRECTORY.

    Raises:
        ConfigError: unreadable file, unknown, missing or wrong key.
    """
    content = read_object(path)
    names = ("CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "RUNTIME_DIRECTORY")
    credentials, state, runtime = (Path(environment.get(name, path.parent)) for name in names)
    return parse(content, credentials, state, runtime)


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        ConfigError: it cannot be read or is no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds {type(content).__name__}, expected a JSON object")
    return content


def parse(content: Mapping[str, Any], credentials: Path, state: Path, runtime: Path) -> Config:
    """Turn a JSON object into a Config; touches no file.

    Raises:
        ConfigError: see `load`.
    """
    known = {field.name for field in fields(Config)}
    required = {field.name for field in fields(Config) if field.default is MISSING}
    if not content.get("pkcs11_module"):
        required.add("private_key")
    problems = [
        f"{key}: unknown key, expected one of: {', '.join(sorted(known))}" for key in sorted(set(content) - known)
    ]
    problems += [f"{key}: missing key" for key in sorted(required - set(content))]
    values = {}
    for key in (key for key in content if key in known):
        try:
            values[key] = _value(key, content[key])
        except ConfigError as error:
            problems += error.args
    if problems:
        raise ConfigError(*problems)
    secret = (*CREDENTIAL_KEYS, "pkcs11_pin_file", "proxy_credentials")
    folders = {**dict.fromkeys(secret, credentials), "socket": runtime, "outbox": state, "metrics_file": state}
    for key, folder in folders.items():
        if key in values:
            values[key] = folder / values[key] if values[key] else None
    _check_socket_path(values.get("socket"))
    if values.get("proxy_credentials") and not values.get("proxy"):
        raise ConfigError("proxy_credentials: set without proxy: set proxy as well, or remove it")
    if not values.get("port"):
        values["port"] = LIBRARIES[values["library"]].port
    values["endpoint"] = values["endpoint"].lower()
    config = Config(**values)
    if found := [*token_problems(config), *will_problems(config)]:
        raise ConfigError(*found)
    return config


def _value(key: str, value: Any) -> Any:
    if key in LIMITS:
        return _number(key, value)
    special = {"standard_input": _switch, "will_retain": _switch, "socket_mode": _mode, "resolvers": _addresses}
    special |= {"pkcs11_slot": _slot, "proxy": _proxy}
    if key in special:
        return special[key](key, value)
    optional = key in OPTIONAL_TEXT_KEYS
    if not is_text(value) or not (value or optional):
        raise ConfigError(
            f"{key}: found {json.dumps(value)}, expected a string{'' if optional else ' that is not empty'}"
        )
    if key in CHOICES and value not in CHOICES[key]:
        raise ConfigError(f"{key}: found {value!r}, expected one of: {', '.join(CHOICES[key])}")
    if key == "client_id":
        _check_client_id(value)
    if key == "endpoint" and (problem := host_problem(value)):
        raise ConfigError(f"endpoint: found {value!r}, {problem}")
    return value


def is_text(value: object) -> bool:
    """Whether it is a string that can name a file or a host: without NUL, and no half of a surrogate pair in it."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def token_problems(config: Config) -> list[str]:
    """Return contradictions about where the key is."""
    if config.pkcs11_module:
        found = []
        if config.private_key:
            found += ["private_key: set together with pkcs11_module, but a key has one place: remove one of them"]
        if not config.pkcs11_module.startswith("/"):
            found += [f"pkcs11_module: found {config.pkcs11_module!r}, expected the path of a library, from /"]
        return found
    given = [key for key in (*TOKEN_KEYS, "pkcs11_slot") if getattr(config, key) not in ("", None)]
    return [f"{key}: set without pkcs11_module: set that to the token's library" for key in given]


def will_problems(config: Config) -> list[str]:
    """Return what is wrong with the Last Will, or would have no effect."""
    topic = config.will_topic
    if not topic:
        given = [key for key in ("will_payload", "will_retain", "will_delay") if getattr(config, key)]
        return [f"{key}: set without will_topic: set that as well, or remove this" for key in given]
    problems = []
    size = len(config.whole_will_topic.encode())
    if not topic.isprintable() or set(topic) & set(LEVEL_FORBIDDEN) or topic in ("messages", "commands"):
        problems += [
            f"will_topic: found {topic!r}, expected one level of printable text without / + #, not messages or commands"
        ]
    elif size > TOPIC_BYTES:
        problems += [f"will_topic: found a topic of {size} bytes, expected at most {TOPIC_BYTES}"]
    if len(config.will_payload.encode()) > WILL_PAYLOAD_BYTES:
        problems += [f"will_payload: longer than {WILL_PAYLOAD_BYTES} bytes: shorten it"]
    if config.will_delay and config.library == "paho":
        problems += ["will_delay: library paho speaks MQTT 3.1.1, which has no delay: set 0, or library awsiotsdk"]
    elif config.will_delay > config.session_expiry:
        problems += [
            f"will_delay: found {config.will_delay} with session_expiry {config.session_expiry}, expected no more: "
            "a will is published at the latest when the session ends"
        ]
    return problems


def _check_client_id(value: str) -> None:
    usable = value.isprintable() and len(value.encode()) <= CLIENT_ID_LENGTH
    if not usable or value.startswith("$") or set(value) & set(LEVEL_FORBIDDEN):
        raise ConfigError(
            f"client_id: found {value!r}, expected 1 to {CLIENT_ID_LENGTH} bytes of printable text without / + # "
            "and not beginning with $"
        )


def _check_socket_path(path: Path | None) -> None:
    if path and len(os.fsencode(path)) > SOCKET_PATH_BYTES:
        raise ConfigError(f"socket: found {path}, expected at most {SOCKET_PATH_BYTES} bytes")


def _switch(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{key}: found {json.dumps(value)}, expected true or false")
    return value


def _slot(key: str, value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ConfigError(f"{key}: found {json.dumps(value)}, expected the number of a slot, or null")
    return value


def _mode(key: str, value: Any) -> int:
    if not isinstance(value, str) or not re.fullmatch("0?[0-7]{3}", value):
        raise ConfigError(f'{key}: found {json.dumps(value)}, expected an octal number in a string, such as "0660"')
    return int(value, 8)


def _addresses(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{key}: found {json.dumps(value)}, expected a list of IP addresses")
    for entry in value:
        # A number is taken for an address, too.
        if not isinstance(entry, str) or not is_address(entry):
            raise ConfigError(f"{key}: found {json.dumps(entry)}, expected an IP address")
    return tuple(value)


def _proxy(key: str, value: Any) -> str:
    if not is_text(value):
        raise ConfigError(f"{key}: found {json.dumps(value)}, expected a string")
    if not value:
        return ""
    try:
        proxy.parse(value)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from error
    return str(value)


def _number(key: str, value: Any) -> float:
    low, high = LIMITS[key]
    zero = key in ZERO_KEYS
    whole = {field.name: field.type for field in fields(Config)}[key] == "int"
    usable = not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and not whole))
    if not usable or not (low <= value <= high or (zero and value == 0)):
        raise ConfigError(
            f"{key}: found {json.dumps(value)}, expected {'0 or ' if zero else ''}a {'whole ' if whole else ''}number "
            f"from {low} to {high}"
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
