"""A connection through paho-mqtt (MQTT 3.1.1), to the addresses that the endpoint's name has at this moment."""

from __future__ import annotations

import itertools
import socket
import ssl
import threading
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from mqtt_fleet import credentials, last_will
from mqtt_fleet.config import Config
from mqtt_fleet.resolve import addresses
from mqtt_fleet.transport import (
    ALPN_PORT,
    ALPN_PROTOCOL,
    Acknowledged,
    Cause,
    Connected,
    Disconnected,
    PublishRefused,
    Received,
    Report,
    Subscribed,
)


class WatchedSocket(ssl.SSLSocket):
    """Remembers whether the peer closed it in order, which paho tells like any other end."""

    closed_in_order = False

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        received = super().recv(buflen, flags)
        self.closed_in_order = self.closed_in_order or (buflen > 0 and not received)
        return received


class NamedContext(ssl.SSLContext):
    """A context that asks for, and verifies, one server name whatever address was connected to."""

    server_name = ""
    sslsocket_class = WatchedSocket

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        return super().wrap_socket(*arguments, **{**options, "server_hostname": self.server_name})


class PahoConnection:
    """See `transport.Connection`."""

    def __init__(self, config: Config, report: Report) -> None:
        self._config = config
        self._report = report
        self._closed = threading.Event()
        self._ended = threading.Event()
        # Of what paho did not take: below its own numbers.
        self._untaken = itertools.count(-1, -1)
        self._subscriptions: dict[int | None, str] = {}
        self._socket: object = None
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=config.client_id,
            clean_session=config.session_expiry == 0,
            protocol=MQTTProtocolVersion.MQTTv311,
            # The outbox sends again what was in flight, on a connection of its own.
            reconnect_on_failure=False,
        )
        if config.will_topic:
            self._client.will_set(**last_will.paho_options(config))
        self._client.connect_timeout = config.connect_timeout
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
            _, mid = self._client.subscribe(topic, qos=1)
        except (OSError, ValueError, TypeError) as error:
            self._report(Subscribed(topic, f"paho-mqtt: {error}"))
            return
        self._subscriptions[mid] = topic

    def close(self, timeout: float = 0.0) -> None:
        self._closed.set()
        self._client.disconnect()
        if timeout:
            self._ended.wait(timeout)

    def _connect(self) -> None:
        """Resolve, connect and shake hands, which blocks; then let paho's own thread do the rest."""
        try:
            self._client.tls_set_context(tls_context(self._config))
            self._dial()
        except (OSError, ValueError) as error:
            self._ended.set()
            self._report(Disconnected(f"{type(error).__name__}: {error}"))
            return
        self._client.loop_start()
        if self._closed.is_set():
            self._client.disconnect()

    def _dial(self) -> None:
        """Connect to the first address that takes the connection."""
        config = self._config
        problem: Exception = OSError(f"{config.endpoint}: has no address")
        for address in addresses(config.endpoint, config.port, config.resolvers):
            if self._closed.is_set():
                break
            try:
                self._client.connect(address, config.port, keepalive=config.keep_alive)
            except (OSError, ValueError) as error:
                problem = error
            else:
                return
        raise problem

    def _on_connect(
        self, client: Client, _: Any, flags: ConnectFlags, reason: ReasonCode, __: Properties | None
    ) -> None:
        if reason.is_failure:
            self._report(Disconnected(f"CONNACK: {reason}", Cause.REFUSED))
            return
        self._socket = client.socket()
        self._report(Connected(flags.session_present, _peer(client)))

    def _on_disconnect(self, _: Client, __: Any, ___: DisconnectFlags, reason: ReasonCode, ____: Any) -> None:
        self._ended.set()
        # Kept from the CONNACK on: paho forgets the socket before it tells.
        in_order = getattr(self._socket, "closed_in_order", False)
        if in_order:
            self._report(Disconnected("the broker closed the connection", Cause.CLOSED))
        else:
            self._report(Disconnected(str(reason)))

    def _on_subscribe(self, _: Client, __: Any, mid: int, codes: list[ReasonCode], ___: Any) -> None:
        refused = next((str(code) for code in codes if code.is_failure), "")
        self._report(Subscribed(self._subscriptions.pop(mid, ""), refused))

    def _on_publish(self, _: Client, __: Any, mid: int, ___: ReasonCode, ____: Properties) -> None:
        self._report(Acknowledged(mid))

    def _on_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        self._report(Received(message.topic, bytes(message.payload)))


def tls_context(config: Config) -> ssl.SSLContext:
    """Mutual TLS; the server is verified against the CA file and the endpoint's name.

    Raises:
        OSError: a file is missing, or key and certificate do not belong together (ssl.SSLError).
    """
    context = NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.server_name = config.endpoint
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    credentials.load(context, config)
    if config.port == ALPN_PORT:
        context.set_alpn_protocols([ALPN_PROTOCOL])
    return context


def _peer(client: Client) -> str | None:
    connection = client.socket()
    if not isinstance(connection, socket.socket):
        return None
    try:
        return "{}:{}".format(*connection.getpeername()[:2])
    except OSError:
        return None
