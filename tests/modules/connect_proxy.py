"""A small HTTP proxy that leads by CONNECT, and ones that misbehave."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

TIMEOUT = 30.0


@dataclass
class Proxy:
    """How it answers, and what it heard.

    Attributes:
        names: `{name: address}`, of what it can look up.
        credentials: "user:password" that it wants, or "".
        status: what it says in place of leading, such as "403 Forbidden"; "": it leads.
        silent: whether it takes connections and says nothing.
    """

    names: Mapping[str, str]
    credentials: str = ""
    status: str = ""
    silent: bool = False
    port: int = 0
    heads: list[str] = field(default_factory=list)

    def status_of(self, head: str) -> str:
        basic = base64.b64encode(self.credentials.encode()).decode()
        if self.credentials and f"Proxy-Authorization: Basic {basic}\r\n" not in head:
            return "407 Proxy Authentication Required"
        return self.status

    def serve(self, near: socket.socket) -> None:
        with suppress(OSError), near:
            near.settimeout(TIMEOUT)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                byte = near.recv(1)
                if not byte:
                    return
                head += byte
            self.heads.append(head.decode())
            if self.silent:
                near.recv(1)
                return
            if status := self.status_of(self.heads[-1]):
                near.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno".encode())
                return
            name, _, port = head.decode().split()[1].rpartition(":")
            with socket.create_connection((self.names[name], int(port)), TIMEOUT) as far:
                near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_carry, args=(far, near))
                back.start()
                _carry(near, far)
                back.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@contextmanager
def connect_proxy(proxy: Proxy, address: str = "127.0.0.1") -> Iterator[Proxy]:
    """Run a proxy; its `port` is set."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as listener:
        proxy.port = listener.getsockname()[1]

        def accept() -> None:
            while True:
                try:
                    near, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=proxy.serve, args=(near,), daemon=True).start()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
