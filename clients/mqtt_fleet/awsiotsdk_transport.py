"""A connection through the AWS IoT Device SDK (MQTT 5).

The SDK's resolver remembers each address for 30 s whatever the record's TTL, and hands it out while
it does (aws-c-io, source/host_resolver.c, AWS_DEFAULT_DNS_TTL): a client that is disconnected right
after its name moved would go back to where it came from. So every connection has an event loop
group, a resolver and a bootstrap of its own, and the SDK's own reconnecting is kept from happening.
It goes through a `Tunnel`, which chooses the address, since the SDK would stay with one that takes TCP and nothing
more, and reports neither its peer nor what it waits for.
"""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import Future
from contextlib import suppress

from awscrt import mqtt5
from awscrt.http import HttpProxyConnectionType, HttpProxyOptions
from awscrt.io import ClientBootstrap, DefaultHostResolver, EventLoopGroup

from mqtt_fleet import last_will
from mqtt_fleet.attempt import MEMORY, Attempt
from mqtt_fleet.awsiotsdk_credentials import client_builder
from mqtt_fleet.config import Config
from mqtt_fleet.probe import CLOSED_WITHOUT_CONNACK, diagnose
from mqtt_fleet.text import printable
from mqtt_fleet.traffic import Traffic
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
from mqtt_fleet.tunnel import Tunnel

# Longer than any connection lives after it failed.
NEVER_RECONNECT_MS = 3_600_000
# After the broker's last bytes; libraries answer in milliseconds.
SILENCE_SECONDS = 1.0
# MQTT 5, 3.14.2.1: what a broker says that ends one connection on purpose: normal, administrative action, use another
# server, server moved. What AWS says to DeleteConnection is not documented; "administrative action" is on its list.
ADMINISTRATIVE = (0x00, 0x98, 0x9C, 0x9D)
TAKEN_OVER = 0x8E
# The SDK's errors where it cannot use a certificate, a key or a CA file.
FILE_ERRORS = ("TLS_CTX_ERROR", "INVALID_ARGUMENT", "AWS_ERROR_PEM", "FILE_VALIDATION")
# The SDK's errors for a packet that it does not send; the others mean that the connection has ended.
NOT_SENT = ("VALIDATION", "ENCODE", "INVALID_ARGUMENT")


