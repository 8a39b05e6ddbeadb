"""Two real brokers on loopback, the monitor with its ledger, and clients whose hosts file says where a name leads.

Clients and monitor see that hosts file in a mount namespace of their own: hence root. CLIENT_PYTHON=<interpreter> runs
the clients under another Python than the tests'.
"""

from __future__ import annotations

import datetime
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import NameOID
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from lab import mosquitto_plugin

CLIENTS = Path(__file__).parent.parent.parent / "clients"
PROGRAMS = {"client": "mqtt_fleet.client", "monitor": "mqtt_monitor.monitor"}
BROKERS = {"us-east-1": "127.0.0.1", "ap-northeast-1": "127.0.0.2"}
NOBODY = "127.0.0.9"
ENDPOINT = "mqtt1.example.com"
TIMEOUT = 30.0

Found = TypeVar("Found")


def eventually(find: Callable[[], Found], what: str, within: float = TIMEOUT) -> Found:
    """Return what is found once it is truthy."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if found := find():
            return found
        time.sleep(0.02)
    pytest.fail(f"{what}: not within {within} s")


class Authority:
    """Signs what brokers and clients show each other, into one folder: <name>.crt and <name>.key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        names = [ENDPOINT, *(f"{region}.example.com" for region in BROKERS)]
        self._alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        self._write("ca", self._key, 1)

    def issue(self, name: str, days: float = 1) -> None:
        """Write a new pair; `days` from now, when it expires, may be negative."""
        self._write(name, ec.generate_private_key(ec.SECP256R1()), days)

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, days: float) -> None:
        self.certify(name, key.public_key(), days)
        encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        secret = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
        (self._folder / f"{name}.key").write_bytes(secret)

    def certify(self, name: str, key: CertificatePublicKeyTypes, days: float = 1) -> None:
        """Write a certificate for a key that is elsewhere."""
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")]))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=30))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(name == "ca", None), critical=True)
            .add_extension(self._alternatives, critical=False)
        )
        certificate = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        (self._folder / f"{name}.crt").write_bytes(certificate)


def free_port() -> int:
    """A port that is free on every broker's address, for this moment."""
    with socket.socket() as first, socket.socket() as second:
        first.bind((BROKERS["us-east-1"], 0))
        second.bind((BROKERS["ap-northeast-1"], first.getsockname()[1]))
        return int(first.getsockname()[1])


