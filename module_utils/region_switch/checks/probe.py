"""Connects to a region's MQTT endpoint as a device would, wherever the CNAMEs point."""

from __future__ import annotations

import secrets
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import dns.exception
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ..dns.gate import resolver
from ..model.dns_server import parse_server
from ..model.errors import SwitchError, printable
from ..setup.server_certificate import Certificate

Shown = TypeVar("Shown")
# Seconds for each step: TCP, TLS, and CONNECT with PUBLISH.
TIMEOUT = 5
# On port 443, ALPN selects MQTT with a client certificate
# (https://docs.aws.amazon.com/iot/latest/developerguide/protocols.html).
ALPN_PORT, ALPN = 443, "x-amzn-mqtt-ca"
# What the policy of a probe's certificate has to allow: a client ID that begins so, and publishing to this topic.
CLIENT_ID_PREFIX = "region-switch-probe-"
TOPIC = "region-switch/probe"


class ProbeError(SwitchError):
    """An endpoint did not admit the probe.

    Attributes:
        problem: what happened, without the host and port.
        untrusted: whether a device would not trust the server's certificate.
    """

    def __init__(self, place: str, problem: str, *, untrusted: bool = False) -> None:
        self.untrusted = untrusted
        self.problem = printable(" ".join(problem.split()))
        super().__init__(f"{place}: {self.problem}: see Is the other region ready? in docs/runbook.md")


class ProbeFileError(ProbeError):
    """A file of this machine cannot be used; no connection was tried.

    Attributes:
        option: the variable that names the file.
    """

    def __init__(self, place: str, problem: str, option: str) -> None:
        self.option = option
        super().__init__(place, problem)


@dataclass(frozen=True)
class ServerCertificate:
    """The certificate that a server sent, with chain, name and dates verified.

    Attributes:
        not_after: epoch seconds.
        fingerprint: SHA-256 of the DER, lower-case hex.
        issuer: RFC 4514 text.
    """

    not_after: float
    fingerprint: str
    issuer: str


def client_id() -> str:
    """A client ID that no other probe uses: AWS allows one connection per ID, and one CONNECT per second."""
    return CLIENT_ID_PREFIX + secrets.token_hex(4)


def locate(host: str, resolvers: Sequence[str]) -> str:
    """Return an address of the host from these resolvers; without resolvers the host, for the system to resolve.

    Args:
        resolvers: `address` or `address:port`.

    Raises:
        ProbeError: none of them resolves it.
    """
    if not resolvers:
        return host
    lookup = resolver([parse_server(text, recursive=True) for text in resolvers])
    try:
        found = lookup.resolve_name(host, lifetime=float(TIMEOUT)).addresses()
        return str(min(found, key=lambda address: ":" in address))
    except dns.exception.DNSException as error:
        raise ProbeError(host, f"no address ({type(error).__name__})") from error


def handshake(
    host: str,
    port: int,
    server_name: str,
    ca_file: str | None,
    certificate: str | None = None,
    private_key: str | None = None,
) -> ServerCertificate:
    """Do a TLS handshake as a device does, with SNI, and return the server's certificate once it is verified.

    Args:
        host: where to connect to, a name or an address.
        server_name: the endpoint's name: SNI, and what the certificate must be for.
        ca_file: PEM of the CA that the chain must end at; None: the system's.
        certificate, private_key: the client's; before TLS 1.3, a server that requires one aborts the handshake without.

    Raises:
        ProbeError: no connection, or a certificate that a device would not trust.
    """
    place = f"{server_name} at {host}:{port}"
    return _peer(_context(place, ca_file, certificate, private_key), host, port, server_name, _described)


def _described(found: x509.Certificate) -> ServerCertificate:
    fingerprint, issuer = found.fingerprint(SHA256()).hex(), found.issuer.rfc4514_string()
    return ServerCertificate(found.not_valid_after_utc.timestamp(), fingerprint, issuer)


def shown(
    host: str, port: int, server_name: str, certificate: str | None = None, private_key: str | None = None
) -> Certificate:
    """Do a TLS handshake as a device does, with SNI, and return the server's certificate without verifying it.

    Args:
        host, port, server_name, certificate, private_key: as for `handshake`.

    Raises:
        ProbeError: no connection, or no certificate to be seen.
    """
    place = f"{server_name} at {host}:{port}"
    context = _context(place, None, certificate, private_key)
    # Unverified: nothing is sent, and the caller wants to see a wrong certificate, too.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return _peer(context, host, port, server_name, Certificate)


def _peer(
    context: ssl.SSLContext, host: str, port: int, server_name: str, read: Callable[[x509.Certificate], Shown]
) -> Shown:
    """Do a TLS handshake, with ALPN where MQTT needs it, and return `read` of the server's certificate.

    Raises:
        ProbeError: no connection, or a certificate that the context does not trust, or that cannot be read.
    """
    _speak_mqtt(context, port)
    try:
        with (
            socket.create_connection((host, port), TIMEOUT) as plain,
            context.wrap_socket(plain, server_hostname=server_name) as connection,
        ):
            return read(x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b""))
    except (OSError, ValueError) as error:
        untrusted = isinstance(error, ssl.SSLCertVerificationError)
        raise ProbeError(f"{server_name} at {host}:{port}", _words(error), untrusted=untrusted) from error


