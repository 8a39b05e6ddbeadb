"""The phase that an attempt to connect is in, and the addresses that failed before."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress

# Hands the memory to a process that takes the place of this one.
FAILED_VARIABLE = "MQTT_FLEET_FAILED_ADDRESSES"
MOST_FAILED = 32


class ConnectError(OSError):
    """An attempt failed; one line that names the endpoint, the phase and the address."""


class Attempt:
    """One attempt to reach the endpoint; from any thread.

    Attributes:
        at: the phase and with whom, such as "TLS with 203.0.113.7:8883".
        address: IP address that TCP connected to, or "".
        peer: the same as "address:port", IPv6 in brackets, or "".
        far: with whom TLS is made: the peer, or the endpoint through it where it is a proxy.
        cancelled: set when the attempt is no longer wanted.
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self.at = "name lookup"
        self.address = ""
        self.peer = ""
        self.far = ""
        self.cancelled = threading.Event()
        self._open = True
        self._lock = threading.Lock()
        self._held: socket.socket | None = None

    def shakes_hands(self) -> None:
        """TCP is done, TLS begins."""
        self.at = f"TLS with {self.far}"

    def asks_broker(self) -> None:
        """TLS is done, the CONNECT goes out."""
        self.at = f"CONNACK from {self.far}"

    def holds(self, connection: socket.socket) -> None:
        """Set its socket, which is shut down when the attempt is given up, whoever waits for it."""
        with self._lock:
            self._held = connection
            if self.cancelled.is_set():
                _shut(connection)

    def succeeded(self, memory: Memory) -> None:
        """The broker has accepted it."""
        with self._lock:
            self._open = False
            self._held = None
        memory.worked(self.address)

    def give_up(self, memory: Memory) -> None:
        """The attempt failed; after `succeeded` this says nothing about the address."""
        with self._lock:
            self.cancelled.set()
            fails, self._open = self._open, False
            if self._held:
                _shut(self._held)
        if fails and self.address:
            memory.failed(self.address)

    def phase(self) -> str:
        """What it waits for."""
        return f"{self._endpoint}: {self.at}: no answer"

    def error(self, why: object) -> ConnectError:
        """The reason why it fails in this phase."""
        return ConnectError(f"{self._endpoint}: {self.at}: {why}")


class Memory:
    """Addresses that failed, whatever the phase, since none of them worked; from any thread.

    It outlives connections, and processes through `variables`. It only decides about the order: what failed is tried
    after all others, and the one that failed last comes last. So no entry needs to expire.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._lock = threading.Lock()
        known = environment.get(FAILED_VARIABLE, "").split(",")
        self._failed = dict.fromkeys(address for address in known if address)
        self._worked = ""

    def failed(self, address: str) -> None:
        with self._lock:
            self._failed.pop(address, None)
            self._failed[address] = None
            while len(self._failed) > MOST_FAILED:
                del self._failed[next(iter(self._failed))]

    def worked(self, address: str) -> None:
        with self._lock:
            self._failed.pop(address, None)
            self._worked = address

    @property
    def prefers_ipv4(self) -> bool:
        """Whether the address that worked last was one; IPv6 is tried first otherwise, RFC 8305, 4."""
        return "." in self._worked and ":" not in self._worked

    def order(self, addresses: Iterable[str]) -> list[str]:
        """The same addresses: those that did not fail as they are, then the others, the last that failed last."""
        with self._lock:
            ranks = {address: rank for rank, address in enumerate(self._failed, 1)}
        return sorted(addresses, key=lambda address: ranks.get(address, 0))

    def has_failed(self, address: str) -> bool:
        return address in self._failed

    def variables(self) -> dict[str, str]:
        """Environment of the next process."""
        with self._lock:
            return {FAILED_VARIABLE: ",".join(self._failed)}


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


# One for the process, since each connection is a new one.
MEMORY = Memory()


def peer(address: str, port: int) -> str:
    """Address and port as one text, RFC 3986, 3.2.2."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
