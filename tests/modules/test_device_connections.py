"""How both libraries get to a broker whose name has several addresses, and what they say where they do not."""

from __future__ import annotations

import datetime as dt
import os
import queue
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mqtt_fleet.attempt import ConnectError
from mqtt_fleet.transport import Cause, Connected, Disconnected

from .connect_proxy import Proxy, connect_proxy
from .device_broker import ENDPOINT, LIBRARIES, Device, black_hole, broker, device, free_port
from .mqtt_server import Authority

__all__ = ["device"]
pytestmark = pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed")
V4, V6 = socket.AF_INET, socket.AF_INET6
DAY = dt.timedelta(days=1)


@contextmanager
def silent(address: str, port: int) -> Iterator[None]:
    """A server that takes connections and says nothing."""
    with socket.create_server((address, port)) as listener:
        yield
        listener.close()


def server_context(device: Device) -> ssl.SSLContext:
    """TLS of a server with the endpoint's name."""
    pair = device.authority.issue(ENDPOINT)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    # The SDK talks to no server that wants no certificate.
    context.load_verify_locations(device.config.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@LIBRARIES
def test_first_address_that_is_dead_is_passed_over(device: Device, library: str) -> None:
    device.names = {V4: ["127.0.0.5", "127.0.0.1"], V6: []}
    with broker(device) as port, black_hole("127.0.0.5", port):
        assert device.connected(library=library, port=port).address == f"127.0.0.1:{port}"
    # Next time it comes last.
    assert device.memory.has_failed("127.0.0.5")
    assert not device.memory.has_failed("127.0.0.1")


@LIBRARIES
def test_ipv6_that_is_dead_is_passed_over(device: Device, library: str) -> None:
    device.names = {V4: ["127.0.0.1"], V6: ["::1"]}
    with broker(device) as far:
        port = free_port()
        with black_hole("::1", port), Forward("127.0.0.1", port, far):
            assert device.connected(library=library, port=port).address == f"127.0.0.1:{port}"


class Forward:
    """Leads from one port to another, as a second address of the same broker."""

    def __init__(self, address: str, port: int, far: int) -> None:
        self._listener = socket.create_server((address, port))
        self._proxy = Proxy({})
        self._far = far

    def __enter__(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._far))
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=carry, args=(source, target), daemon=True).start()


def carry(source: socket.socket, target: socket.socket) -> None:
    try:
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


@LIBRARIES
def test_network_without_ipv4_uses_ipv6(device: Device, library: str) -> None:
    # No route is how such a network refuses: the broadcast address takes no TCP either.
    device.names = {V4: ["255.255.255.255"], V6: ["::1"]}
    with broker(device) as port:
        assert device.connected(library=library, port=port).address == f"[::1]:{port}"


