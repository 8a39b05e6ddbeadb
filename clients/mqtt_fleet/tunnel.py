"""A way to an address of our choice for a library that resolves names by itself.

The AWS SDK resolves the endpoint's name on its own and can be given neither an address nor a socket: the name that it
connects to is also the one that it verifies. But through an HTTP proxy it asks for the name by CONNECT, RFC 9110,
9.3.6, and makes TLS with the endpoint inside. This is such a proxy, for one connection of this process, on the loopback
interface: it dials as paho's transport does, and sees nothing but ciphertext.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from mqtt_fleet.attempt import Attempt
from mqtt_fleet.config import Config
from mqtt_fleet.dial import reach
from mqtt_fleet.proxy import read_head
from mqtt_fleet.traffic import Traffic, traffic

CHUNK_BYTES = 64 << 10
# What the library takes for sent already waits here: little, as in a connection without a tunnel.
NEAR_BUFFER_BYTES = 64 << 10
# For the endpoint to close its half as well.
LINGER_SECONDS = 2.0
# RFC 8446, 5.1 (RFC 5246, 6.2.1): type, version (2), length (2); the type of application data.
RECORD_HEAD_BYTES = 5
APPLICATION_DATA = 23


class Tunnel:
    """Listens from the start; connects to the endpoint and nothing else.

    Attributes:
        port: on 127.0.0.1.
        problem: why there is no connection to the endpoint, or "".
        heard_at: when the endpoint last sent something, by the monotonic clock, or None.
    """

    def __init__(self, config: Config, attempt: Attempt) -> None:
        self._config = config
        self._attempt = attempt
        self._deadline = time.monotonic() + config.connect_timeout
        self.problem = ""
        self.heard_at: float | None = None
        self._lock = threading.Lock()
        self._near: socket.socket | None = None
        self._far: socket.socket | None = None
        self._flushed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NEAR_BUFFER_BYTES)
        self._listener.settimeout(config.connect_timeout)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._run, name="tunnel", daemon=True).start()

    def close(self) -> None:
        """End both connections; what the library has sent may be lost."""
        self._attempt.cancelled.set()
        with self._lock:
            for each in (self._listener, self._near):
                with suppress(OSError):
                    if each:
                        each.shutdown(socket.SHUT_RDWR)

    def traffic(self) -> Traffic | None:
        """How much of what was sent to the endpoint has arrived; None while there is no connection to it."""
        with self._lock:
            return traffic(self._far) if self._far else None

    def wait(self, timeout: float) -> None:
        """Until what the library sent is on its way, and the library has closed its end."""
        self._flushed.wait(timeout)

    def _run(self) -> None:
        try:
            with self._listener:
                near, _ = self._listener.accept()
            with near:
                with self._lock:
                    self._near = near
                self._lead(near)
                with self._lock:
                    self._near = None
        except OSError as error:
            self.problem = self.problem or str(self._attempt.error(error.strerror or error))
        finally:
            self._flushed.set()

    def _lead(self, near: socket.socket) -> None:
        """Answer the request, and relay bytes in both directions until both ends are closed."""
        try:
            self._check(read_head(near, self._deadline))
            far = reach(self._config, self._attempt, self._deadline)
        except OSError as error:
            self.problem = str(error)
            near.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        with far:
            self._attempt.shakes_hands()
            self._keep(far)
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            carry(near, far, FirstData(self._attempt.asks_broker), self._hear, self._flushed.set)
            self._keep(None)

    def _keep(self, far: socket.socket | None) -> None:
        with self._lock:
            self._far = far

    def _hear(self, _: bytes) -> None:
        self.heard_at = time.monotonic()

    def _check(self, head: bytes) -> None:
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        expected = ["CONNECT", f"{self._config.endpoint}:{self._config.port}"]
        if words[:2] != expected:
            raise OSError(f"tunnel: found {' '.join(words[:2])!r}, expected {' '.join(expected)!r}")


class Direction:
    """From one socket to another, which do not block."""

    def __init__(self, source: socket.socket, target: socket.socket, see: Callable[[bytes], None]) -> None:
        """`see` is given all that passes."""
        self._source = source
        self._target = target
        self._see = see
        self._waiting = memoryview(b"")
        self._broken = False
        self._ended = False

    @property
    def over(self) -> bool:
        """Whether the source has ended and all of it was handed on."""
        return self._ended and not self._waiting

    def interests(self) -> list[tuple[socket.socket, int]]:
        """What to poll for."""
        if self._waiting:
            return [(self._target, select.POLLOUT)]
        return [] if self._ended else [(self._source, select.POLLIN)]

    def move(self) -> None:
        """Read or write what is possible now."""
        if not self._waiting and not self._ended:
            self._read()
        if self._waiting:
            self._write()
        if self.over:
            with suppress(OSError):
                self._target.shutdown(socket.SHUT_WR)

    def _read(self) -> None:
        try:
            chunk = self._source.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        self._see(chunk)
        self._ended = not chunk
        # Where nobody takes it, it is read all the same: a socket that is closed with unread data resets the
        # connection, and what the peer has not read yet of the other direction is gone.
        self._waiting = memoryview(b"" if self._broken else chunk)

    def _write(self) -> None:
        try:
            self._waiting = self._waiting[self._target.send(self._waiting) :]
        except BlockingIOError:
            return
        except OSError:
            self._broken = True
            self._waiting = memoryview(b"")


def carry(
    near: socket.socket,
    far: socket.socket,
    see: Callable[[bytes], None],
    hear: Callable[[bytes], None],
    flushed: Callable[[], None],
) -> None:
    """Relay bytes between two sockets until both have ended, or the near one has and the far one does not follow.

    Args:
        see: given what comes from the near one.
        hear: given what comes from the far one.
        flushed: called once the near one has ended and all that came from it was handed on.
    """
    near.setblocking(False)
    far.setblocking(False)
    out = Direction(near, far, see)
    back = Direction(far, near, hear)
    end: float | None = None
    while not (out.over and back.over):
        if out.over and end is None:
            flushed()
            end = time.monotonic() + LINGER_SECONDS
        poll = select.poll()
        events: dict[int, int] = {}
        for each, event in (*out.interests(), *back.interests()):
            events[each.fileno()] = events.get(each.fileno(), 0) | event
        for number, event in events.items():
            poll.register(number, event)
        ready = dict(poll.poll(None if end is None else max(0.0, end - time.monotonic()) * 1000))
        if not ready and end is not None:
            return
        for direction in (out, back):
            if any(each.fileno() in ready for each, _ in direction.interests()):
                direction.move()
    flushed()


class FirstData:
    """Looks at a TLS client's records; says so at the first of application data.

    Only with it has the client finished its handshake: in TLS 1.2 all before are records of the handshake, and in
    TLS 1.3 the flight that looks like application data, RFC 8446, 5.2, is sent after the server was verified.
    """

    def __init__(self, done: Callable[[], None]) -> None:
        self._done = done
        self._head = b""
        self._skip = 0
        self._seen = False

    def __call__(self, chunk: bytes) -> None:
        while chunk and not self._seen:
            if self._skip:
                passed = min(self._skip, len(chunk))
                self._skip -= passed
                chunk = chunk[passed:]
                continue
            wanted = RECORD_HEAD_BYTES - len(self._head)
            self._head += chunk[:wanted]
            chunk = chunk[wanted:]
            if len(self._head) == RECORD_HEAD_BYTES:
                self._seen = self._head[0] == APPLICATION_DATA
                self._skip = int.from_bytes(self._head[3:], "big")
                self._head = b""
        if self._seen:
            self._done, done = _nothing, self._done
            done()


def _nothing() -> None:
    return
