"""What is wrong with the files a device proves itself with, in words: the libraries' own are cryptic."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

from mqtt_fleet.clock import iso
from mqtt_fleet.config import CREDENTIAL_KEYS, Config

# X.690, tags of DER.
SEQUENCE, VERSION, UTC_TIME = 0x30, 0xA0, 0x17

# OpenSSL's words for a key that is not the certificate's: another one, or one of another kind.
MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")


class CredentialError(Exception):
    """A connection cannot even be tried with these files; one line that names key and file."""


def check(config: Config) -> None:
    """Refuse files that are missing, unreadable, no PEM, or do not belong together.

    Raises:
        CredentialError: see there.
    """
    for key in CREDENTIAL_KEYS:
        path = getattr(config, key)
        try:
            content = path.read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            raise CredentialError(f"{key}: {path} cannot be read: {getattr(error, 'strerror', error)}") from error
        if "-----BEGIN " not in content:
            raise CredentialError(f"{key}: {path} holds no PEM, expected a line -----BEGIN")
    for key in ("ca", "certificate"):
        path = getattr(config, key)
        try:
            # To see whether it is one; this context verifies nobody.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except ssl.SSLError as error:
            raise CredentialError(f"{key}: {path} holds no certificate: {_reason(error)}") from error
    _check_pair(config)


def _check_pair(config: Config) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        # A password would be asked for at the terminal.
        context.load_cert_chain(config.certificate, config.private_key, password=lambda: b"")
    except ssl.SSLError as error:
        if error.reason in MISMATCHES:
            text = f"does not match the certificate {config.certificate}: install the key it was issued for"
        else:
            text = f"cannot be used: {_reason(error)}"
        raise CredentialError(f"private_key: {config.private_key} {text}") from error


def _reason(error: ssl.SSLError) -> str:
    return " ".join((error.reason or str(error)).split())


def expiry_problem(config: Config, now: float) -> str | None:
    """Say that the certificate is not valid at `now`, in epoch seconds; None where it is.

    It is for saying, not for giving up: the device's clock may be what is wrong.
    """
    try:
        begins, ends = validity(ssl.PEM_cert_to_DER_cert(_first_certificate(config.certificate)))
    except (OSError, ValueError, IndexError):
        return None
    if now > ends:
        return f"certificate: {config.certificate} expired {iso(ends)}, it is {iso(now)}: install a new one"
    if now < begins:
        return f"certificate: {config.certificate} is valid from {iso(begins)}, it is {iso(now)}: set the clock"
    return None


def _first_certificate(path: Path) -> str:
    text = path.read_text(encoding="ascii")
    begin = text.find(ssl.PEM_HEADER)
    end = text.find(ssl.PEM_FOOTER, begin)
    return text[begin : end + len(ssl.PEM_FOOTER)] if begin >= 0 else text


def validity(certificate: bytes) -> tuple[float, float]:
    """(not before, not after) of an X.509 certificate in DER, in epoch seconds, RFC 5280, 4.1.

    Raises:
        ValueError, IndexError: it is none.
    """
    _, certificate, _ = _element(certificate)
    _, fields, _ = _element(certificate)
    tag, _, rest = _element(fields)
    # Version (which the first has not), serial number, signature algorithm, issuer.
    for _ in range(3 if tag == VERSION else 2):
        _, _, rest = _element(rest)
    tag, period, _ = _element(rest)
    if tag != SEQUENCE:
        raise ValueError("holds no validity period")
    tag, begins, rest = _element(period)
    end_tag, ends, _ = _element(rest)
    return _time(tag, begins), _time(end_tag, ends)


def _element(content: bytes) -> tuple[int, bytes, bytes]:
    """Return the tag and the value of the first element, and what follows it."""
    length, begin = content[1], 2
    if length & 0x80:
        begin = 2 + (length & 0x7F)
        length = int.from_bytes(content[2:begin], "big")
    return content[0], content[begin : begin + length], content[begin + length :]


def _time(tag: int, value: bytes) -> float:
    text = value.decode("ascii")
    if tag == UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    moment = datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ")
    return moment.replace(tzinfo=datetime.timezone.utc).timestamp()
