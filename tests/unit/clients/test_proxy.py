"""What the client says to an HTTP proxy, and what it makes of the answers."""

from __future__ import annotations

import base64
import socket
import time
from contextlib import closing
from pathlib import Path

import pytest

from mqtt_fleet.proxy import HEAD_BYTES, Proxy, ProxyError, authorization, open_way, parse, read_head, refusal

TARGET = "mqtt1.example.com:443"


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://proxy.example.com:3128", "proxy.example.com", 3128),
        ("http://192.0.2.1:80/", "192.0.2.1", 80),
        ("http://[2001:db8::1]:3128", "2001:db8::1", 3128),
    ],
)
def test_place_of_a_proxy(url: str, host: str, port: int) -> None:
    assert parse(url) == Proxy(host, port)


@pytest.mark.parametrize(
    "url",
    [
        "proxy.example.com:3128",
        "http://proxy.example.com",
        "https://proxy.example.com:3128",
        "socks5://proxy.example.com:1080",
        "http://proxy.example.com:3128/path",
        "http://proxy.example.com:99999",
        "http://proxy.example.com:3128 ",
        "http://[::1:3128",
        "http://:3128",
    ],
)
def test_other_places_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected http://host:port"):
        parse(url)


def test_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="proxy_credentials") as raised:
        parse("http://user:secret@proxy.example.com:3128")
    assert "secret" not in str(raised.value)


def test_credentials_are_one_line_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "proxy"
    path.write_bytes("gerät:pass:word\n".encode())

    assert authorization(path) == "Basic " + base64.b64encode("gerät:pass:word".encode()).decode()
    assert authorization(None) == ""


@pytest.mark.parametrize("content", [b"secret", b"", b"user:secret\nother:secret"])
def test_credentials_that_are_none_are_named_by_file_and_not_repeated(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "proxy"
    path.write_bytes(content)

    with pytest.raises(ProxyError, match=f"proxy_credentials: {path} holds something else") as raised:
        authorization(path)
    assert "secret" not in str(raised.value)


def test_missing_credentials_are_named(tmp_path: Path) -> None:
    with pytest.raises(ProxyError, match="cannot be read: No such file"):
        authorization(tmp_path / "proxy")


@pytest.mark.parametrize(
    ("head", "target", "authorized", "problem"),
    [
        (b"HTTP/1.1 200 Connection established\r\n\r\n", TARGET, False, ""),
        (b"HTTP/1.0 200\r\n\r\n", TARGET, False, ""),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", TARGET, False,
         "407 Proxy Authentication Required: it wants a user and a password: set proxy_credentials"),
        (b"HTTP/1.1 407 No\r\n\r\n", TARGET, True,
         "407 No: it does not take the user and password of proxy_credentials"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", TARGET, False, f"403 Forbidden: it does not let through to {TARGET}"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "a:8883", False,
         "403 Forbidden: it does not let through to a:8883, maybe to no port but 443"),
        (b"HTTP/1.1 503 \x1b[2J\r\n\r\n", TARGET, False, f"503 �[2J, asked for {TARGET}"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", TARGET, False, "found 'SSH-2.0-OpenSSH', expected the answer of an HTTP proxy"),
    ],
)  # fmt: skip
def test_answers(head: bytes, target: str, authorized: bool, problem: str) -> None:
    assert refusal(head, target, authorized) == problem


def test_way_is_opened_and_what_follows_is_left() -> None:
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        theirs.sendall(b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\nhello")
        open_way(ours, TARGET, "Basic abc", time.monotonic() + 10)

        assert ours.recv(100) == b"hello"
        assert theirs.recv(1000) == (
            f"CONNECT {TARGET} HTTP/1.1\r\nHost: {TARGET}\r\nProxy-Authorization: Basic abc\r\n\r\n".encode()
        )


def test_proxy_that_is_silent_or_closes_is_told() -> None:
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        with pytest.raises(ProxyError, match=r"^no answer$"):
            open_way(ours, TARGET, "", time.monotonic())
        theirs.close()
        with pytest.raises(ProxyError):
            open_way(ours, TARGET, "", time.monotonic() + 10)


def test_answer_without_an_end_is_refused() -> None:
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        theirs.sendall(b"x" * (HEAD_BYTES + 1))
        with pytest.raises(OSError, match="no end"):
            read_head(ours, time.monotonic() + 10)


def test_name_that_no_proxy_takes_is_told() -> None:
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs), pytest.raises(ProxyError, match="is no name for a proxy"):
        open_way(ours, "gerät.example.com:443", "", time.monotonic() + 10)
