"""The lab itself: its parts answer, and refuse, the way the real ones do."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import dns.update
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab import device, network, readiness, supervisor, topology
from lab import dns as lab_dns

from .conftest import REPOSITORY, wait_for

# A whole MQTT 3.1.1 CONNECT with client ID "probe", and the CONNACK "not authorized" (OASIS MQTT 3.1.1 §3.1, §3.2).
CONNECT = bytes.fromhex("1011" "00044d5154540402001e" "000570726f6265")  # fmt: skip
CONNACK = bytes.fromhex("20020005")

NODE_IDS = [node.name for node in topology.REGIONS]


def lab_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lab", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A client certificate and key that no region knows."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stranger")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("stranger")
    (folder / "crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key").write_bytes(private)
    return folder / "crt", folder / "key"


def context(certificate: tuple[Path, Path] | None = None, alpn: str | None = None) -> ssl.SSLContext:
    """A client's TLS settings that trust the certificates of the regions' own names."""
    made = ssl.create_default_context(cafile=str(topology.state_directory() / "aws" / "amazon-root-ca.crt"))
    if certificate:
        made.load_cert_chain(*certificate)
    if alpn:
        made.set_alpn_protocols([alpn])
    return made


def answer_to_connect(node: topology.Node, name: str | None, settings: ssl.SSLContext, port: int = 8883) -> bytes:
    """What a TLS endpoint answers to an MQTT CONNECT; nothing when it closes the connection."""
    with (
        socket.create_connection((str(node.address), port), timeout=5) as plain,
        settings.wrap_socket(plain, server_hostname=name) as secured,
    ):
        secured.sendall(CONNECT)
        return secured.recv(len(CONNACK))


def ask(node: topology.Node, name: str, kind: str) -> list[str]:
    """The data of the last record set that a server answers; empty when it has none."""
    answer = dns.query.udp(dns.message.make_query(name, kind), str(node.address), timeout=5)
    return [str(record) for record in answer.answer[-1]] if answer.answer else []


def update(name: str, target: str) -> None:
    """Change a record on every name server as the stand-in does, from the controller."""
    message = dns.update.UpdateMessage(topology.ZONE)
    if target == "-":
        message.delete(name)
    else:
        message.replace(name, 0, "CNAME", target)
    for server in topology.NAME_SERVERS:
        assert dns.query.tcp(message, str(server.address), timeout=5).rcode() == dns.rcode.NOERROR


@pytest.fixture
def moving_name(lab: None) -> Iterator[str]:
    """A name of the zone that a test may move about."""
    yield "moving"
    update("moving", "-")


def test_every_program_runs(lab: None) -> None:
    shown = lab_command("status")
    assert shown.returncode == 0, shown.stdout
    for node in topology.NODES:
        assert str(node.address) in shown.stdout


def test_a_second_up_restarts_nothing(lab: None) -> None:
    before = {status.name: status.pid for status in supervisor.statuses()}
    again = lab_command("up")
    assert again.returncode == 0, again.stderr
    assert {status.name: status.pid for status in supervisor.statuses()} == before


def test_two_commands_at_once_are_refused_in_one_line(lab: None) -> None:
    with socket.socket(socket.AF_UNIX) as holder:
        holder.bind(f"\0{topology.BRIDGE}")
        refused = lab_command("down")
    assert refused.returncode == 1
    assert "another command is changing the lab" in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("server", topology.NAME_SERVERS, ids=lambda node: str(node.name))
def test_name_servers_name_each_other(lab: None, server: topology.Node) -> None:
    assert sorted(ask(server, topology.ZONE, "NS")) == sorted(f"{node.dns_name}." for node in topology.NAME_SERVERS)


def test_a_device_may_not_change_the_zone(lab: None) -> None:
    script = (
        "import sys, dns.query, dns.update\n"
        "message = dns.update.UpdateMessage(sys.argv[1])\n"
        "message.replace('mqtt1', 0, 'CNAME', 'elsewhere.example.com.')\n"
        "print(dns.query.tcp(message, sys.argv[2], timeout=5).rcode().name)\n"
    )
    command = [sys.executable, "-c", script, topology.ZONE, str(topology.NAME_SERVERS[0].address)]
    inside = network.in_namespace(topology.DEVICES[0], command)

    assert subprocess.run(inside, check=True, capture_output=True, text=True).stdout == "NOTAUTH\n"


def test_a_move_is_seen_at_once_by_resolver_and_device(moving_name: str) -> None:
    name = f"{moving_name}.{topology.ZONE}"
    for turn in range(6):
        target = topology.REGIONS[turn % 2]
        update(moving_name, f"{target.dns_name}.")
        if turn == 0:
            # Until its first answer the name may be remembered as absent, for a second.
            wait_for("the name is there", lambda: ask(topology.RESOLVER, name, "A"), timeout=5)
        assert ask(topology.RESOLVER, name, "A") == [str(target.address)]
        found = device.ssh(topology.DEVICES[0], "getent", "ahostsv4", name.rstrip("."))
        assert found.split()[0] == str(target.address)


def test_a_clamping_resolver_keeps_the_old_answer(moving_name: str) -> None:
    name = f"{moving_name}.{topology.ZONE}"
    first, second = topology.REGIONS
    update(moving_name, f"{first.dns_name}.")
    lab_dns.clamp_ttl(30)
    try:
        wait_for("the resolver answers", lambda: ask(topology.RESOLVER, name, "A"), timeout=10)
        update(moving_name, f"{second.dns_name}.")
        assert ask(topology.NAME_SERVERS[0], name, "CNAME") == [f"{second.dns_name}."]
        assert ask(topology.RESOLVER, name, "A") == [str(first.address)]
    finally:
        lab_dns.clamp_ttl(0)


@pytest.mark.parametrize("node", topology.REGIONS, ids=NODE_IDS)
def test_a_wrong_server_name_is_refused(lab: None, node: topology.Node, stranger: tuple[Path, Path]) -> None:
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        answer_to_connect(node, "wrong.example.com", context(stranger))


@pytest.mark.parametrize("node", topology.REGIONS, ids=NODE_IDS)
def test_an_unknown_client_certificate_is_refused(lab: None, node: topology.Node, stranger: tuple[Path, Path]) -> None:
    assert answer_to_connect(node, node.dns_name, context(stranger)) == b""


@pytest.mark.parametrize("node", topology.REGIONS, ids=NODE_IDS)
def test_no_client_certificate_is_refused(lab: None, node: topology.Node) -> None:
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
        answer_to_connect(node, node.dns_name, context())


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_refused(lab: None, version: ssl.TLSVersion) -> None:
    node = topology.REGIONS[0]
    settings = context()
    settings.minimum_version = settings.maximum_version = version
    settings.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        answer_to_connect(node, node.dns_name, settings)


def test_the_brokers_own_socket_admits_nobody_whom_the_tls_endpoint_does_not_name(lab: None) -> None:
    for node in topology.REGIONS:
        with socket.socket(socket.AF_UNIX) as plain:
            plain.settimeout(5)
            plain.connect(str(topology.state_directory() / "regions" / node.name / "mosquitto.sock"))
            plain.sendall(CONNECT)
            assert plain.recv(len(CONNACK)) == CONNACK


@pytest.mark.parametrize("node", topology.DEVICES, ids=lambda node: str(node.name))
def test_a_device_is_a_whole_system(lab: None, node: topology.Node) -> None:
    assert device.system_state(node) == "running"
    assert device.ssh(node, "hostname").strip() == node.name
    assert "active" in device.ssh(node, "systemctl", "is-active", "systemd-resolved")


def test_a_dead_region_hangs_instead_of_refusing(lab: None) -> None:
    node = topology.REGIONS[0]
    network.set_link(node, up=False)
    try:
        with pytest.raises(TimeoutError):
            socket.create_connection((str(node.address), 8883), timeout=3)
    finally:
        network.set_link(node, up=True)
    socket.create_connection((str(node.address), 8883), timeout=5).close()


def first_process_started(node: topology.Node) -> str:
    """When a device's first process started, in ticks of the kernel's clock (proc(5), field 22)."""
    return device.ssh(node, "cat", "/proc/1/stat").split()[21]


def test_a_device_keeps_its_files_over_a_power_cut(lab: None) -> None:
    node = topology.DEVICES[1]
    device.ssh(node, "sh", "-c", "'echo kept > /var/tmp/kept; sync'")
    booted = first_process_started(node)

    device.cut_power(node)
    readiness.wait_for_program(node.name)

    assert first_process_started(node) != booted
    assert device.ssh(node, "cat", "/var/tmp/kept").strip() == "kept"  # noqa: S108 - on the device


def test_a_stopped_device_is_off(lab: None) -> None:
    node = topology.DEVICES[1]
    supervisor.stop_program(node.name)
    try:
        assert network.processes(node) == []
        assert device.system_state(node) == "unreachable"
    finally:
        supervisor.start_program(node.name)
    readiness.wait_for_program(node.name)
