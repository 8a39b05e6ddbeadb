"""What the client says of an address before it leaves a broker for it: TLS as it would make it, and no MQTT."""

from __future__ import annotations

import datetime as dt
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mqtt_fleet import attempt, tls
from mqtt_fleet.config import Config
from mqtt_fleet.probe import probe

from .connect_proxy import Proxy, connect_proxy
from .mqtt_server import Authority, Pair

ENDPOINT = "mqtt1.example.com"
ADDRESS = "127.0.0.1"
TIMEOUT = 20.0
DAY = dt.timedelta(days=1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def config(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(tls, "LATE_ALERT_SECONDS", 0.3)
    monkeypatch.setattr("mqtt_fleet.dial.MEMORY", attempt.Memory({}))
    client = authority.issue("client")
    return Config(
        client_id="client",
        endpoint=ENDPOINT,
        library="paho",
        ca=authority.file,
        certificate=client.certificate,
        private_key=client.key,
        outbox=tmp_path / "outbox",
        port=1,
    )


@contextmanager
def broker(
    pair: Pair, clients: Path, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the port of a TLS server that asks for a certificate, and what clients say to it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    context.load_verify_locations(clients)
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = version
    if version < ssl.TLSVersion.TLSv1_2:
        context.minimum_version = version
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    said: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            with plain:
                plain.settimeout(TIMEOUT)
                try:
                    with context.wrap_socket(plain, server_side=True) as connection:
                        said.append(connection.recv(100))
                except OSError:
                    continue

    with socket.create_server((ADDRESS, 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], said
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def asked(config: Config, pair: Pair, clients: Path, **changes: object) -> str:
    version = changes.pop("version", ssl.TLSVersion.TLSv1_3)
    with broker(pair, clients, version) as (port, _):  # type: ignore[arg-type]
        return probe(Config(**{**vars(config), "port": port, **changes}), ADDRESS, TIMEOUT)


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@VERSIONS
def test_address_with_the_endpoints_certificate_is_good_and_hears_no_mqtt(
    config: Config, authority: Authority, version: ssl.TLSVersion
) -> None:
    with broker(authority.issue(ENDPOINT), authority.file, version) as (port, said):
        assert probe(Config(**{**vars(config), "port": port}), ADDRESS, TIMEOUT) == ""
    assert said == [b""]


def test_address_is_asked_through_the_proxy(config: Config, authority: Authority) -> None:
    with (
        broker(authority.issue(ENDPOINT), authority.file) as (port, _),
        connect_proxy(Proxy({ADDRESS: ADDRESS})) as proxy,
    ):
        through = Config(**{**vars(config), "port": port, "proxy": f"http://127.0.0.1:{proxy.port}"})
        assert probe(through, ADDRESS, TIMEOUT) == ""
        proxy.status = "403 Forbidden"
        said = f"{ENDPOINT}: CONNECT by the proxy 127.0.0.1:{proxy.port}: 403 Forbidden: "
        assert probe(through, ADDRESS, TIMEOUT).startswith(said)
    assert proxy.heads[0].startswith(f"CONNECT {ADDRESS}:{port} ")


def test_expired_server_certificate_is_told_with_its_date(config: Config, authority: Authority) -> None:
    said = asked(config, authority.issue(ENDPOINT, -DAY), authority.file)

    day = (dt.datetime.now(dt.UTC) - DAY).strftime("%Y-%m-%d")
    assert re.match(
        rf"{ENDPOINT}: TLS with {ADDRESS}:[0-9]+: certificate expired on {day}T[0-9:]+Z: the broker's", said
    )


def test_certificate_of_another_name_is_told(config: Config, authority: Authority) -> None:
    said = asked(config, authority.issue("other.example.com"), authority.file)

    assert said.endswith(f": the broker's certificate is not for {ENDPOINT}")


def test_certificate_of_another_ca_is_told_with_the_file(config: Config, authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "Other CA")

    said = asked(config, other.issue(ENDPOINT), authority.file)

    assert f": the broker's certificate is of no CA in {config.ca}: " in said


@VERSIONS
def test_refusal_of_the_clients_certificate_is_told(
    config: Config, authority: Authority, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    server = authority.issue(ENDPOINT)
    expired = authority.issue("client", -DAY, "expired")
    foreign = Authority(tmp_path, "Other CA").issue("client", file="foreign")
    for pair, words in ((expired, "has expired, or is not valid yet"), (foreign, "is of a CA that it does not know")):
        said = asked(
            config, server, authority.file, version=version, certificate=pair.certificate, private_key=pair.key
        )
        assert said.endswith(f": the broker says that the certificate {pair.certificate} {words}")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_protocol_is_told(config: Config, authority: Authority) -> None:
    said = asked(config, authority.issue(ENDPOINT), authority.file, version=ssl.TLSVersion.TLSv1_1)

    assert said.endswith(": the broker speaks no TLS 1.2 or 1.3 at this port")


def test_port_that_is_closed_silent_or_no_tls_is_told(config: Config) -> None:
    with closing(socket.create_server((ADDRESS, 0))) as listener:
        port = listener.getsockname()[1]
        silent = Config(**{**vars(config), "port": port})
        assert probe(silent, ADDRESS, 0.2) == f"{ENDPOINT}: TLS with {ADDRESS}:{port}: no answer"
    assert probe(silent, ADDRESS, TIMEOUT) == f"{ENDPOINT}: TCP to {ADDRESS}:{port}: Connection refused"

    def plain() -> None:
        with closing(listener.accept()[0]) as connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with closing(socket.create_server((ADDRESS, 0))) as listener:
        thread = threading.Thread(target=plain)
        thread.start()
        said = probe(Config(**{**vars(config), "port": listener.getsockname()[1]}), ADDRESS, TIMEOUT)
        thread.join()
    assert said.endswith(": the broker speaks no TLS 1.2 or 1.3 at this port")
