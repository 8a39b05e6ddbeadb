"""Both libraries against a real broker: with files as they are found on devices, keys in tokens, and a Last Will."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from .client_world import BROKERS, TIMEOUT, World, eventually, world

__all__ = ["world"]

REGION = "us-east-1"
SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
PROVIDERS = Path("/usr/lib/x86_64-linux-gnu/ossl-modules")
PIN = "4321"

pytestmark = [
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="a hosts file of its own needs root"),
]
needs_token = pytest.mark.skipif(
    not SOFTHSM.exists() or shutil.which("pkcs11-tool") is None, reason="softhsm2 or opensc is not installed"
)
libraries = pytest.mark.parametrize("library", ["awsiotsdk", "paho"])


def check(world: World, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """What --check-config says to the client's configuration."""
    python = os.environ.get("CLIENT_PYTHON", sys.executable)
    command = [python, "-m", "mqtt_fleet.client", "--config", str(world.folder / "client.json")]
    variables = {**os.environ, **(environment or {})}
    done = subprocess.run([*command, "--check-config"], capture_output=True, text=True, check=False, env=variables)
    return done.returncode, done.stderr


@libraries
def test_files_as_they_are_found_on_devices_are_used(world: World, library: str) -> None:
    ca, certificate, key = (world.folder / name for name in ("ca.crt", "client.crt", "client.key"))
    ca.write_bytes("# Zertifikate für Gerät 1\n".encode("latin-1") + ca.read_bytes())
    # The key first: the SDK takes the first block of a file for the certificate.
    certificate.write_bytes(b"\xef\xbb\xbf" + key.read_bytes().rstrip() + certificate.read_bytes().rstrip())
    key.chmod(0o400)
    key.write_bytes(key.read_bytes().decode().replace("\n", "\r\n   ").encode("utf-16"))
    world.client(library)
    assert check(world) == (0, "")
    eventually(lambda: world.arrived(REGION) > 2, "messages")


@libraries
def test_ca_without_its_own_issuer_is_trusted(world: World, library: str) -> None:
    """A file with an intermediate CA alone, or with the server's own certificate."""
    shutil.copy(world.folder / "server.crt", world.folder / "ca.crt")
    world.client(library)
    eventually(lambda: world.arrived(REGION) > 2, "messages")


def test_key_that_the_sdk_cannot_use_is_told_while_the_socket_goes_on(world: World) -> None:
    good = {name: (world.folder / name).read_bytes() for name in ("client.crt", "client.key")}
    key = ed25519.Ed25519PrivateKey.generate()
    world.authority.certify("client", key.public_key())
    encoding, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (world.folder / "client.key").write_bytes(key.private_bytes(encoding, kind, serialization.NoEncryption()))
    process = world.client("awsiotsdk", socket="s.sock", heartbeat_interval=0)
    eventually(lambda: len(world.events("connect_failed")) > 1, "two attempts")
    assert all(
        "is for Ed25519, which the AWS IoT SDK cannot use" in e["reason"] for e in world.events("connect_failed")
    )
    code, said = check(world)
    assert code == 2
    assert "is for Ed25519, which the AWS IoT SDK cannot use" in said
    assert hand(world, "kept") == {"sequence": 1}
    assert process.poll() is None
    for name, content in good.items():
        (world.folder / name).write_bytes(content)
    eventually(lambda: world.arrived(REGION) == 1, "the message that was kept")