def connect(
    host: str,
    port: int,
    server_name: str,
    ca_file: str | None,
    certificate: str,
    private_key: str,
) -> None:
    """Connect as a device does, publish one message to TOPIC with QoS 1 and return when it is acknowledged.

    Args:
        host, port, server_name, ca_file: as for `handshake`.
        certificate, private_key: PEM files of the client.

    Raises:
        ProbeError: at which step it ended, with the server's reason where it gave one.
    """
    place = f"{server_name} at {host}:{port}"
    context = _context(place, ca_file, certificate, private_key, server_name)
    _speak_mqtt(context, port)
    connection = _Connection(context)
    try:
        problem = connection.publish(host, port)
    except (OSError, ValueError) as error:
        problem = _words(error)
    if problem:
        raise ProbeError(place, problem)


def _speak_mqtt(context: ssl.SSLContext, port: int) -> None:
    if port == ALPN_PORT:
        context.set_alpn_protocols([ALPN])


class _NamedContext(ssl.SSLContext):
    """A context that sends and verifies one server name, whatever address is connected to."""

    server_name: str | None = None

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        name = self.server_name or options.get("server_hostname")
        return super().wrap_socket(*arguments, **{**options, "server_hostname": name})


def _context(
    place: str,
    ca_file: str | None,
    certificate: str | None,
    private_key: str | None,
    server_name: str | None = None,
) -> ssl.SSLContext:
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.server_name = server_name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if ca_file:
            context.load_verify_locations(ca_file)
        else:
            context.load_default_certs()
    except OSError as error:
        problem = f"no usable PEM in {ca_file} ({_words(error)})"
        raise ProbeFileError(place, problem, "failover_ca_file") from error
    if certificate:
        _load_own(context, place, certificate, private_key)
    return context


def _load_own(context: ssl.SSLContext, place: str, certificate: str, private_key: str | None) -> None:
    asked: list[str] = []

    def passphrase() -> str:
        # Without this, OpenSSL prompts on the terminal.
        asked.append(place)
        return ""

    key = private_key or certificate
    try:
        context.load_cert_chain(certificate, private_key, passphrase)
    except OSError as error:
        if asked:
            problem = f"an encrypted private key in {key}"
            raise ProbeFileError(place, problem, "failover_probe_private_key") from error
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            problem = f"the private key of another certificate than {certificate} in {key}"
            raise ProbeFileError(place, problem, "failover_probe_private_key") from error
        option = "failover_probe_certificate and failover_probe_private_key"
        problem = f"no usable PEM in {certificate}, {key} ({_words(error)})"
        raise ProbeFileError(place, problem, option) from error


def file_problem(ca_file: str | None, certificate: str | None, private_key: str | None) -> ProbeFileError | None:
    """Why one of the files cannot be used; None where all can."""
    try:
        _context("files", ca_file, certificate, private_key)
    except ProbeFileError as error:
        return error
    return None


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"a server certificate that is not trusted ({error.verify_message.rstrip('.')})"
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


class _Connection:
    """One MQTT connection of the probe; `_step` is the packet that it waits for, empty after the last."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._step = "CONNACK"
        self._problem: str | None = None
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id(),
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        client.tls_set_context(context)
        client.connect_timeout = TIMEOUT
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        self._client = client

    def publish(self, host: str, port: int) -> str | None:
        """Connect and publish one message; return the problem, or None when the message was acknowledged."""
        # The library uses the keep-alive as the timeout of the TLS handshake.
        self._client.connect(host, port, keepalive=TIMEOUT)
        deadline = time.monotonic() + TIMEOUT
        while self._step and not self._problem:
            if time.monotonic() > deadline:
                self._problem = f"no {self._step} within {TIMEOUT} s"
            self._client.loop(0.1)
        self._client.disconnect()
        return self._problem

    def _on_connect(self, client: Client, _: Any, __: ConnectFlags, reason: ReasonCode, ___: Properties | None) -> None:
        if reason.is_failure:
            self._problem = f"CONNACK {reason}"
            return
        self._step = "PUBACK"
        client.publish(TOPIC, b"probe", qos=1)

    def _on_publish(self, _: Client, __: Any, ___: int, reason: ReasonCode, ____: Properties | None) -> None:
        if reason.is_failure:
            self._problem = f"PUBACK {reason}"
        self._step = ""

    def _on_disconnect(
        self, _: Client, __: Any, flags: DisconnectFlags, reason: ReasonCode, ___: Properties | None
    ) -> None:
        if self._step and not self._problem:
            ended = f"DISCONNECT {reason}" if flags.is_disconnect_packet_from_server else "the connection closed"
            self._problem = f"{ended} instead of {self._step}"
