"""A real broker for one device on loopback, its name, and addresses of it that do not work."""

from __future__ import annotations

import datetime as dt
import queue
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import pytest

from mqtt_fleet import dial, tls
from mqtt_fleet.attempt import Memory
from mqtt_fleet.config import Config
from mqtt_fleet.connect import connect
from mqtt_fleet.transport import Connected, Connection, Disconnected, Event

from .mqtt_server import Authority

ENDPOINT = "mqtt1.example.com"
TIMEOUT = 30.0
LIBRARIES = pytest.mark.parametrize("library", ["awsiotsdk", "paho"])

Kind = TypeVar("Kind", bound=Event)


@dataclass
class Device:
    """One device's connections, one after the other."""

    config: Config
    authority: Authority
    memory: Memory
    names: dict[int, list[str]] = field(default_factory=dict)
    events: queue.SimpleQueue[Event] = field(default_factory=queue.SimpleQueue)
    connections: list[Connection] = field(default_factory=list)

    def connect(self, **changes: object) -> Connection:
        """Begin a connection; its events come to `wait`."""
        self.config = replace(self.config, **changes)  # type: ignore[arg-type]
        self.events = queue.SimpleQueue()
        self.connections.append(connect(self.config, self.events.put))
        return self.connections[-1]

    def wait(self, kind: type[Kind]) -> Kind:
        """The next event, which is of this kind."""
        event = self.events.get(timeout=TIMEOUT)
        assert isinstance(event, kind), event
        return event

    def refused(self, **changes: object) -> str:
        """The reason why no connection comes to be."""
        self.connect(**changes)
        reason = self.wait(Disconnected).reason
        self.connections[-1].close()
        return reason

    def connected(self, **changes: object) -> Connected:
        self.connect(**changes)
        return self.wait(Connected)


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    """A device whose endpoint's name leads where `names` says, by socket.AF_*."""
    authority = Authority(tmp_path)
    client = authority.issue("client")
    config = Config(
        client_id="client",
        endpoint=ENDPOINT,
        library="paho",
        ca=authority.file,
        certificate=client.certificate,
        private_key=client.key,
        outbox=tmp_path / "outbox",
        port=1,
        connect_timeout=TIMEOUT,
    )
    memory = Memory({})
    made = Device(config, authority, memory, {socket.AF_INET: ["127.0.0.1"], socket.AF_INET6: []})
    for module in ("attempt", "dial", "tls", "paho_transport", "awsiotsdk_transport"):
        monkeypatch.setattr(f"mqtt_fleet.{module}.MEMORY", memory)
    monkeypatch.setattr(dial, "addresses_of", lambda _, __, family, ___: made.names[family])
    monkeypatch.setattr(tls, "LATE_ALERT_SECONDS", 0.5)
    yield made
    for connection in made.connections:
        connection.close(TIMEOUT / 10)


@contextmanager
def broker(device: Device, lasts: dt.timedelta = dt.timedelta(days=1), **options: str) -> Iterator[int]:
    """Run Mosquitto on 127.0.0.1 and ::1 with a certificate of the endpoint; yield its port.

    Args:
        options: of its configuration.
    """
    folder = device.config.outbox.parent
    pair = device.authority.issue(ENDPOINT, lasts, "broker")
    port = free_port()
    tls_lines = [f"cafile {device.authority.file}", f"certfile {pair.certificate}", f"keyfile {pair.key}"]
    settings = {"allow_anonymous": "true", "require_certificate": "true", **options}
    lines = ["user root", "per_listener_settings false", f"allow_anonymous {settings.pop('allow_anonymous')}"]
    for address in ("127.0.0.1", "::1"):
        lines += [f"listener {port} {address}", *tls_lines, *(f"{key} {value}" for key, value in settings.items())]
    (folder / "broker.conf").write_text("\n".join(lines) + "\n")
    with (folder / "broker.log").open("ab") as log:
        process = subprocess.Popen(["mosquitto", "-c", str(folder / "broker.conf")], stdout=log, stderr=log)
    try:
        _until(lambda: _listens("::1", port) and _listens("127.0.0.1", port), "the broker")
        yield port
    finally:
        process.terminate()
        process.wait(TIMEOUT)


def _listens(address: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((address, port), 1):
        return True
    return False


def _until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {TIMEOUT} s")
        time.sleep(0.02)


def free_port() -> int:
    """A port that is free on the loopback addresses, for this moment."""
    while True:
        # Another test may have it on one of the two.
        with suppress(OSError), socket.socket(socket.AF_INET6) as first, socket.socket() as second:
            first.bind(("::1", 0))
            second.bind(("127.0.0.1", first.getsockname()[1]))
            return int(first.getsockname()[1])


@contextmanager
def black_hole(address: str, port: int) -> Iterator[None]:
    """An address at which SYNs vanish: who listens has no room for one more, listen(2)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(0)
        waiting = [socket.socket(family) for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex((address, port))
        try:
            yield
        finally:
            for each in waiting:
                each.close()