def hand(world: World, text: str) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rb") as lines:
        connection.connect(str(world.folder / "s.sock"))
        connection.sendall(json.dumps({"data": text}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(lines.readline())
        return answer


class Listener:
    """Collects (topic, payload, QoS, retained) of what arrives at a region's broker."""

    def __init__(self, world: World, topic: str) -> None:
        self.arrived: list[tuple[str, bytes, int, bool]] = []
        subscribed = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, client_id=f"listener{len(topic)}")
        self.client.on_message = self._hear
        self.client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.connect(BROKERS[REGION], world.plain_port)
        self.client.loop_start()
        assert subscribed.wait(TIMEOUT)

    def _hear(self, _: Client, __: Any, message: MQTTMessage) -> None:
        self.arrived.append((message.topic, bytes(message.payload), message.qos, message.retain))

    def nothing_but(self, expected: list[tuple[str, bytes, int, bool]]) -> bool:
        """Whether that is all: what was sent before a message of our own has arrived when that has."""
        self.client.publish("fleet/client_01/mark", b"mark", qos=1).wait_for_publish(TIMEOUT)
        eventually(lambda: self.arrived and self.arrived[-1][1] == b"mark", "the mark")
        return [each for each in self.arrived if each[1] != b"mark"] == expected

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


WILL = {"will_topic": "status", "will_payload": "gone", "will_qos": 1}


@libraries
def test_will_is_published_when_the_client_dies_and_not_when_it_stops(world: World, library: str) -> None:
    listener = Listener(world, "fleet/client_01/+")
    process = world.client(library, heartbeat_interval=0, **WILL)
    eventually(lambda: world.events("connected"), "a connection")
    process.send_signal(signal.SIGTERM)
    process.wait(TIMEOUT)
    assert listener.nothing_but([])
    process = world.client(library, heartbeat_interval=0, **WILL, will_retain=True)
    eventually(lambda: len(world.events("connected")) == 2, "a second connection")
    process.kill()
    eventually(lambda: listener.arrived[1:], "the will")
    assert listener.nothing_but([("fleet/client_01/status", b"gone", 1, False)])
    listener.stop()
    # Kept for those who come later.
    later = Listener(world, "fleet/client_01/status")
    eventually(lambda: later.arrived == [("fleet/client_01/status", b"gone", 1, True)], "the retained will")
    later.stop()


def test_will_of_a_client_that_is_back_in_time_is_not_published(world: World) -> None:
    listener = Listener(world, "fleet/client_01/+")
    settings = {"heartbeat_interval": 0, "session_expiry": 600, "will_delay": 600, **WILL}
    process = world.client("awsiotsdk", **settings)
    eventually(lambda: world.events("connected"), "a connection")
    process.kill()
    process.wait(TIMEOUT)
    process = world.client("awsiotsdk", **settings)
    eventually(lambda: len(world.events("connected")) == 2, "a second connection")
    assert listener.nothing_but([])
    listener.stop()


@pytest.fixture
def token(world: World, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A token with a key `mqtt`, for which `client.crt` is; returns the client's keys that lead to it."""
    (world.folder / "tokens").mkdir()
    (world.folder / "softhsm.conf").write_text(f"directories.tokendir = {world.folder}/tokens\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(world.folder / "softhsm.conf"))
    run("softhsm2-util", "--init-token", "--free", "--label", "device", "--so-pin", "12345678", "--pin", PIN)
    tool = ["pkcs11-tool", "--module", str(SOFTHSM), "--login", "--pin", PIN, "--token-label", "device"]
    run(*tool, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "mqtt", "--id", "01")
    key = serialization.load_der_public_key(run(*tool, "--read-object", "--type", "pubkey", "--label", "mqtt"))
    assert isinstance(key, ec.EllipticCurvePublicKey)
    world.authority.certify("client", key)
    (world.folder / "client.key").unlink()
    (world.folder / "pin").write_text(f"{PIN}\n")
    (world.folder / "pin").chmod(0o400)
    files = {"ca": "ca.crt", "certificate": "client.crt", "outbox": "outbox", "pkcs11_pin_file": "pin"}
    labels = {"pkcs11_token_label": "device", "pkcs11_key_label": "mqtt"}
    return {**files, **labels, "client_id": "client_01", "endpoint": "mqtt1.example.com", "pkcs11_module": str(SOFTHSM)}


def run(*command: str) -> bytes:
    return subprocess.run(command, check=True, capture_output=True).stdout


def providers(folder: Path, name: str, *settings: str) -> str:
    """A configuration of OpenSSL's that activates a provider."""
    lines = ["openssl_conf = init", "[init]", "providers = list", "[list]", "default = plain", f"{name} = other"]
    path = folder / "openssl.cnf"
    path.write_text("\n".join([*lines, "[plain]", "activate = 1", "[other]", *settings, "activate = 1"]) + "\n")
    return str(path)


def pkcs11_provider() -> Path | None:
    """Where pkcs11-provider is: Debian has it from 13 on; PKCS11_PROVIDER names another place."""
    path = Path(os.environ.get("PKCS11_PROVIDER", PROVIDERS / "pkcs11.so"))
    return path if path.exists() else None


@needs_token
@libraries
def test_key_in_a_token_connects(
    world: World, token: dict[str, str], library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library == "paho":
        provider = pkcs11_provider()
        if provider is None:
            pytest.skip("pkcs11-provider is not installed")
        # Without the last SoftHSM crashes as the process ends.
        settings = (f"module = {provider}", f"pkcs11-module-path = {SOFTHSM}", "pkcs11-module-quirks = no-deinit")
        monkeypatch.setenv("OPENSSL_CONF", providers(world.folder, "pkcs11", *settings))
    world.run("client", {**token, "library": library, "port": world.port, "heartbeat_interval": 0.1})
    assert check(world) == (0, "")
    eventually(lambda: world.arrived(REGION) > 2, "messages")
    assert PIN not in (world.folder / "client.log").read_text()


@needs_token
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pkcs11_key_label": "other"}, "pkcs11_key_label: the token has no private key"),
        ({"pkcs11_token_label": "other"}, "pkcs11_token_label: "),
        ({"pkcs11_pin_file": "wrong"}, "pkcs11_pin_file: the token refuses the PIN of "),
        ({"pkcs11_module": "/usr/bin/env"}, "pkcs11_module: /usr/bin/env is no PKCS#11 library"),
    ],
)
def test_token_that_cannot_be_used_is_told(
    world: World, token: dict[str, str], changes: dict[str, str], reason: str
) -> None:
    (world.folder / "wrong").write_text("9999")
    (world.folder / "wrong").chmod(0o400)
    process = world.run("client", {**token, **changes, "library": "awsiotsdk", "port": world.port})
    failed = eventually(lambda: len(world.events("connect_failed")) > 1 and world.events("connect_failed"), "attempts")
    assert failed[0]["reason"].startswith(reason)
    code, said = check(world)
    assert code == 2
    assert said.startswith(f"mqtt_fleet.client: {reason}")
    # A token locks itself after a few wrong ones.
    again = "pkcs11_pin_file: the token has refused the PIN of " if "pkcs11_pin_file" in changes else reason
    assert failed[1]["reason"].startswith(again)
    assert process.poll() is None


@needs_token
def test_corrected_pin_is_tried(world: World, token: dict[str, str]) -> None:
    (world.folder / "pin").chmod(0o600)
    (world.folder / "pin").write_text("9999")
    world.run("client", {**token, "library": "awsiotsdk", "port": world.port, "heartbeat_interval": 0.1})
    eventually(lambda: world.events("connect_failed"), "a refused PIN")
    (world.folder / "pin").write_text(PIN)
    eventually(lambda: world.arrived(REGION) > 2, "messages")
