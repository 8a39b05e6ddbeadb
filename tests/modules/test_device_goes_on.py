"""A whole client whose library raises while it connects: the device's programs notice nothing."""

from __future__ import annotations

import datetime as dt
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID

from .client_world import CLIENTS, TIMEOUT, eventually

PEM = serialization.Encoding.PEM


def ed25519_pair(folder: Path) -> None:
    """A certificate that OpenSSL takes and the SDK does not."""
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, None)
    )
    (folder / "client.crt").write_bytes(certificate.public_bytes(PEM))
    plain = serialization.NoEncryption()
    (folder / "client.key").write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, plain))


@pytest.fixture
def client(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    ed25519_pair(tmp_path)
    configuration = {
        "client_id": "client",
        "endpoint": "localhost",
        "library": "awsiotsdk",
        "port": 1,
        "ca": "client.crt",
        "certificate": "client.crt",
        "private_key": "client.key",
        "outbox": "outbox",
        "socket": "s",
        "heartbeat_interval": 0,
        "endpoint_watch": "off",
        "reconnect_delay_cap": 1,
    }
    (tmp_path / "client.json").write_text(json.dumps(configuration))
    command = [sys.executable, "-m", "mqtt_fleet.client", "--config", str(tmp_path / "client.json")]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env={"PYTHONPATH": str(CLIENTS), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    yield process
    process.kill()
    process.wait(TIMEOUT)


def test_what_the_sdk_raises_leaves_socket_and_outbox_up(client: subprocess.Popen[bytes], tmp_path: Path) -> None:
    def failures() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == "connect_failed"]

    eventually(lambda: len(failures()) >= 2, "two attempts")

    with closing(socket.socket(socket.AF_UNIX)) as producer, producer.makefile("rb") as answers:
        producer.settimeout(TIMEOUT)
        producer.connect(str(tmp_path / "s"))
        producer.sendall(b'{"data": "x"}\n')
        assert json.loads(answers.readline()) == {"sequence": 1}
    assert client.poll() is None
    said = failures()[0]["reason"]
    assert said.startswith(f"certificate: {tmp_path}/client.crt is for Ed25519, which the AWS IoT SDK cannot use")
