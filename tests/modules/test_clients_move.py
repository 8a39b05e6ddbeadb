"""Both libraries between two real brokers on loopback: the name moves, the client is disconnected, nothing is lost.

The client and the monitor see a hosts file of their own, in a mount namespace: hence root.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

pytestmark = [
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="a hosts file of its own needs root"),
]

CLIENTS = Path(__file__).parent.parent.parent / "clients"
BROKERS = {"us-east-1": "127.0.0.1", "ap-northeast-1": "127.0.0.2"}
ENDPOINT = "mqtt1.example.com"
TIMEOUT = 30.0

Found = TypeVar("Found")


def eventually(find: Callable[[], Found], what: str) -> Found:
    """Return what is found once it is truthy."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        if found := find():
            return found
        time.sleep(0.02)
    pytest.fail(f"{what}: not within {TIMEOUT} s")


def certificate_builder(name: str, key: ec.EllipticCurvePrivateKey, issuer: str) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )


def write_certificates(folder: Path) -> None:
    """ca, server (every name used) and client: <name>.crt and <name>.key."""
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("ca", "server", "client")}
    names = [x509.DNSName(name) for name in (ENDPOINT, *(f"{region}.example.com" for region in BROKERS))]
    for name, key in keys.items():
        builder = certificate_builder(name, key, "ca")
        builder = builder.add_extension(x509.BasicConstraints(name == "ca", None), critical=True)
        if name == "server":
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        signed = builder.sign(keys["ca"], hashes.SHA256())
        (folder / f"{name}.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


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
        self.port, self.plain_port = free_port(), free_port()
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        write_certificates(self.folder)
        self.point("us-east-1")
        for region, address in BROKERS.items():
            self._start_broker(region, address)
        regions = {region: {"host": f"{region}.example.com", "port": self.port} for region in BROKERS}
        files = {"certificate": "client.crt", "private_key": "client.key", "ca": "ca.crt", "ledger": "ledger"}
        paths = {key: str(self.folder / name) for key, name in files.items()}
        self.run("monitor", {**paths, "client_id": "fleet-monitor", "regions": regions})
        eventually(
            lambda: len(self.rows("SELECT 1 FROM subscription WHERE since IS NOT NULL")) == len(BROKERS),
            "the monitor subscribed in both regions",
        )

    def _start_broker(self, region: str, address: str) -> None:
        lines = ["user root", "per_listener_settings true", "log_dest stderr", f"listener {self.port} {address}"]
        lines += [f"cafile {self.folder}/ca.crt", f"certfile {self.folder}/server.crt"]
        lines += [f"keyfile {self.folder}/server.key", "require_certificate true", "allow_anonymous true"]
        lines += [f"listener {self.plain_port} {address}", "allow_anonymous true"]
        configuration = self.folder / f"{region}.conf"
        configuration.write_text("\n".join(lines) + "\n")
        with (self.folder / f"{region}.log").open("wb") as log:
            self.processes.append(subprocess.Popen(["mosquitto", "-c", str(configuration)], stderr=log))

    def run(self, module: str, configuration: dict[str, object]) -> subprocess.Popen[bytes]:
        """Run one program of the package with the hosts file in its own mount namespace."""
        path = self.folder / f"{module}.json"
        path.write_text(json.dumps(configuration))
        script = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'
        command = [sys.executable, "-m", f"mqtt_fleet.{module}", "--config", str(path)]
        with (self.folder / f"{module}.log").open("wb") as log:
            process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", script, "sh", str(self.folder / "hosts"), *command],
                env={**os.environ, "PYTHONPATH": str(CLIENTS)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return process

    def point(self, region: str) -> None:
        """Move the endpoint's name; in place, because the file is mounted."""
        fixed = [f"{address} {name}.example.com" for name, address in BROKERS.items()]
        (self.folder / "hosts").write_text("\n".join([*fixed, f"{BROKERS[region]} {ENDPOINT}"]) + "\n")

    def disconnect(self, region: str, client_id: str) -> None:
        """Take the client's session over, which ends its connection."""
        client = Client(CallbackAPIVersion.VERSION2, client_id=client_id)
        taken = threading.Event()
        client.on_connect = lambda *_: taken.set()
        client.connect(BROKERS[region], self.plain_port)
        client.loop_start()
        assert taken.wait(TIMEOUT)
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

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in reversed(self.processes):
            process.wait(TIMEOUT)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    try:
        world.start()
        yield world
    finally:
        world.stop()


@pytest.mark.parametrize("library", ["awsiotsdk", "paho"])
def test_client_goes_where_the_name_points_and_loses_nothing(world: World, library: str) -> None:
    files = {"ca": "ca.crt", "certificate": "client.crt", "private_key": "client.key", "outbox": "outbox"}
    identity = {"client_id": "client_01", "endpoint": ENDPOINT, "library": library, "port": world.port}
    process = world.run("client", {**files, **identity})
    old, new = BROKERS
    eventually(lambda: world.arrived(old) > 5, f"messages in {old}")
    # There and back: right after a connection is when a remembered address would be used.
    for source, target in ((old, new), (new, old)):
        world.point(target)
        moved_at = time.time()
        world.disconnect(source, "client_01")
        eventually(lambda since=moved_at, region=target: world.arrived(region, since) > 5, f"messages in {target}")
        last_old = world.rows("SELECT max(arrived_at) FROM message WHERE region = ?", source)[0][0]
        query = "SELECT min(arrived_at) FROM message WHERE region = ? AND arrived_at > ?"
        first_new = world.rows(query, target, moved_at)[0][0]
        assert last_old < first_new
    process.terminate()
    assert process.wait(TIMEOUT) == 0
    check_sequences(world)


def check_sequences(world: World) -> None:
    """Every number from 1 arrived, the first arrivals in order, but for what the outbox still holds."""
    with sqlite3.connect(world.folder / "outbox") as outbox:
        (stored,) = outbox.execute("SELECT seq FROM sqlite_sequence").fetchone()
        kept = {sequence for (sequence,) in outbox.execute("SELECT sequence FROM message")}
    expected = set(range(1, stored + 1)) - kept

    def sequences() -> list[float]:
        return [sequence for (sequence,) in world.rows("SELECT sequence FROM message ORDER BY rowid")]

    eventually(lambda: expected <= set(sequences()), "every message in the ledger")
    first_arrivals = list(dict.fromkeys(sequences()))
    assert first_arrivals == sorted(first_arrivals)
