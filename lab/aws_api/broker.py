"""A region's broker: who is connected, read from Mosquitto's log, and how to cut a client off.

A plugin of ours disconnects a client. Mosquitto has no call that ends a session, so a persistent one is taken over: a
second client with the same client ID that asks for a clean session (MQTT 3.1.1, 3.1.2-6). The log names the user of
each client, which tells this from the client itself.
"""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from lab import mosquitto_plugin
from lab.aws_api.connections import ConnectionTable, milliseconds

USER = mosquitto_plugin.USER
# No client ID of a device's: AWS IoT Core takes none that begins with $.
OWN_CLIENT_IDS = map("$DeleteConnection-{}".format, itertools.count())
TIMEOUT = 5.0
READ_INTERVAL = 0.05

_LINE = re.compile(r"(?P<stamp>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}): (?P<message>.*)")
_CONNECTED = re.compile(
    r"New client connected from (?P<address>\S+) as (?P<client>.*)"
    r" \(p(?P<protocol>\d), c(?P<clean>[01]), k(?P<keep_alive>\d+)(?:, u'(?P<user>.*)')?\)\."
)
# What follows the client ID says why the connection ended; AWS's names for it on the right.
_ENDS = (
    (" already connected, closing old connection.", "DUPLICATE_CLIENTID"),
    (" has exceeded timeout, disconnecting.", "MQTT_KEEP_ALIVE_TIMEOUT"),
    (" closed its connection.", "CONNECTION_LOST"),
    (" disconnected.", "CLIENT_INITIATED_DISCONNECT"),
    (" disconnected due to protocol error.", "CLIENT_ERROR"),
    (" disconnected due to malformed packet.", "CLIENT_ERROR"),
    (" disconnected: session taken over.", "DUPLICATE_CLIENTID"),
    (" disconnected, not authorised.", "AUTH_ERROR"),
    (" been disconnected by administrative action.", "API_INITIATED_DISCONNECT"),
)
_PRINCIPAL = re.compile(r"[0-9a-f]{64} (?P<expiry>\d+) ")
_OTHER_END = re.compile(r" (?:disconnected|been disconnected)(?: due to .*|: .*|, .*)?\.$")


class BrokerError(RuntimeError):
    """The broker did not do what was asked of it in time."""


@dataclass(frozen=True)
class Connected:
    """A client has connected; `user` is None for a client without one.

    Of a user name that the TLS endpoint gave (lab/haproxy/connect.lua) the second word is how long the session lasts,
    which MQTT 5 tells from whether it began clean.
    """

    client_id: str
    clean: bool
    keep_alive: int
    user: str | None

    @property
    def session(self) -> dict[str, Any]:
        """Whether the session ends with the connection, and otherwise how long it lasts after it."""
        if self.user is None or not (match := _PRINCIPAL.match(self.user)):
            return {"clean_session": self.clean}
        seconds = int(match["expiry"])
        return {"clean_session": False, "session_expiry": seconds} if seconds else {"clean_session": True}


@dataclass(frozen=True)
class Ended:
    """A client's connection has ended."""

    client_id: str
    reason: str


@dataclass(frozen=True)
class Started:
    """The broker has started: nobody is connected."""


Event = Connected | Ended | Started


def parse(line: str) -> tuple[datetime, Event] | None:
    """Return the connection event in a line of Mosquitto's log, with its time to the second."""
    match = _LINE.fullmatch(line.rstrip("\n"))
    event = _event(match["message"]) if match else None
    if match is None or event is None:
        return None
    return datetime.strptime(match["stamp"], "%Y-%m-%dT%H:%M:%S%z"), event


def _event(message: str) -> Event | None:
    if message.startswith("mosquitto version ") and message.endswith(" starting"):
        return Started()
    if match := _CONNECTED.fullmatch(message):
        return Connected(match["client"], match["clean"] == "1", int(match["keep_alive"]), match["user"])
    if not message.startswith("Client "):
        return None
    rest = message.removeprefix("Client ")
    for ending, reason in _ENDS:
        if rest.endswith(ending):
            return Ended(rest.removesuffix(ending), reason)
    if match := _OTHER_END.search(rest):
        return Ended(rest[: match.start()], "SERVER_INITIATED_DISCONNECT")
    return None