class World:
    """Two brokers, a monitor, and the hosts file that says where the endpoint is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder)
        self.port, self.plain_port = free_port(), free_port()
        self.plugin = folder / mosquitto_plugin.NAME
        self.processes: list[subprocess.Popen[bytes]] = []
        self.brokers: dict[str, subprocess.Popen[bytes]] = {}
        # Files and what they are to the programs, in turn.
        self.seen_as = [str(folder / "hosts"), "/etc/hosts"]

    def start(self) -> None:
        for name in ("server", "client"):
            self.authority.issue(name)
        self.point("us-east-1")
        for region in BROKERS:
            self.start_broker(region)
        regions = {region: {"host": f"{region}.example.com", "port": self.port} for region in BROKERS}
        files = {"certificate": "client.crt", "private_key": "client.key", "ca": "ca.crt", "ledger": "ledger"}
        paths = {key: str(self.folder / name) for key, name in files.items()}
        self.run("monitor", {**paths, "client_id": "fleet-monitor", "regions": regions})
        self.await_monitor()

    def await_monitor(self) -> None:
        eventually(
            lambda: len(self.rows("SELECT 1 FROM subscription WHERE since IS NOT NULL")) == len(BROKERS),
            "the monitor subscribed in both regions",
        )

    def start_broker(self, region: str, lines: Sequence[str] = (), listener_lines: Sequence[str] = ()) -> None:
        """Begin a broker; `lines` more of its configuration, `listener_lines` for devices alone."""
        mosquitto_plugin.build(self.plugin)
        address = BROKERS[region]
        lines = ["user root", "per_listener_settings true", "log_dest stderr", *lines]
        lines += [f"listener {self.port} {address}", *listener_lines]
        lines += [f"cafile {self.folder}/ca.crt", f"certfile {self.folder}/server.crt"]
        lines += [f"keyfile {self.folder}/server.key", "require_certificate true", "allow_anonymous true"]
        lines += [f"listener {self.plain_port} {address}", "allow_anonymous true", f"plugin {self.plugin}"]
        configuration = self.folder / f"{region}.conf"
        configuration.write_text("\n".join(lines) + "\n")
        with (self.folder / f"{region}.log").open("ab") as log:
            self.brokers[region] = subprocess.Popen(["mosquitto", "-c", str(configuration)], stderr=log)

    def stop_broker(self, region: str) -> None:
        self.brokers[region].terminate()
        self.brokers[region].wait(TIMEOUT)

    def client(self, library: str, **changes: Any) -> subprocess.Popen[bytes]:
        """Run a client of the endpoint; its outbox is `outbox`."""
        files = {"ca": "ca.crt", "certificate": "client.crt", "private_key": "client.key", "outbox": "outbox"}
        identity = {"client_id": "client_01", "endpoint": ENDPOINT, "library": library, "port": self.port}
        lively = {"heartbeat_interval": 0.1}
        return self.run("client", {**files, **identity, **lively, **changes})

    def run(self, program: str, configuration: dict[str, Any]) -> subprocess.Popen[bytes]:
        """Run a program with the hosts file in its own mount namespace."""
        path = self.folder / f"{program}.json"
        path.write_text(json.dumps(configuration))
        script = 'while [ "$1" != -- ]; do mount --bind "$1" "$2" && shift 2 || exit; done; shift; exec "$@"'
        python = os.environ.get("CLIENT_PYTHON", sys.executable) if program == "client" else sys.executable
        command = [python, "-m", PROGRAMS[program], "--config", str(path)]
        with (self.folder / f"{program}.log").open("ab") as log:
            process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", script, "sh", *self.seen_as, "--", *command],
                env={**os.environ, "PYTHONPATH": str(CLIENTS)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return process

    def events(self, name: str) -> list[dict[str, Any]]:
        """What the client logged under a name."""
        text = (self.folder / "client.log").read_text() if (self.folder / "client.log").exists() else ""
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if line["event"] == name]

    def point(self, region: str) -> None:
        """Move the endpoint's name, or to nobody; in place, because the file is mounted."""
        target = BROKERS.get(region, NOBODY)
        fixed = [f"{address} {name}.example.com" for name, address in BROKERS.items()]
        (self.folder / "hosts").write_text("\n".join([*fixed, f"{target} {ENDPOINT}"]) + "\n")

    def disconnect(self, region: str, client_id: str) -> None:
        """Disconnect the client as DeleteConnection does."""
        client = Client(CallbackAPIVersion.VERSION2)
        client.username_pw_set(mosquitto_plugin.USER)
        client.connect(BROKERS[region], self.plain_port)
        client.loop_start()
        client.publish(mosquitto_plugin.TOPIC, f"0{client_id}".encode(), qos=1).wait_for_publish(TIMEOUT)
        client.disconnect()
        client.loop_stop()

    def rows(self, query: str, *parameters: object) -> list[tuple[float, ...]]:
        try:
            database = sqlite3.connect(f"file:{self.folder / 'ledger'}?mode=ro", uri=True)
        except sqlite3.OperationalError:
            return []
        try:
            return database.execute(query, parameters).fetchall()
        except sqlite3.OperationalError:
            return []
        finally:
            database.close()

    def arrived(self, region: str, after: float = 0.0) -> int:
        query = "SELECT count(*) FROM message WHERE region = ? AND arrived_at > ?"
        return int(next(iter(self.rows(query, region, after)), (0,))[0])

    def check_nothing_lost(self) -> int:
        """Every number arrived, first arrivals in order, but for what the outbox holds; return the duplicates."""
        with closing(sqlite3.connect(self.folder / "outbox")) as outbox:
            (stored,) = outbox.execute("SELECT seq FROM sqlite_sequence").fetchone()
            kept = {sequence for (sequence,) in outbox.execute("SELECT sequence FROM message")}
        expected = set(range(1, stored + 1)) - kept
        eventually(lambda: expected <= set(self.sequences()), "every message in the ledger")
        arrivals = self.sequences()
        first_arrivals = list(dict.fromkeys(arrivals))
        assert first_arrivals == sorted(first_arrivals)
        return len(arrivals) - len(first_arrivals)

    def sequences(self) -> list[float]:
        """Numbers in the order of their arrival."""
        return [sequence for (sequence,) in self.rows("SELECT sequence FROM message ORDER BY rowid")]

    def stop(self) -> None:
        running = [*self.brokers.values(), *self.processes]
        for process in reversed(running):
            process.terminate()
        for process in reversed(running):
            process.wait(TIMEOUT)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world that has started."""
    world = World(tmp_path)
    try:
        world.start()
        yield world
    finally:
        world.stop()
