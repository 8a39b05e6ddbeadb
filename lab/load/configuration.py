"""The load generator's configuration, and its status."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import files, topology
from lab.errors import LabError

# Connections that one HAProxy carries (lab/templates/haproxy.cfg.j2), less some for the lab's other clients.
MAX_CLIENTS = 8_500


@dataclass(frozen=True)
class Configuration:
    """The load: paths as text, times in seconds.

    Attributes:
        connect_rate: connections a second while it starts.
        publish_interval: between two messages of one client; 0 publishes none.
    """

    clients: int
    connect_rate: float
    publish_interval: float
    keep_alive: int
    port: int
    resolver: str
    ca: str
    certificate: str
    private_key: str
    status: str


@dataclass(frozen=True)
class Status:
    """The generator's latest status.

    Attributes:
        at: seconds since the epoch.
        connected: clients by the address that they are connected to.
        connects: connections that were accepted since the start.
        failures: connections that ended or were never established, by reason.
    """

    at: float
    clients: int
    connected: dict[str, int]
    connects: int
    sent: int
    acknowledged: int
    failures: dict[str, int]


def client_id(number: int) -> str:
    """Return the ID of the n-th client, from 1: also the name of its thing."""
    return f"load-{number:04}"


def endpoint(number: int) -> str:
    """Return the endpoint of the n-th client: they take turns."""
    return topology.ENDPOINTS[(number - 1) % len(topology.ENDPOINTS)]


def directory() -> Path:
    """Where the load's key, certificate, configuration and status are."""
    return topology.state_directory() / "load"


def make(clients: int, publish_interval: float) -> Configuration:
    """Return the configuration of a load of so many clients.

    Raises:
        LabError: more clients than an endpoint carries, or none.
    """
    if not 1 <= clients <= MAX_CLIENTS:
        raise LabError(f"clients: found {clients}, expected 1 to {MAX_CLIENTS}: name such a number")
    if publish_interval < 0:
        raise LabError(f"publish interval: found {publish_interval:g} s, expected 0 or more: name such a number")
    folder = directory()
    return Configuration(
        clients=clients,
        connect_rate=100.0,
        publish_interval=publish_interval,
        keep_alive=30,
        port=topology.MQTT_PORT,
        resolver=str(topology.RESOLVER.address),
        ca=str(topology.REPOSITORY / "certs" / "ca.crt"),
        certificate=str(folder / "load.crt"),
        private_key=str(folder / "load.key"),
        status=str(folder / "status.json"),
    )


def write(configuration: Configuration) -> None:
    """Write the generator's configuration file."""
    files.write(directory() / "load.json", json.dumps(asdict(configuration), indent=2) + "\n")


def read(path: Path) -> Configuration:
    """Read the generator's configuration file.

    Raises:
        LabError: it cannot be read, or lacks something.
    """
    try:
        return Configuration(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise LabError(f"{path}: cannot be used ({error}); start the load again") from error


def status() -> Status | None:
    """Return the generator's latest status; None where it never ran."""
    path = directory() / "status.json"
    if not path.exists():
        return None
    return Status(**json.loads(path.read_text(encoding="utf-8")))
