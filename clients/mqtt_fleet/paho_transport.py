"""A connection through paho-mqtt (MQTT 3.1.1), which is given an established TLS connection."""

from __future__ import annotations

import itertools
import ssl
import threading
import time
from contextlib import suppress
from typing import Any, cast

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from mqtt_fleet import last_will, tls
from mqtt_fleet.attempt import MEMORY, Attempt, ConnectError
from mqtt_fleet.config import Config
from mqtt_fleet.probe import CLOSED_WITHOUT_CONNACK, diagnose
from mqtt_fleet.traffic import ResetWatch, Traffic, traffic
from mqtt_fleet.transport import (
    Acknowledged,
    Cause,
    Disconnected,
    PublishRefused,
    Received,
    Report,
    Subscribed,
    connected,
)

# RFC 8446, 5.1: the most that a record carries.
RECORD_BYTES = 1 << 14


class WatchedSocket(ssl.SSLSocket):
    """Remembers how it ended, which paho reports in the same words whatever it was; reads one TLS record at a time.

    paho reads in pieces of one or two bytes, and asks `pending` whether there is more.
    """

    closed_in_order: bool | None = None
    problem: OSError | None = None
    _watch: ResetWatch | None = None
    _record = b""
    _position = 0

    def pending(self) -> int:
        return len(self._record) - self._position + super().pending()

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        if self._position == len(self._record):
            self._record, self._position = self._receive(flags), 0
        piece = self._record[self._position : self._position + buflen]
        self._position += len(piece)
        return piece

    def _receive(self, flags: int) -> bytes:
        # Later is too late: OpenSSL reports a reset like an end, and answers an end in a way that causes a reset.
        self._watch = self._watch or ResetWatch(self)
        reset = self._watch.was_reset()
        try:
            received = super().recv(RECORD_BYTES, flags)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as error:
            self.problem = error
            raise
        if not received and self.closed_in_order is None:
            self.closed_in_order = not reset
        return received


class NamedContext(ssl.SSLContext):
    """A context that asks for, and verifies, one server name whatever address was connected to."""

    server_name = ""
    sslsocket_class = WatchedSocket

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        return super().wrap_socket(*arguments, **{**options, "server_hostname": self.server_name})


class HandedClient(Client):
    """Uses a connection that it is handed: paho-mqtt (2.2.0, client.py) has this method for it, and no public one."""

    handed: ssl.SSLSocket

    def _create_socket(self) -> ssl.SSLSocket:
        return self.handed


