"""TLS with the endpoint as both libraries use it, and in words why it fails.

OpenSSL's words name neither the file nor the date, and the AWS SDK's not even the alert: what it cannot say is found
out by a handshake of Python's own with the same files.
"""

from __future__ import annotations

import math
import select
import socket
import ssl
import time
from collections.abc import Callable
from functools import partial

from mqtt_fleet import credentials
from mqtt_fleet.attempt import MEMORY, Attempt
from mqtt_fleet.clock import iso
from mqtt_fleet.config import Config
from mqtt_fleet.dial import reach
from mqtt_fleet.x509 import validity

# AWS IoT Core, "Device communication protocols": MQTT with a client certificate on port 443 needs this ALPN.
ALPN_PORT = 443
ALPN_PROTOCOL = "x-amzn-mqtt-ca"

# OpenSSL, include/openssl/x509_vfy.h: what is wrong with a certificate.
NOT_YET_VALID, EXPIRED = 9, 10
UNKNOWN_ISSUER = (2, 18, 19, 20, 21)
NAME_MISMATCH = (62, 64)
# RFC 8446, 6.2: alerts with which a server refuses the client's certificate, as OpenSSL calls them.
CLIENT_ALERTS = {
    "BAD_CERTIFICATE": "is bad",
    "UNSUPPORTED_CERTIFICATE": "is of a kind that it does not take",
    "CERTIFICATE_REVOKED": "is revoked",
    "CERTIFICATE_EXPIRED": "has expired, or is not valid yet",
    "CERTIFICATE_UNKNOWN": "is not known, or not active",
    "UNKNOWN_CA": "is of a CA that it does not know",
    "ACCESS_DENIED": "is not admitted",
    "CERTIFICATE_REQUIRED": "was not sent",
}
VERSION_REASONS = ("UNSUPPORTED_PROTOCOL", "ALERT_PROTOCOL_VERSION", "WRONG_VERSION_NUMBER", "NO_PROTOCOLS_AVAILABLE")
# In TLS 1.3 a server refuses a client's certificate after the client's handshake is done, RFC 8446, 4.4.2.4.
LATE_ALERT_SECONDS = 1.0
CLOSED_AFTERWARDS = "the broker closed the connection after the handshake: does it admit the certificate?"


def context(config: Config) -> ssl.SSLContext:
    """Mutual TLS; the server is verified against the CA file and the endpoint's name.

    Raises:
        OSError: a file is missing, or key and certificate do not belong together (ssl.SSLError).
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    credentials.load(made, config)
    if config.port == ALPN_PORT:
        made.set_alpn_protocols([ALPN_PROTOCOL])
    return made


def secure(
    config: Config, attempt: Attempt, deadline: float, address: str = "", kind: type[ssl.SSLSocket] = ssl.SSLSocket
) -> ssl.SSLSocket:
    """Connect and make TLS, see `dial.reach`; the result blocks.

    Args:
        kind: class of the result.

    Raises:
        ConnectError: no address can be reached, or TLS fails.
    """
    raw = reach(config, attempt, deadline, address)
    attempt.shakes_hands()
    try:
        made = context(config)
        made.sslsocket_class = kind
        return _secured(made, attempt, config.endpoint, raw, deadline)
    except (OSError, ValueError) as error:
        raw.close()
        MEMORY.failed(attempt.address)
        seen = address if config.proxy else attempt.address
        leaf = partial(_server_certificate, config, seen, deadline)
        raise attempt.error(explain(config, error, leaf)) from error


def _secured(made: ssl.SSLContext, attempt: Attempt, name: str, raw: socket.socket, deadline: float) -> ssl.SSLSocket:
    raw.setblocking(False)
    secured = made.wrap_socket(raw, server_hostname=name, do_handshake_on_connect=False)
    # It has taken the descriptor over.
    attempt.holds(secured)
    try:
        while True:
            try:
                secured.do_handshake()
                break
            except ssl.SSLWantReadError:
                _wait(secured, select.POLLIN, deadline)
            except ssl.SSLWantWriteError:
                _wait(secured, select.POLLOUT, deadline)
    except BaseException:
        secured.close()
        raise
    secured.setblocking(True)
    return secured


def _wait(secured: ssl.SSLSocket, event: int, deadline: float) -> None:
    # poll(), since select() knows no numbers of files from 1024 on.
    poll = select.poll()
    poll.register(secured, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise socket.timeout("no answer")


def late_refusal(config: Config, secured: ssl.SSLSocket, deadline: float) -> str:
    """Wait a moment for the alert that refuses the client's certificate; why it is refused, or ""."""
    if secured.version() != "TLSv1.3":
        return ""
    secured.settimeout(min(max(0.001, deadline - time.monotonic()), LATE_ALERT_SECONDS))
    try:
        if secured.recv(1):
            return ""
    except (socket.timeout, ssl.SSLWantReadError):
        return ""
    except OSError as error:
        return explain(config, error)
    return CLOSED_AFTERWARDS


