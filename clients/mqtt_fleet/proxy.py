"""An outbound HTTP proxy on the way to the endpoint: CONNECT, RFC 9110, 9.3.6. TLS is made with the endpoint inside."""

from __future__ import annotations

import base64
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mqtt_fleet.text import printable, shortened

HEAD_BYTES = 16 << 10
# What proxies let through where they let one port through.
USUAL_PORT = 443
MOST_CHARACTERS = 100


class ProxyError(Exception):
    """The proxy does not connect to the endpoint; one line that says why, without anything secret."""


@dataclass(frozen=True)
class Proxy:
    """Where it listens; `host` is a name or an address, without brackets."""

    host: str
    port: int


def parse(url: str) -> Proxy:
    """Read http://host:port.

    Raises:
        ValueError: it is something else; the text says what, and not a password in it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError("found no URL, expected http://host:port") from error
    if "@" in url:
        raise ValueError("found user or password in it, expected http://host:port: put user:password into the file"
                         " that proxy_credentials names")  # fmt: skip
    plain = parts.scheme == "http" and parts.path in ("", "/") and not parts.query and not parts.fragment
    if not plain or not host or not port or re.search(r"[\s\x00-\x1f]", url):
        raise ValueError(f"found {url!r}, expected http://host:port")
    return Proxy(host, port)


def authorization(path: Path | None) -> str:
    """The value of Proxy-Authorization, RFC 7617, from a file; "" where there is none.

    Raises:
        ProxyError: the file is not readable or holds something else.
    """
    if path is None:
        return ""
    try:
        content = path.read_bytes().strip()
    except OSError as error:
        raise ProxyError(f"proxy_credentials: {path} cannot be read: {error.strerror}") from error
    if b":" not in content or any(byte < 0x20 for byte in content):
        raise ProxyError(f"proxy_credentials: {path} holds something else, expected one line user:password")
    return f"Basic {base64.b64encode(content).decode()}"


def open_way(connection: socket.socket, target: str, credentials: str, deadline: float) -> None:
    """Ask the proxy at the other end to connect to "host:port".

    Args:
        credentials: see `authorization`.
        deadline: by the monotonic clock.

    Raises:
        ProxyError: it does not.
    """
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if credentials:
        lines.append(f"Proxy-Authorization: {credentials}")
    try:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        connection.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
        head = read_head(connection, deadline)
    except (socket.timeout, TimeoutError) as error:
        raise ProxyError("no answer") from error
    except OSError as error:
        raise ProxyError(error.strerror or str(error)) from error
    except UnicodeError as error:
        raise ProxyError(f"{target}: is no name for a proxy") from error
    if problem := refusal(head, target, bool(credentials)):
        raise ProxyError(problem)


def refusal(head: bytes, target: str, authorized: bool) -> str:
    """Return why an answer is a refusal, or ""."""
    status = head.split(b"\r\n", 1)[0].split(b"\n", 1)[0].decode("latin-1")
    found = re.fullmatch(r"HTTP/1\.[01] ([0-9]{3})(?: (.*))?", status)
    if not found:
        return f"found {shortened(printable(status), MOST_CHARACTERS)!r}, expected the answer of an HTTP proxy"
    code, words = found[1], shortened(printable(found[2] or ""), MOST_CHARACTERS)
    if code.startswith("2"):
        return ""
    said = f"{code} {words}".strip()
    if code == "407":
        return f"{said}: " + (
            "it does not take the user and password of proxy_credentials" if authorized
            else "it wants a user and a password: set proxy_credentials"
        )  # fmt: skip
    if code in ("403", "405"):
        closed = "" if target.endswith(f":{USUAL_PORT}") else f", maybe to no port but {USUAL_PORT}"
        return f"{said}: it does not let through to {target}{closed}"
    return f"{said}, asked for {target}"


def read_head(connection: socket.socket, deadline: float) -> bytes:
    """Read the head of a request or of an answer, byte by byte so that nothing of what follows it is taken.

    Raises:
        OSError: the connection ends before, or the head does not; the deadline passes (socket.timeout).
    """
    head = b""
    while not head.endswith((b"\r\n\r\n", b"\n\n")):
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        byte = connection.recv(1)
        if not byte:
            raise OSError("the connection was closed" if not head else "the connection was closed in the middle")
        if len(head) >= HEAD_BYTES:
            raise OSError("the head has no end")
        head += byte
    return head