class Broker:
    """One region's broker. Its connections are in `table`, which follows the log."""

    def __init__(self, directory: Path, table: ConnectionTable) -> None:
        self._log = directory / "mosquitto.log"
        self._socket = directory / "mosquitto.sock"
        self.table = table
        self._lock = threading.Lock()
        self._position = 0
        self._rest = b""
        self._holders: dict[str, str | None] = {}
        self._cuts: dict[str, int] = {}

    def follow(self) -> None:
        """Read the log until the process ends."""
        while True:
            self.refresh()
            time.sleep(READ_INTERVAL)

    def refresh(self) -> None:
        """Process new lines of the log."""
        with self._lock:
            for line in self._new_lines():
                parsed = parse(line)
                if parsed is not None:
                    stamp, event = parsed
                    self._apply(event, _moment(stamp))

    def cut(self, client_id: str, *, clean: bool, will: bool) -> None:
        """Close a client's connection and, where `clean`, end its session; return when the log shows it.

        Args:
            will: whether the client's will is published.

        Raises:
            BrokerError: the broker did not answer, or its log did not show it.
        """
        connection = self.table.get(client_id)
        if connection is not None and connection.connected:
            before = self._cuts.get(client_id, 0)
            with _client(self._socket, next(OWN_CLIENT_IDS)) as client:
                asked = client.publish(mosquitto_plugin.TOPIC, f"{int(will)}{client_id}".encode(), qos=1)
                _wait(asked.is_published, partial(client.loop, 0.1), f"answer to the cut of {client_id!r}")
            _wait(
                lambda: self._cuts.get(client_id, 0) > before or not self._connected(client_id),
                self.refresh,
                f"trace of the cut of {client_id!r} in {self._log}",
            )
        if clean and connection is not None and not connection.clean_session:
            with _client(self._socket, client_id):
                pass

    def _connected(self, client_id: str) -> bool:
        connection = self.table.get(client_id)
        return connection is not None and connection.connected

    def _new_lines(self) -> list[str]:
        try:
            with self._log.open("rb") as stream:
                if stream.seek(0, 2) < self._position:
                    self._position, self._rest = 0, b""
                stream.seek(self._position)
                added = stream.read()
        except FileNotFoundError:
            return []
        self._position += len(added)
        *lines, self._rest = (self._rest + added).split(b"\n")
        return [line.decode(errors="replace") for line in lines]

    def _apply(self, event: Event, moment: int) -> None:
        match event:
            case Started():
                self._holders.clear()
                self.table.disconnect_all("CONNECTION_LOST", moment)
            case Connected(client_id=client_id, user=user) if user == USER:
                self._holders[client_id] = user
            case Connected():
                self._holders[event.client_id] = event.user
                self.table.connect(event.client_id, at=moment, keep_alive=event.keep_alive, **event.session)
            case Ended():
                if event.reason == "API_INITIATED_DISCONNECT":
                    self._cuts[event.client_id] = self._cuts.get(event.client_id, 0) + 1
                if self._holders.pop(event.client_id, None) != USER:
                    self.table.disconnect(event.client_id, event.reason, moment)


def _moment(stamp: datetime) -> int:
    """Return the time of a line in milliseconds: now, unless the line is older than its second."""
    return min(milliseconds(), int(stamp.timestamp() * 1000) + 999)


@contextmanager
def _client(socket_path: Path, client_id: str) -> Iterator[Client]:
    """Be connected to the broker, with a clean session."""
    client = Client(
        CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=True, protocol=MQTTv311, transport="unix"
    )
    client.username_pw_set(USER)
    try:
        client.connect(str(socket_path))
    except OSError as error:
        raise BrokerError(f"{socket_path}: {error.strerror}") from error
    _wait(client.is_connected, partial(client.loop, 0.1), f"CONNACK for {client_id!r}")
    yield client
    client.disconnect()


def _wait(done: Callable[[], bool], step: Callable[[], object], what: str) -> None:
    """Run the client's loop until it is done.

    Raises:
        BrokerError: there is no `what` in time.
    """
    deadline = time.monotonic() + TIMEOUT
    while not done():
        if time.monotonic() > deadline:
            raise BrokerError(f"no {what} in {TIMEOUT:g} s")
        step()