class PahoConnection:
    """See `transport.Connection`."""

    def __init__(self, config: Config, report: Report) -> None:
        self._config = config
        self._report = report
        self._closed = threading.Event()
        self._ended = threading.Event()
        # Tokens of publishes that paho did not accept: below its own numbers.
        self._untaken = itertools.count(-1, -1)
        self._subscriptions: dict[int | None, str] = {}
        # Its SUBACK may be there before the number is known.
        self._subscribing = threading.Lock()
        self._attempt = Attempt(config.endpoint)
        self._deadline = time.monotonic() + config.connect_timeout
        self._socket: WatchedSocket | None = None
        self._up = False
        self._refused = False
        self._client = HandedClient(
            CallbackAPIVersion.VERSION2,
            client_id=config.client_id,
            clean_session=config.session_expiry == 0,
            protocol=MQTTProtocolVersion.MQTTv311,
            # The outbox sends again what was in flight, on a connection of its own.
            reconnect_on_failure=False,
        )
        if config.will_topic:
            self._client.will_set(**last_will.paho_options(config))
        self._client.max_inflight_messages_set(config.window)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe
        threading.Thread(target=self._connect, name="connect", daemon=True).start()

    def publish(self, topic: str, payload: bytes) -> int:
        try:
            return self._client.publish(topic, payload, qos=1).mid
        except (OSError, ValueError, TypeError) as error:
            token = next(self._untaken)
            self._report(PublishRefused(token, None, f"paho-mqtt: {error}"))
            return token

    def subscribe(self, topic: str) -> None:
        try:
            with self._subscribing:
                _, mid = self._client.subscribe(topic, qos=1)
                self._subscriptions[mid] = topic
        except (OSError, ValueError, TypeError) as error:
            self._report(Subscribed(topic, f"paho-mqtt: {error}"))

    def traffic(self) -> Traffic | None:
        return traffic(self._socket) if self._socket else None

    def phase(self) -> str:
        return self._attempt.phase()

    def close(self, timeout: float = 0.0) -> None:
        self._closed.set()
        self._attempt.give_up(MEMORY)
        # The connection ends whatever paho says.
        with suppress(Exception):
            self._client.disconnect()
        if timeout:
            self._ended.wait(timeout)

    def _connect(self) -> None:
        """Resolve, connect and shake hands, which blocks; then let paho's own thread do the rest."""
        config = self._config
        try:
            secured = tls.secure(config, self._attempt, self._deadline, kind=WatchedSocket)
            if self._closed.is_set():
                secured.close()
                self._ended.set()
                return
            self._client.handed = secured
            self._socket = cast(WatchedSocket, secured)
            self._attempt.asks_broker()
            self._client.connect(self._attempt.address, config.port, keepalive=config.keep_alive)
            self._client.loop_start()
        except ConnectError as error:
            self._end(str(error))
        # What paho raises has no common class.
        except Exception as error:  # noqa: BLE001
            self._end(str(self._attempt.error(f"paho-mqtt: {type(error).__name__}: {error}")))
        if self._closed.is_set():
            # Closed while it was begun.
            with suppress(Exception):
                self._client.disconnect()

    def _end(self, reason: str, cause: Cause = Cause.LOST) -> None:
        self._ended.set()
        self._attempt.give_up(MEMORY)
        self._report(Disconnected(reason, cause))

    def _on_connect(self, _: Client, __: Any, flags: ConnectFlags, reason: ReasonCode, ___: Properties | None) -> None:
        if reason.is_failure:
            self._refused = True
            self._end(str(self._attempt.error(str(reason).lower())), Cause.REFUSED)
            return
        self._up = True
        self._attempt.succeeded(MEMORY)
        self._report(connected(self._config, self._attempt, flags.session_present))

    def _on_disconnect(self, _: Client, __: Any, ___: DisconnectFlags, reason: ReasonCode, ____: Any) -> None:
        self._ended.set()
        # Kept from the handshake on: paho drops the socket before it reports.
        seen = self._socket
        problem = seen.problem if seen else None
        if self._up and seen and seen.closed_in_order:
            self._end("the broker closed the connection", Cause.CLOSED)
        elif self._up:
            self._end(tls.explain(self._config, problem) if isinstance(problem, ssl.SSLError) else str(reason))
        elif not self._refused and not self._closed.is_set():
            self._end(self._why(problem))

    def _why(self, problem: OSError | None) -> str:
        """Why there is no CONNACK."""
        if isinstance(problem, ssl.SSLError):
            self._attempt.shakes_hands()
            return str(self._attempt.error(tls.explain(self._config, problem)))
        return diagnose(self._config, self._attempt) or str(self._attempt.error(CLOSED_WITHOUT_CONNACK))

    def _on_subscribe(self, _: Client, __: Any, mid: int, codes: list[ReasonCode], ___: Any) -> None:
        refused = next((str(code) for code in codes if code.is_failure), "")
        with self._subscribing:
            topic = self._subscriptions.pop(mid, "")
        self._report(Subscribed(topic, refused))

    def _on_publish(self, _: Client, __: Any, mid: int, ___: ReasonCode, ____: Properties) -> None:
        self._report(Acknowledged(mid))

    def _on_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        self._report(Received(message.topic, bytes(message.payload)))
