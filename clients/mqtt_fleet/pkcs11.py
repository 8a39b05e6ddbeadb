"""A key that never leaves its token: an HSM, a TPM or a smart card with a PKCS#11 library.

The AWS IoT SDK calls the token's library itself. paho-mqtt goes through OpenSSL: OPENSSL_CONF has to activate
pkcs11-provider, which then takes a PEM block that holds a URI (RFC 7512) in the place of a key.
"""

from __future__ import annotations

import hashlib
import math
import os
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from mqtt_fleet import pem
from mqtt_fleet.config import Config
from mqtt_fleet.pem import Block, PemError

# pkcs11-provider, docs/provider-pkcs11.7: SEQUENCE {VisibleString, UTF8String}.
URI_LABEL = "PKCS#11 PROVIDER URI"
URI_VERSION = b"PKCS#11 Provider URI v1.0"
VISIBLE_STRING, UTF8_STRING, SEQUENCE = 0x1A, 0x0C, 0x30


# Seconds; OpenSSL does not say whether it was the PIN: the token may just be absent.
DOUBTFUL_PIN_PAUSE = 600.0


class TokenError(Exception):
    """The token cannot be used; one line that names the key."""


class RefusedPins:
    """PINs that a token has refused: asking again and again with one of them locks the token."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._not_before: dict[bytes, float] = {}

    def add(self, pin: str | None, pause: float = math.inf) -> None:
        """The token has refused it, or may have: then it may be tried again after `pause` seconds."""
        self._not_before[_digest(pin)] = self._monotonic() + pause

    def due(self, pin: str | None) -> bool:
        """Whether the token may be asked with it now."""
        return self._monotonic() >= self._not_before.get(_digest(pin), -math.inf)


def _digest(pin: str | None) -> bytes:
    return hashlib.sha256((pin or "").encode()).digest()


def pin(config: Config) -> str | None:
    """The token's PIN; None: it has a way of its own.

    Raises:
        TokenError: the file cannot be read, or has no PIN.
    """
    if config.pkcs11_pin_file is None:
        return None
    try:
        text = pem.read(config.pkcs11_pin_file).decode().strip()
    except (PemError, UnicodeDecodeError) as error:
        text = error.args[0] if isinstance(error, PemError) else "is not UTF-8"
        raise TokenError(f"pkcs11_pin_file: {config.pkcs11_pin_file} {text}: write the PIN into it") from error
    if not text:
        raise TokenError(f"pkcs11_pin_file: {config.pkcs11_pin_file} is empty, expected the PIN: write it into it")
    return text


def require_module(config: Config) -> None:
    """Raise TokenError where the token's library is not there."""
    if not Path(config.pkcs11_module).is_file():
        raise TokenError(f"pkcs11_module: {config.pkcs11_module}: no such file: install the token's PKCS#11 library")


def uri_block(config: Config) -> bytes:
    """The PEM block that refers pkcs11-provider to the key; it has the PIN in it and is never on a disk.

    Raises:
        TokenError: the token's library is missing, or the PIN.
    """
    require_module(config)
    uri = _uri(config, pin(config)).encode()
    body = _element(VISIBLE_STRING, URI_VERSION) + _element(UTF8_STRING, uri)
    return pem.encode([Block(URI_LABEL, _element(SEQUENCE, body))])


def _uri(config: Config, pin_value: str | None) -> str:
    path = {
        "slot-id": "" if config.pkcs11_slot is None else str(config.pkcs11_slot),
        "token": config.pkcs11_token_label,
        "object": config.pkcs11_key_label,
        "type": "private",
    }
    uri = "pkcs11:" + ";".join(f"{name}={quote(value, safe='')}" for name, value in path.items() if value)
    return uri if pin_value is None else f"{uri}?pin-value={quote(pin_value, safe='')}"


def _element(tag: int, value: bytes) -> bytes:
    length = len(value)
    size = bytes([length]) if length < 0x80 else b"\x82" + length.to_bytes(2, "big")
    return bytes([tag]) + size + value


def provider_problem() -> str:
    """Return why OpenSSL finds no key behind such a block: it does not say so itself."""
    if used := os.environ.get("OPENSSL_CONF"):
        return (
            f"the providers of OPENSSL_CONF={used} found no such token or key, cannot sign with it, "
            "or were refused with the PIN: see docs/clients.md"
        )
    return (
        f"OPENSSL_CONF is not set, so {ssl.OPENSSL_VERSION} has no provider for it: see docs/clients.md, "
        "or use library awsiotsdk, which needs none for PKCS#11"
    )


REFUSED = RefusedPins()
