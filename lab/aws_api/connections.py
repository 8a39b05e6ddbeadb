"""Who is connected to a region, as the data plane's connection API reports it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

# AWS IoT developer guide, "MQTT": connection data is kept 30 minutes after the disconnection.
KEPT_AFTER_DISCONNECT = 30 * 60
PERSISTENT_SESSION_EXPIRY = 3600
# The longest lag of the fleet index that can be played, in milliseconds.
KEPT_PAST = 300 * 1000


def milliseconds() -> int:
    """Return the time as AWS gives it: milliseconds since the epoch."""
    return int(time.time() * 1000)


@dataclass(frozen=True)
class Connection:
    """The last known connection of a client ID; times in milliseconds since the epoch.

    Attributes:
        session_expiry: seconds that a session which is not clean outlives its connection.
    """

    client_id: str
    connected: bool
    connected_since: int
    disconnected_since: int | None = None
    disconnect_reason: str = "NONE"
    clean_session: bool = True
    session_expiry: int = PERSISTENT_SESSION_EXPIRY
    keep_alive: int = 60
    source_ip: str | None = None
    source_port: int | None = None
    thing_name: str | None = None

    def has_session(self, now: int) -> bool:
        """Return whether there is anything left to disconnect or to clean."""
        if self.connected:
            return True
        if self.clean_session or self.disconnected_since is None:
            return False
        return now - self.disconnected_since < self.session_expiry * 1000

    def is_remembered(self, now: int) -> bool:
        if self.connected or self.disconnected_since is None:
            return True
        return now - self.disconnected_since < KEPT_AFTER_DISCONNECT * 1000


class ConnectionTable:
    """The connections of one region, and what they were a while ago; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: dict[str, Connection] = {}
        # Per client ID, what its connection was until when, oldest first.
        self._past: dict[str, deque[tuple[int, Connection | None]]] = {}

    def connect(self, client_id: str, *, at: int | None = None, **details: Any) -> None:
        """Note that a client has connected."""
        connection = Connection(client_id, True, milliseconds() if at is None else at, **details)
        with self._lock:
            self._set(connection)

    def disconnect(self, client_id: str, reason: str, at: int | None = None) -> None:
        """Note that a client has disconnected; the first reason stays."""
        with self._lock:
            connection = self._connections.get(client_id)
            if connection is None or not connection.connected:
                return
            since = milliseconds() if at is None else at
            self._set(replace(connection, connected=False, disconnected_since=since, disconnect_reason=reason))

    def clean(self, client_id: str) -> None:
        """Note that a client's session is gone."""
        with self._lock:
            connection = self._connections.get(client_id)
            if connection is not None:
                self._set(replace(connection, clean_session=True))

    def disconnect_all(self, reason: str, at: int | None = None) -> None:
        for client_id in list(self._connections):
            self.disconnect(client_id, reason, at)

    def get(self, client_id: str) -> Connection | None:
        with self._lock:
            connection = self._connections.get(client_id)
        return connection if connection is not None and connection.is_remembered(milliseconds()) else None

    def forget(self, client_id: str) -> None:
        with self._lock:
            self._connections.pop(client_id, None)
            self._past.pop(client_id, None)

    def clear(self) -> None:
        with self._lock:
            self._connections.clear()
            self._past.clear()

    def as_of(self, moment: int) -> list[Connection]:
        """Return the connections as they were known at a moment of the last KEPT_PAST milliseconds."""
        with self._lock:
            found = [self._at(client_id, moment) for client_id in self._connections]
        return [connection for connection in found if connection is not None]

    def _at(self, client_id: str, moment: int) -> Connection | None:
        for until, connection in self._past.get(client_id, ()):
            if moment < until:
                return connection
        return self._connections[client_id]

    def _set(self, connection: Connection) -> None:
        now = milliseconds()
        past = self._past.setdefault(connection.client_id, deque())
        past.append((now, self._connections.get(connection.client_id)))
        while past[0][0] < now - KEPT_PAST:
            past.popleft()
        self._connections[connection.client_id] = connection

    def __iter__(self) -> Iterator[Connection]:
        with self._lock:
            return iter(list(self._connections.values()))