def explain(config: Config, error: BaseException, leaf: Callable[[], bytes] | None = None) -> str:
    """Why a handshake failed, or a read after it, in words and with what to look at.

    Args:
        leaf: gets the server's certificate, in DER, whatever it is; it may raise OSError or ValueError.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return _server_refused(config, error, leaf)
    if isinstance(error, (socket.timeout, TimeoutError)):
        return "no answer"
    if isinstance(error, (ssl.SSLEOFError, ConnectionResetError, BrokenPipeError)):
        return "the connection was closed in the middle: is it the right port, and does the broker know the name?"
    reason = getattr(error, "reason", None) or ""
    if reason.endswith("HANDSHAKE_FAILURE"):
        return f"{_words(reason)}: the broker takes none of our ciphers, or wants another certificate"
    if any(part in reason for part in VERSION_REASONS):
        return f"{_words(reason)}: the broker speaks no TLS 1.2 or 1.3 at this port"
    for name, words in CLIENT_ALERTS.items():
        if reason.endswith(f"ALERT_{name}"):
            return f"the broker says that the certificate {config.certificate} {words}"
    if reason.endswith("ALERT_UNRECOGNIZED_NAME"):
        return f"the broker has no certificate for {config.endpoint}"
    return _words(reason) or getattr(error, "strerror", None) or str(error)


def _server_refused(config: Config, error: ssl.SSLCertVerificationError, leaf: Callable[[], bytes] | None) -> str:
    code, said = error.verify_code, error.verify_message
    if code in UNKNOWN_ISSUER:
        return f"the broker's certificate is of no CA in {config.ca}: {said}"
    if code in NAME_MISMATCH:
        return f"the broker's certificate is not for {config.endpoint}"
    if code not in (NOT_YET_VALID, EXPIRED):
        return f"the broker's certificate is not taken: {said}"
    now = time.time()
    try:
        begins, ends = validity(leaf() if leaf else b"")
    except (OSError, ValueError, IndexError):
        begins, ends = -math.inf, math.inf
    if code == EXPIRED:
        if now > ends:
            return f"certificate expired on {iso(ends)}: the broker's, it is {iso(now)}"
        return f"certificate expired: one in the chain of the broker's, or in {config.ca}, it is {iso(now)}"
    if now < begins:
        return f"certificate is valid from {iso(begins)}: the broker's, it is {iso(now)}: is the clock right?"
    return f"certificate is not valid yet: one in the chain of the broker's, it is {iso(now)}: is the clock right?"


def _server_certificate(config: Config, address: str, deadline: float) -> bytes:
    """What the server shows, in DER, without verifying it: the handshake that failed does not say.

    Raises:
        OSError, ValueError: it shows nothing.
    """
    unverified = context(config)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    attempt = Attempt(config.endpoint)
    raw = reach(config, attempt, deadline, address)
    with _secured(unverified, attempt, config.endpoint, raw, deadline) as secured:
        return secured.getpeercert(binary_form=True) or b""


def _words(reason: str) -> str:
    return reason.replace("_", " ").lower()