class AwsIotSdkConnection:
    """See `transport.Connection`."""

    def __init__(self, config: Config, report: Report) -> None:
        self._config = config
        self._report = report
        self._tokens = itertools.count(1)
        self._stopped = threading.Event()
        self._settled = threading.Event()
        self._up = False
        self._attempt = Attempt(config.endpoint)
        self._tunnel = Tunnel(config, self._attempt)
        self._client: mqtt5.Client | None = None
        try:
            self._client = self._build()
            self._client.start()
            threading.Thread(target=self._watch_handshake, name="handshake", daemon=True).start()
        # What the SDK raises has no common class.
        except Exception as error:  # noqa: BLE001
            self._stopped.set()
            self._tunnel.close()
            report(Disconnected(f"{config.endpoint}: AWS IoT SDK: {_said(error)}{_files(config, error)}"))

    def _build(self) -> mqtt5.Client:
        config = self._config
        group = EventLoopGroup(1)
        persistent = config.session_expiry > 0
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
            # As long as possible: a PINGREQ waits, unsent, behind the messages on a slow link.
            ping_timeout_ms=(config.keep_alive - 1) * 1000,
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

    def traffic(self) -> Traffic | None:
        return self._tunnel.traffic()

    def phase(self) -> str:
        return self._attempt.phase()

    def close(self, timeout: float = 0.0) -> None:
        deadline = time.monotonic() + timeout
        self._settled.set()
        if client := self._client:
            # It ends with the tunnel, whatever the SDK says.
            with suppress(Exception):
                client.stop(mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.NORMAL_DISCONNECTION))
        if timeout:
            self._stopped.wait(timeout)
            self._tunnel.wait(max(0.0, deadline - time.monotonic()))
        # One that is up ends when the SDK closes its end, after its DISCONNECT.
        if not self._up:
            self._tunnel.close()
        self._attempt.give_up(MEMORY)
        # The SDK's object refers to this one's methods: only dropping it here frees both.
        self._client = None

    def _end(self, reason: str, cause: Cause = Cause.LOST) -> None:
        self._settled.set()
        if client := self._client:
            with suppress(Exception):
                client.stop()
        self._attempt.give_up(MEMORY)
        self._report(Disconnected(reason, cause))

    def _on_success(self, data: mqtt5.LifecycleConnectSuccessData) -> None:
        self._up = True
        self._settled.set()
        self._attempt.succeeded(MEMORY)
        self._report(connected(self._config, self._attempt, data.connack_packet.session_present))

    def _on_failure(self, data: mqtt5.LifecycleConnectFailureData) -> None:
        if packet := data.connack_packet:
            self._attempt.asks_broker()
            said = f": {printable(packet.reason_string)}" if packet.reason_string else ""
            self._end(str(self._attempt.error(f"{words(packet.reason_code)}{said}")), Cause.REFUSED)
        elif problem := self._tunnel.problem:
            self._end(problem)
        else:
            # Not in the SDK's thread, since it takes time.
            why = threading.Thread(target=self._explain, args=(data.exception,), name="diagnose", daemon=True)
            why.start()

    def _watch_handshake(self) -> None:
        """Find out what is wrong where the SDK goes silent after the broker's certificate.

        It reports that it rejects one only after a random pause of 10 to 30 s (s2n-tls, usage guide, "Blinding"),
        which is longer than an attempt lasts.
        """
        silence = min(SILENCE_SECONDS, self._config.connect_timeout / 5)
        while not self._settled.wait(silence / 2):
            heard = self._tunnel.heard_at
            if heard and self._attempt.at.startswith("TLS") and time.monotonic() - heard >= silence:
                problem = diagnose(self._config, self._attempt)
                if problem and not self._settled.is_set():
                    self._end(problem)
                return

    def _explain(self, error: Exception) -> None:
        """Why there is no CONNACK."""
        said = f"AWS IoT SDK: {_said(error)}"
        if not self._attempt.far:
            self._end(str(self._attempt.error(said)))
            return
        if self._attempt.at.startswith("CONNACK"):
            said = f"{CLOSED_WITHOUT_CONNACK} {said}"
        else:
            # s2n-tls then ends the handshake, in which OpenSSL sees nothing wrong.
            said = f"{said}: does the broker ask for the client's certificate? The SDK wants it to"
        self._end(diagnose(self._config, self._attempt) or str(self._attempt.error(said)))

    def _on_disconnection(self, data: mqtt5.LifecycleDisconnectData) -> None:
        if packet := data.disconnect_packet:
            self._end(f"DISCONNECT: {words(packet.reason_code)}", _cause(packet.reason_code))
        else:
            self._end(_said(data.exception))

    def _on_published(self, token: int, result: Future[mqtt5.PublishCompletionData]) -> None:
        if error := result.exception():
            # Any other means that the connection is ending: its own event follows.
            if any(word in str(error) for word in NOT_SENT):
                self._report(PublishRefused(token, None, f"AWS IoT SDK: {error}"))
            return
        # None: what the SDK makes of a code that MQTT 5 has not for a PUBACK, such as 0x95.
        code, unspecified = result.result().puback.reason_code, mqtt5.PubackReasonCode.UNSPECIFIED_ERROR
        if code is None or code >= unspecified:
            self._report(PublishRefused(token, int(unspecified if code is None else code), f"PUBACK: {words(code)}"))
        else:
            self._report(Acknowledged(token))

    def _on_subscribed(self, topic: str, result: Future[mqtt5.SubackPacket]) -> None:
        if error := result.exception():
            if any(word in str(error) for word in NOT_SENT):
                self._report(Subscribed(topic, f"AWS IoT SDK: {error}"))
            return
        # None: a code that the SDK does not know.
        codes = result.result().reason_codes
        refused = [code for code in codes if code is None or code >= mqtt5.SubackReasonCode.UNSPECIFIED_ERROR]
        self._report(Subscribed(topic, f"SUBACK: {words(refused[0])}" if refused else ""))

    def _on_received(self, data: mqtt5.PublishReceivedData) -> None:
        packet = data.publish_packet
        self._report(Received(packet.topic, packet.payload or b""))


def _cause(code: int) -> Cause:
    if code == TAKEN_OVER:
        return Cause.TAKEN_OVER
    return Cause.CLOSED if code in ADMINISTRATIVE else Cause.LOST


def words(code: int | None) -> str:
    """A reason code of MQTT 5 as text, such as "not authorized (0x87)"."""
    if code is None:
        return "a reason code that MQTT 5 does not have for it"
    name = getattr(code, "name", "").lower().replace("_", " ")
    return f"{name} (0x{int(code):02x})".strip()


def _files(config: Config, error: Exception) -> str:
    """Which files the SDK may mean: it does not say, and takes less than OpenSSL does."""
    if not any(word in str(error) for word in FILE_ERRORS):
        return ""
    names = (config.certificate, config.private_key, config.ca)
    return ": it does not take one of " + ", ".join(str(name) for name in names)


def _said(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__