@LIBRARIES
def test_family_without_an_answer_holds_up_nobody(
    device: Device, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = threading.Event()
    answered = threading.Event()

    def addresses_of(_: str, __: int, family: int, ___: object) -> list[str]:
        if family == V6:
            asking.set()
            answered.wait(60)
            raise OSError("no answer")
        return ["127.0.0.1"]

    monkeypatch.setattr("mqtt_fleet.dial.addresses_of", addresses_of)
    with broker(device) as port:
        device.connected(library=library, port=port)
    assert asking.is_set()
    answered.set()


@LIBRARIES
def test_address_that_takes_tcp_and_nothing_more_comes_last_next_time(device: Device, library: str) -> None:
    device.names = {V4: ["127.0.0.5", "127.0.0.1"], V6: []}
    with broker(device) as port, silent("127.0.0.5", port):
        hanging = device.connect(library=library, port=port)
        phase = f"{ENDPOINT}: TLS with 127.0.0.5:{port}: no answer"
        wait_for(lambda: hanging.phase() == phase)
        hanging.close()

        assert device.connected().address == f"127.0.0.1:{port}"
        # And it stays so while the process lives.
        device.connections[-1].close()
        assert device.connected().address == f"127.0.0.1:{port}"


def wait_for(condition: object) -> None:
    pause = threading.Event()
    for _ in range(3000):
        if condition():  # type: ignore[operator]
            return
        pause.wait(0.01)
    pytest.fail("condition not met")


@LIBRARIES
@pytest.mark.parametrize("proxied", [False, True])
def test_attempt_that_is_given_up_leaves_no_connection_behind(device: Device, library: str, proxied: bool) -> None:
    accepted: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()

    def accept() -> None:
        accepted.put(listener.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        port = listener.getsockname()[1]
        device.config = replace(device.config, connect_timeout=300, proxy=f"http://127.0.0.1:{port}" if proxied else "")
        hanging = device.connect(library=library, port=port)
        with accepted.get(timeout=30) as theirs:
            theirs.settimeout(30)
            assert theirs.recv(10_000)
            hanging.close()
            while theirs.recv(10_000):
                pass


@LIBRARIES
def test_addresses_that_all_fail_are_each_named(device: Device, library: str) -> None:
    port = free_port()
    device.names = {V4: ["127.0.0.1", "127.0.0.2"], V6: ["::1"]}

    reason = device.refused(library=library, port=port)

    refused = "Connection refused"
    assert (
        reason
        == f"{ENDPOINT}: TCP to [::1]:{port}: {refused}; 127.0.0.1:{port}: {refused}; 127.0.0.2:{port}: {refused}"
    )


@LIBRARIES
def test_name_that_leads_nowhere_is_told(device: Device, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("mqtt_fleet.dial.addresses_of", nowhere)

    assert device.refused(library=library) == f"{ENDPOINT}: name lookup: Name or service not known"


@LIBRARIES
def test_expired_certificate_of_the_broker_is_told_with_its_date(device: Device, library: str) -> None:
    with broker(device, -DAY) as port:
        reason = device.refused(library=library, port=port)

    day = (dt.datetime.now(dt.UTC) - DAY).strftime("%Y-%m-%d")
    assert reason.startswith(f"{ENDPOINT}: TLS with 127.0.0.1:{port}: certificate expired on {day}T")


def test_expired_certificate_is_told_although_the_sdk_says_nothing(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What it does for 10 to 30 s, at random.
    monkeypatch.setattr("mqtt_fleet.awsiotsdk_transport.AwsIotSdkConnection._on_failure", lambda *_: None)
    with broker(device, -DAY) as port:
        assert "certificate expired on " in device.refused(library="awsiotsdk", port=port)


@LIBRARIES
def test_broker_of_another_ca_or_name_is_told(device: Device, library: str, tmp_path: Path) -> None:
    with broker(device) as port:
        other = Authority(tmp_path, "Other CA").file
        reason = device.refused(library=library, port=port, ca=other)
        assert f"TLS with 127.0.0.1:{port}: the broker's certificate is of no CA in {other}: " in reason

        reason = device.refused(ca=device.authority.file, endpoint="mqtt2.example.com")
        assert reason == (
            f"mqtt2.example.com: TLS with 127.0.0.1:{port}: the broker's certificate is not for mqtt2.example.com"
        )


@LIBRARIES
def test_certificate_that_the_broker_refuses_is_told(device: Device, library: str) -> None:
    expired = device.authority.issue("client", -DAY, "expired")
    with broker(device) as port:
        reason = device.refused(library=library, port=port, certificate=expired.certificate, private_key=expired.key)

    assert reason.endswith(
        f"TLS with 127.0.0.1:{port}: the broker says that the certificate {expired.certificate} "
        "has expired, or is not valid yet"
    )


@LIBRARIES
def test_code_of_a_connack_is_told_in_words(device: Device, library: str) -> None:
    with broker(device, allow_anonymous="false") as port:
        device.connect(library=library, port=port)
        ended = device.wait(Disconnected)

    said = f"{ENDPOINT}: CONNACK from 127.0.0.1:{port}: not authorized"
    assert ended == Disconnected(f"{said} (0x87)" if library == "awsiotsdk" else said, Cause.REFUSED)
    # Not told a second time when the broker closes.
    assert device.events.empty()


@pytest.mark.skipif(os.geteuid() != 0, reason="port 443 needs root")
@LIBRARIES
@pytest.mark.parametrize("proxied", [False, True])
def test_port_443_is_asked_with_the_protocol_that_aws_wants(device: Device, library: str, proxied: bool) -> None:
    context = server_context(device)
    context.set_alpn_protocols(["x-amzn-mqtt-ca"])
    protocols: queue.SimpleQueue[tuple[str | None, str | None]] = queue.SimpleQueue()
    # Its own among the loopback addresses.
    address = f"127.55.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
    device.names = {V4: [address], V6: []}
    context.sni_callback = lambda _, name, __: names.append(name)
    names: list[str | None] = []

    def serve() -> None:
        with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
            protocols.put((connection.selected_alpn_protocol(), names[0]))
            connection.recv(1000)

    with socket.create_server((address, 443)) as listener, connect_proxy(Proxy({ENDPOINT: address})) as proxy:
        thread = threading.Thread(target=serve)
        thread.start()
        device.connect(library=library, port=443, proxy=f"http://127.0.0.1:{proxy.port}" if proxied else "")
        assert protocols.get(timeout=30) == ("x-amzn-mqtt-ca", ENDPOINT)
        device.connections[-1].close()
        thread.join()


@LIBRARIES
def test_end_without_a_connack_is_told(device: Device, library: str) -> None:
    context = server_context(device)

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(plain, server_side=True) as connection:
                    connection.recv(1000)
            except OSError:
                continue

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        port = listener.getsockname()[1]
        reason = device.refused(library=library, port=port)
        listener.shutdown(socket.SHUT_RDWR)

    assert reason.startswith(f"{ENDPOINT}: CONNACK from 127.0.0.1:{port}: the broker closed the connection: may the")


@LIBRARIES
def test_what_a_library_raises_is_a_reason_and_nothing_else(device: Device, library: str, tmp_path: Path) -> None:
    # Both files hold nothing that a library can use; the transport is not the place where they are looked at.
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")
    with broker(device) as port:
        reason = device.refused(library=library, port=port, certificate=broken, private_key=broken)

    assert reason.startswith(f"{ENDPOINT}: ")


def test_key_of_a_kind_that_the_sdk_does_not_take_names_the_files(device: Device, tmp_path: Path) -> None:
    key = tmp_path / "ed25519.key"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(key)], check=True)
    reason = device.refused(library="awsiotsdk", private_key=key)

    assert reason.startswith(f"{ENDPOINT}: AWS IoT SDK: ")
    assert all(str(path) in reason for path in (key, device.config.certificate, device.config.ca))


@LIBRARIES
def test_library_that_is_not_installed_is_a_reason(
    device: Device, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, f"mqtt_fleet.{library}_transport", None)

    with pytest.raises(ConnectError, match=f"^{ENDPOINT}: {library}: ModuleNotFoundError: "):
        device.connect(library=library)


@LIBRARIES
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_proxy_leads_to_the_broker_with_user_and_password(
    device: Device, library: str, address: str, tmp_path: Path
) -> None:
    secret = tmp_path / "proxy"
    secret.write_text("user:secret\n")
    with broker(device) as port, connect_proxy(Proxy({ENDPOINT: "127.0.0.1"}, "user:secret"), address) as proxy:
        host = f"[{address}]" if ":" in address else address
        url = f"http://{host}:{proxy.port}"
        connected = device.connected(library=library, port=port, proxy=url, proxy_credentials=secret)

    through = f"{ENDPOINT}:{port} through the proxy {host}:{proxy.port}"
    assert connected == Connected(False, None, through)
    assert proxy.heads[0].startswith(f"CONNECT {ENDPOINT}:{port} HTTP/1.1\r\n")


@LIBRARIES
def test_proxy_that_does_not_lead_is_told_without_the_password(device: Device, library: str, tmp_path: Path) -> None:
    secret = tmp_path / "proxy"
    secret.write_text("user:wrong\n")
    port = free_port()
    with connect_proxy(Proxy({}, "user:secret")) as proxy:
        place = f"127.0.0.1:{proxy.port}"
        prefix = f"{ENDPOINT}: CONNECT by the proxy {place}: "
        device.config = replace(device.config, library=library, port=port, proxy=f"http://{place}")
        assert device.refused() == (
            f"{prefix}407 Proxy Authentication Required: it wants a user and a password: set proxy_credentials"
        )
        assert device.refused(proxy_credentials=secret) == (
            f"{prefix}407 Proxy Authentication Required: it does not take the user and password of proxy_credentials"
        )
        proxy.credentials, proxy.status = "", "403 Forbidden"
        assert device.refused(proxy_credentials=None) == (
            f"{prefix}403 Forbidden: it does not let through to {ENDPOINT}:{port}, maybe to no port but 443"
        )
        proxy.silent = True
        hanging = device.connect()
        wait_for(lambda: hanging.phase() == f"{prefix}no answer")
        hanging.close()


@LIBRARIES
def test_tls_through_a_proxy_is_verified_as_without(device: Device, library: str) -> None:
    with broker(device, -DAY) as port, connect_proxy(Proxy({ENDPOINT: "127.0.0.1"})) as proxy:
        place = f"127.0.0.1:{proxy.port}"
        reason = device.refused(library=library, port=port, proxy=f"http://{place}")

    assert reason.startswith(
        f"{ENDPOINT}: TLS with {ENDPOINT}:{port} through the proxy {place}: certificate expired on "
    )
