"""The way through which the SDK reaches an address that the client has looked up itself."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mqtt_fleet import tunnel
from mqtt_fleet.config import Config
from mqtt_fleet.tunnel import Tunnel

TIMEOUT = 10.0


@pytest.fixture
def endpoint() -> Iterator[int]:
    """A server that says everything twice; yields its port."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while chunk := connection.recv(4096):
                    connection.sendall(chunk * 2)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def config(tmp_path: Path, endpoint: int, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(tunnel, "addresses", lambda *_: ["127.0.0.1"])
    files = dict.fromkeys(("ca", "certificate", "private_key", "outbox"), tmp_path)
    return Config(client_id="c", endpoint="mqtt1.example.com", library="awsiotsdk", port=endpoint, **files)


def connected(made: Tunnel, request: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", made.port), TIMEOUT)
    connection.sendall(request)
    return connection


def test_leads_to_the_address_and_takes_nothing_of_what_follows(config: Config) -> None:
    made = Tunnel(config)
    request = f"CONNECT mqtt1.example.com:{config.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with closing(connected(made, request + b"ab")) as connection, connection.makefile("rb") as reader:
        assert reader.readline() == b"HTTP/1.1 200 Connection established\r\n"
        assert reader.readline() == b"\r\n"
        assert reader.read(4) == b"abab"
        assert made.peer == f"127.0.0.1:{config.port}"
        made.close()
        assert reader.read() == b""


@pytest.mark.parametrize("line", ["CONNECT other.example.com:443", "GET http://mqtt1.example.com/", ""])
def test_leads_nowhere_else(config: Config, line: str) -> None:
    made = Tunnel(config)
    with closing(connected(made, f"{line} HTTP/1.1\r\n\r\n".encode())) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 502 ")
        assert connection.recv(4096) == b""
    assert f"expected 'CONNECT mqtt1.example.com:{config.port}'" in made.problem


def test_address_that_refuses_is_named(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        port = unused.getsockname()[1]
    made = Tunnel(replace(config, port=port))
    with closing(connected(made, f"CONNECT mqtt1.example.com:{port} HTTP/1.1\r\n\r\n".encode())) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 502 ")
    assert made.problem == f"127.0.0.1:{port}: Connection refused"


def test_request_without_an_end_is_refused(config: Config) -> None:
    made = Tunnel(config)
    with closing(connected(made, b"x" * (tunnel.HEAD_BYTES + 1))) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 502 ")
    assert made.problem == "tunnel: the request has no end"
