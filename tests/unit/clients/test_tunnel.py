"""The way through which the SDK reaches an address that the client has looked up itself."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mqtt_fleet import dial, proxy
from mqtt_fleet.attempt import Attempt, Memory
from mqtt_fleet.config import Config
from mqtt_fleet.tunnel import CHUNK_BYTES, FirstData, Tunnel, carry

from .conditions import wait_until

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
    found = {socket.AF_INET: ["127.0.0.1"], socket.AF_INET6: []}
    monkeypatch.setattr(dial, "addresses_of", lambda _, __, family, ___: found[family])
    monkeypatch.setattr(dial, "MEMORY", Memory({}))
    files = dict.fromkeys(("ca", "certificate", "private_key", "outbox"), tmp_path)
    return Config(client_id="c", endpoint="mqtt1.example.com", library="awsiotsdk", port=endpoint, **files)


@pytest.fixture
def attempt(config: Config) -> Attempt:
    return Attempt(config.endpoint)


def connected(made: Tunnel, request: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", made.port), TIMEOUT)
    connection.sendall(request)
    return connection


def test_leads_to_the_address_and_takes_nothing_of_what_follows(config: Config, attempt: Attempt) -> None:
    made = Tunnel(config, attempt)
    request = f"CONNECT mqtt1.example.com:{config.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with closing(connected(made, request + b"ab")) as connection, connection.makefile("rb") as reader:
        assert reader.readline() == b"HTTP/1.1 200 Connection established\r\n"
        assert reader.readline() == b"\r\n"
        assert reader.read(4) == b"abab"
        assert attempt.peer == f"127.0.0.1:{config.port}"
        assert attempt.phase() == f"mqtt1.example.com: TLS with 127.0.0.1:{config.port}: no answer"
        made.close()
        assert reader.read() == b""


@pytest.mark.parametrize("line", ["CONNECT other.example.com:443", "GET http://mqtt1.example.com/", ""])
def test_leads_nowhere_else(config: Config, attempt: Attempt, line: str) -> None:
    made = Tunnel(config, attempt)
    with closing(connected(made, f"{line} HTTP/1.1\r\n\r\n".encode())) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 502 ")
        assert connection.recv(4096) == b""
    assert f"expected 'CONNECT mqtt1.example.com:{config.port}'" in made.problem


def test_address_that_refuses_is_named(config: Config, attempt: Attempt) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        port = unused.getsockname()[1]
    made = Tunnel(replace(config, port=port), attempt)
    with closing(connected(made, f"CONNECT mqtt1.example.com:{port} HTTP/1.1\r\n\r\n".encode())) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 502 ")
    assert made.problem == f"mqtt1.example.com: TCP to 127.0.0.1:{port}: Connection refused"


def test_request_without_an_end_is_refused(config: Config, attempt: Attempt) -> None:
    made = Tunnel(config, attempt)
    with closing(connected(made, b"x" * (proxy.HEAD_BYTES + 1))) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 502 ")
    assert made.problem == "the head has no end"


class Carried:
    """Two sockets, and what is carried between them, from a thread."""

    def __init__(self) -> None:
        self.library, self.near = socket.socketpair()
        self.far, self.broker = socket.socketpair()
        self.seen, self.heard = bytearray(), bytearray()
        self.flushed = threading.Event()
        self.thread = threading.Thread(
            target=carry,
            args=(self.near, self.far, self.seen.extend, self.heard.extend, self.flushed.set),
            daemon=True,
        )
        self.thread.start()

    def close(self) -> None:
        for each in (self.library, self.broker):
            each.close()
        self.thread.join(10)
        for each in (self.near, self.far):
            each.close()


@pytest.fixture
def carried() -> Iterator[Carried]:
    made = Carried()
    yield made
    made.close()


def test_last_words_of_the_broker_arrive_although_the_library_still_sends(carried: Carried) -> None:
    carried.library.settimeout(10)
    carried.broker.sendall(b"DISCONNECT")
    carried.broker.close()
    carried.library.sendall(b"x" * 1000)

    assert carried.library.recv(100) == b"DISCONNECT"
    assert carried.library.recv(100) == b""
    # Read although nobody takes it: closing with unread data would reset the connection.
    for more in (2000, 3000, 4000):
        carried.library.sendall(b"y" * 1000)
        wait_until(lambda more=more: len(carried.seen) == more)
    carried.library.close()
    carried.thread.join(10)
    assert not carried.thread.is_alive()
    assert carried.flushed.is_set()


def test_last_words_of_the_library_arrive(carried: Carried) -> None:
    carried.broker.settimeout(10)
    carried.library.sendall(b"DISCONNECT")
    carried.library.close()

    assert carried.broker.recv(100) == b"DISCONNECT"
    assert carried.broker.recv(100) == b""
    assert carried.flushed.wait(10)
    assert carried.seen == b"DISCONNECT"
    carried.broker.close()
    carried.thread.join(10)
    assert not carried.thread.is_alive()


def test_broker_that_never_closes_holds_up_nothing(carried: Carried, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mqtt_fleet.tunnel.LINGER_SECONDS", 0.05)
    carried.library.close()

    carried.thread.join(10)

    assert not carried.thread.is_alive()


def test_one_direction_that_is_full_does_not_stop_the_other(carried: Carried) -> None:
    carried.library.settimeout(10)
    sender = threading.Thread(target=carried.library.sendall, args=(b"x" * (CHUNK_BYTES * 100),), daemon=True)
    sender.start()
    carried.broker.sendall(b"PUBACK")

    assert carried.library.recv(100) == b"PUBACK"
    received = 0
    while received < CHUNK_BYTES * 100:
        received += len(carried.broker.recv(CHUNK_BYTES))
    sender.join(10)


def test_attempt_that_is_given_up_ends_the_librarys_connection(config: Config, attempt: Attempt) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        made = Tunnel(replace(config, port=port), attempt)
        request = f"CONNECT mqtt1.example.com:{port} HTTP/1.1\r\n\r\n".encode()
        with closing(connected(made, request)) as connection:
            wait_until(lambda: attempt.far)
            connection.recv(1000)
            made.close()
            assert connection.recv(1000) == b""


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_end_of_the_handshake_is_seen_in_what_the_client_sends(size: int) -> None:
    seen: list[int] = []
    look = FirstData(lambda: seen.append(1))
    # RFC 5246, 6.2.1: a hello, the change of ciphers, the rest of the handshake; then data.
    before = b"\x16\x03\x01\x00\x04\x17\x17\x17\x17\x14\x03\x03\x00\x01\x01\x16\x03\x03\x01\x00" + b"\x17" * 256
    data = b"\x17\x03\x03\x00\x02ab\x17\x03\x03\x00\x01c"
    for start in range(0, len(before), size):
        look(before[start : start + size])
    assert seen == []
    for start in range(0, len(data), size):
        look(data[start : start + size])
    assert seen == [1]
