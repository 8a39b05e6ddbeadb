"""A connection through the AWS IoT Device SDK (MQTT 5).

The SDK's resolver remembers each address for 30 s whatever the record's TTL, and hands it out while
it does (aws-c-io, source/host_resolver.c, AWS_DEFAULT_DNS_TTL): a client that is disconnected right
after its name moved would go back to where it came from. So every connection has an event loop
group, a resolver and a bootstrap of its own, and the SDK's own reconnecting is kept from happening.
Where DNS servers are to be asked directly, it goes through a `Tunnel`.
"""

from __future__ import annotations

import itertools
import os
import socket
import stat
import threading
from concurrent.futures import Future
from pathlib import Path

from awscrt import mqtt5
from awscrt.exceptions import AwsCrtError
from awscrt.http import HttpProxyConnectionType, HttpProxyOptions
from awscrt.io import ClientBootstrap, DefaultHostResolver, EventLoopGroup

from mqtt_fleet import last_will
from mqtt_fleet.awsiotsdk_credentials import client_builder
from mqtt_fleet.config import Config
from mqtt_fleet.transport import (
    Acknowledged,
    Cause,
    Connected,
    Disconnected,
    PublishRefused,
    Received,
    Report,
    Subscribed,
)
from mqtt_fleet.tunnel import Tunnel

# Longer than any connection lives after it failed.
NEVER_RECONNECT_MS = 3_600_000
PING_TIMEOUT_MS = 10_000
# MQTT 5, 3.14.2.1: what a broker says that ends one connection on purpose: normal, administrative action, use another
# server, server moved. What AWS says to DeleteConnection is not documented; "administrative action" is on its list.
ADMINISTRATIVE = (0x00, 0x98, 0x9C, 0x9D)
TAKEN_OVER = 0x8E
# The SDK's errors for a packet that it does not send; the others tell that the connection has ended.
NOT_SENT = ("VALIDATION", "ENCODE", "INVALID_ARGUMENT")


