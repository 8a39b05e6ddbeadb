"""A way to an address of our choice for a library that resolves names by itself.

The AWS SDK resolves the endpoint's name on its own and can be given no address: the name that it
connects to is also the one that it verifies. But through an HTTP proxy it asks for the name by
CONNECT, RFC 9110, 9.3.6, and makes TLS with the endpoint inside. This is such a proxy, for one
connection of this process, on the loopback interface: it asks the DNS servers that the
configuration names, and sees nothing but ciphertext.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from mqtt_fleet.config import Config
from mqtt_fleet.resolve import addresses

HEAD_BYTES = 8192
CHUNK_BYTES = 64 << 10


class Tunnel:
    """Listens from the beginning; leads to the endpoint and nowhere else.

    Attributes:
        port: on 127.0.0.1.
        peer: "address:port" of the endpoint once there is a connection to it.
        problem: why there is none, or "".
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self.peer: str | None = None
        self.problem = ""
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(config.connect_timeout)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._run, name="tunnel", daemon=True).start()

    def close(self) -> None:
        """End both connections."""
        with self._lock:
            self._closed = True
            for each in self._sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()

    def _keep(self, each: socket.socket) -> None:
        with self._lock:
            self._sockets.append(each)
            if self._closed:
                each.close()

    def _run(self) -> None:
        with suppress(OSError):
            with self._listener:
                near, _ = self._listener.accept()
            self._keep(near)
            near.settimeout(self._config.connect_timeout)
            far = self._open(near)
            if far is None:
                near.close()
                return
            for each in (near, far):
                each.settimeout(None)
            back = threading.Thread(target=self._pump, args=(far, near), name="tunnel-back", daemon=True)
            back.start()
            self._pump(near, far)

    def _open(self, near: socket.socket) -> socket.socket | None:
        """Answer the request; the connection to the endpoint, or None where there is none."""
        try:
            self._check(_head(near))
            far = self._dial()
        except OSError as error:
            self.problem = str(error)
            near.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return None
        self._keep(far)
        near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return far

    def _check(self, head: bytes) -> None:
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        expected = ["CONNECT", f"{self._config.endpoint}:{self._config.port}"]
        if words[:2] != expected:
            raise OSError(f"tunnel: found {' '.join(words[:2])!r}, expected {' '.join(expected)!r}")

    def _dial(self) -> socket.socket:
        config = self._config
        problem = OSError(f"{config.endpoint}: has no address")
        for address in addresses(config.endpoint, config.port, config.resolvers):
            try:
                far = socket.create_connection((address, config.port), config.connect_timeout)
            except OSError as error:
                problem = OSError(f"{address}:{config.port}: {error.strerror or error}")
            else:
                self.peer = f"{address}:{config.port}"
                return far
        raise problem

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                target.sendall(chunk)
        self.close()


def _head(near: socket.socket) -> bytes:
    """Read a request's head, byte by byte so that nothing of what follows it is taken."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = near.recv(1)
        if not byte or len(head) >= HEAD_BYTES:
            raise OSError("tunnel: the request has no end")
        head += byte
    return head
