"""The probe against servers on loopback: what a device would meet."""

from __future__ import annotations

import datetime as dt
import socket
from pathlib import Path

import pytest
from ansible.module_utils.region_switch.checks import probe
from ansible.module_utils.region_switch.checks.probe import ProbeError

from .address_server import address_server
from .mqtt_server import Authority, Manners, Pair, mqtt_server

NAME = "mqtt1.example.com"


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def device(ca: Authority) -> Pair:
    return ca.issue("probe")


def visit(port: int, ca: Authority, device: Pair) -> None:
    files = (str(device.certificate), str(device.key))
    probe.connect("127.0.0.1", port, NAME, str(ca.file), *files)


def test_handshake_returns_the_verified_certificate(ca: Authority) -> None:
    with mqtt_server(ca.issue(NAME, dt.timedelta(days=30))) as (port, _):
        found = probe.handshake("127.0.0.1", port, NAME, str(ca.file))

    left = found.not_after - dt.datetime.now(dt.UTC).timestamp()
    assert 29.9 < left / 86400 <= 30
    assert found.issuer == "CN=Test CA"
    assert len(bytes.fromhex(found.fingerprint)) == 32


def test_on_port_443_mqtt_is_asked_for_by_alpn(ca: Authority, device: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the AWS IoT Device SDK asks for; elsewhere nothing is asked for."""
    server = mqtt_server(ca.issue(NAME), ca.file, alpn="x-amzn-mqtt-ca")
    with server as (port, visitors):
        for alpn_port, spoken in ((443, None), (port, "x-amzn-mqtt-ca")):
            monkeypatch.setattr(probe, "ALPN_PORT", alpn_port)
            visit(port, ca, device)
            assert visitors[-1].protocol == spoken


@pytest.mark.parametrize(
    ("name", "lasts", "problem"),
    [
        (NAME, -1, "certificate has expired"),
        ("mqtt9.example.com", 30, "not valid for 'mqtt1.example.com'"),
    ],
)
def test_certificate_that_no_device_would_trust(ca: Authority, name: str, lasts: int, problem: str) -> None:
    with mqtt_server(ca.issue(name, dt.timedelta(days=lasts))) as (port, _), pytest.raises(ProbeError) as error:
        probe.handshake("127.0.0.1", port, NAME, str(ca.file))

    assert problem in error.value.problem
    assert f"{NAME} at 127.0.0.1:{port}" in str(error.value)
    assert "\n" not in str(error.value)


def test_certificate_of_another_ca(ca: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "Other CA")
    with mqtt_server(other.issue(NAME)) as (port, _), pytest.raises(ProbeError, match="not trusted"):
        probe.handshake("127.0.0.1", port, NAME, str(ca.file))


def test_nobody_listens(ca: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ProbeError, match="Connection refused"):
        probe.handshake("127.0.0.1", port, NAME, str(ca.file))


def test_silent_server_is_not_waited_for(ca: Authority, device: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "TIMEOUT", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(ProbeError, match="no answer within 1 s"):
            probe.handshake("127.0.0.1", port, NAME, str(ca.file))
        with pytest.raises(ProbeError, match="no answer within 1 s"):
            visit(port, ca, device)


def test_message_is_published_and_acknowledged(ca: Authority, device: Pair) -> None:
    with mqtt_server(ca.issue(NAME), ca.file) as (port, visitors):
        visit(port, ca, device)

    (visitor,) = visitors
    assert visitor.client_id.startswith("region-switch-probe-")
    assert visitor.topic == "region-switch/probe"


@pytest.mark.parametrize(
    ("manners", "problem"),
    [
        (Manners(connack=0x87), "CONNACK Not authorized"),
        (Manners(connack=None), "the connection closed instead of CONNACK"),
        (Manners(puback=0x87), "PUBACK Not authorized"),
        (Manners(puback=None), "the connection closed instead of PUBACK"),
    ],
)
def test_refusal_says_at_which_step(ca: Authority, device: Pair, manners: Manners, problem: str) -> None:
    with mqtt_server(ca.issue(NAME), ca.file, manners) as (port, _), pytest.raises(ProbeError) as error:
        visit(port, ca, device)

    assert error.value.problem == problem


def test_probes_do_not_disconnect_each_other() -> None:
    assert probe.client_id() != probe.client_id()


@pytest.mark.parametrize("content", ["", "no PEM"])
def test_unusable_ca_file_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "ca.crt"
    file.write_text(content)

    with pytest.raises(ProbeError, match=f"no usable PEM in {file}"):
        probe.handshake("127.0.0.1", 1, NAME, str(file))


def test_address_comes_from_the_named_resolvers() -> None:
    with address_server({"a1-ats.iot.us-east-1.amazonaws.com": "192.0.2.7"}) as resolver:
        assert probe.locate("a1-ats.iot.us-east-1.amazonaws.com", [resolver]) == "192.0.2.7"
        with pytest.raises(ProbeError, match=r"nowhere\.example\.com: no address"):
            probe.locate("nowhere.example.com", [resolver])


def test_without_resolvers_the_system_looks_up() -> None:
    assert probe.locate("a1-ats.iot.us-east-1.amazonaws.com", []) == "a1-ats.iot.us-east-1.amazonaws.com"