class AwsIotSdkConnection:
    """See `transport.Connection`."""

    def __init__(self, config: Config, report: Report) -> None:
        self._config = config
        self._report = report
        self._tokens = itertools.count(1)
        self._stopped = threading.Event()
        self._earlier_sockets = set(_peers(config.port))
        self._client: mqtt5.Client | None = None
        self._tunnel: Tunnel | None = None
        try:
            self._client = self._build()
        except (AwsCrtError, OSError, ValueError) as error:
            self._stopped.set()
            report(Disconnected(f"{type(error).__name__}: {error}"))
            return
        self._client.start()

    def _build(self) -> mqtt5.Client:
        config = self._config
        group = EventLoopGroup(1)
        persistent = config.session_expiry > 0
        proxy = None
        if config.resolvers:
            self._tunnel = Tunnel(config)
            tunneling = HttpProxyConnectionType.Tunneling
            proxy = HttpProxyOptions("127.0.0.1", self._tunnel.port, connection_type=tunneling)
        behavior = mqtt5.ClientSessionBehaviorType
        return client_builder(config)(
            endpoint=config.endpoint,
            port=config.port,
            client_id=config.client_id,
            **last_will.awsiotsdk_options(config),
            http_proxy_options=proxy,
            client_bootstrap=ClientBootstrap(group, DefaultHostResolver(group)),
            keep_alive_interval_sec=config.keep_alive,
            ping_timeout_ms=PING_TIMEOUT_MS,
            connack_timeout_ms=int(config.connect_timeout * 1000),
            session_behavior=behavior.REJOIN_ALWAYS if persistent else behavior.CLEAN,
            session_expiry_interval_sec=config.session_expiry,
            # The outbox sends again what was in flight, on a connection of its own.
            offline_queue_behavior=mqtt5.ClientOperationQueueBehaviorType.FAIL_ALL_ON_DISCONNECT,
            # The library's own holds back at 100 a second, whatever the configured rate.
            extended_validation_and_flow_control_options=mqtt5.ExtendedValidationAndFlowControlOptions.NONE,
            min_reconnect_delay_ms=NEVER_RECONNECT_MS,
            max_reconnect_delay_ms=NEVER_RECONNECT_MS,
            retry_jitter_mode=mqtt5.ExponentialBackoffJitterMode.NONE,
            on_lifecycle_connection_success=self._on_success,
            on_lifecycle_connection_failure=self._on_failure,
            on_lifecycle_disconnection=self._on_disconnection,
            on_lifecycle_stopped=lambda _: self._stopped.set(),
            on_publish_received=self._on_received,
        )

    def publish(self, topic: str, payload: bytes) -> int:
        token = next(self._tokens)
        if client := self._client:
            packet = mqtt5.PublishPacket(topic=topic, payload=payload, qos=mqtt5.QoS.AT_LEAST_ONCE)
            try:
                client.publish(packet).add_done_callback(lambda result: self._on_published(token, result))
            # What the SDK raises has no common class.
            except Exception as error:  # noqa: BLE001
                self._report(PublishRefused(token, None, f"AWS IoT SDK: {error}"))
        return token

    def subscribe(self, topic: str) -> None:
        if client := self._client:
            subscription = mqtt5.Subscription(topic_filter=topic, qos=mqtt5.QoS.AT_LEAST_ONCE)
            packet = mqtt5.SubscribePacket(subscriptions=[subscription])
            try:
                client.subscribe(packet).add_done_callback(lambda result: self._on_subscribed(topic, result))
            except Exception as error:  # noqa: BLE001
                self._report(Subscribed(topic, f"AWS IoT SDK: {error}"))

    def close(self, timeout: float = 0.0) -> None:
        if client := self._client:
            client.stop(mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.NORMAL_DISCONNECTION))
        if timeout:
            self._stopped.wait(timeout)
        if tunnel := self._tunnel:
            tunnel.close()
        # The SDK's object refers to this one's methods: only dropping it here frees both.
        self._client = None

    def _end(self, reason: str, cause: Cause = Cause.LOST) -> None:
        if client := self._client:
            client.stop()
        self._report(Disconnected(reason, cause))

    def _on_success(self, data: mqtt5.LifecycleConnectSuccessData) -> None:
        peers = _peers(self._config.port)
        address = next((peers[inode] for inode in peers if inode not in self._earlier_sockets), None)
        if self._tunnel:
            address = self._tunnel.peer
        self._report(Connected(data.connack_packet.session_present, address))

    def _on_failure(self, data: mqtt5.LifecycleConnectFailureData) -> None:
        problem = self._tunnel.problem if self._tunnel else ""
        if packet := data.connack_packet:
            self._end(f"CONNACK: {packet.reason_code!r}", Cause.REFUSED)
        else:
            self._end(problem or str(data.exception))

    def _on_disconnection(self, data: mqtt5.LifecycleDisconnectData) -> None:
        if packet := data.disconnect_packet:
            self._end(f"DISCONNECT: {packet.reason_code!r}", _cause(packet.reason_code))
        else:
            self._end(str(data.exception))

    def _on_published(self, token: int, result: Future[mqtt5.PublishCompletionData]) -> None:
        if error := result.exception():
            # Any other means that the connection is ending: its own event follows.
            if any(word in str(error) for word in NOT_SENT):
                self._report(PublishRefused(token, None, f"AWS IoT SDK: {error}"))
            return
        code = result.result().puback.reason_code
        if code >= mqtt5.PubackReasonCode.UNSPECIFIED_ERROR:
            self._report(PublishRefused(token, int(code), f"PUBACK: {code!r}"))
            return
        self._report(Acknowledged(token))

    def _on_subscribed(self, topic: str, result: Future[mqtt5.SubackPacket]) -> None:
        if error := result.exception():
            if any(word in str(error) for word in NOT_SENT):
                self._report(Subscribed(topic, f"AWS IoT SDK: {error}"))
            return
        refused = [code for code in result.result().reason_codes if code >= mqtt5.SubackReasonCode.UNSPECIFIED_ERROR]
        self._report(Subscribed(topic, f"SUBACK: {refused[0]!r}" if refused else ""))

    def _on_received(self, data: mqtt5.PublishReceivedData) -> None:
        packet = data.publish_packet
        self._report(Received(packet.topic, packet.payload or b""))


def _cause(code: int) -> Cause:
    if code == TAKEN_OVER:
        return Cause.TAKEN_OVER
    return Cause.CLOSED if code in ADMINISTRATIVE else Cause.LOST


def _peers(port: int) -> dict[int, str]:
    """This process's TCP connections to a port, as {inode: "address:port"}: the SDK does not tell its peer."""
    peers = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            status = os.fstat(int(entry.name))
            if not stat.S_ISSOCK(status.st_mode):
                continue
            with socket.socket(fileno=os.dup(int(entry.name))) as duplicate:
                if duplicate.family in (socket.AF_INET, socket.AF_INET6) and duplicate.getpeername()[1] == port:
                    peers[status.st_ino] = "{}:{}".format(*duplicate.getpeername()[:2])
        except OSError:
            continue
    return peers
