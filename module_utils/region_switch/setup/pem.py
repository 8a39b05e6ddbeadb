"""Signing requests and certificates from files of any origin: PEM, among other text, or DER. No I/O.

The contents of a file are never passed on unchanged, but parsed and encoded again, and a file with a private key is
refused.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key
from cryptography.x509.oid import NameOID

from ..model.errors import RefusedError, one_line

# Bytes; a request with an RSA key of 4096 bits has 1.6 KB, and a bundle may also describe its certificates as text.
LARGEST_REQUEST = 16 * 1024
LARGEST_BUNDLE = 256 * 1024

REQUEST = "certificate signing request"
CERTIFICATE = "certificate"

# OpenSSL's names: https://docs.openssl.org/master/man3/PEM_read_bio_PrivateKey/#notes
_REQUESTS = {"CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"}
_TRUSTED = "TRUSTED CERTIFICATE"
_CERTIFICATES = {"CERTIFICATE", "X509 CERTIFICATE", _TRUSTED}
# Also without its END line or hyphens, as `openssl pkey -text` and PuTTY write keys, and inside comments.
_PRIVATE_KEY = re.compile(r"BEGIN[^\r\n-]*PRIVATE KEY|Private-Key: ?\(|PuTTY-User-Key-File", re.IGNORECASE)
_BEGIN = re.compile(r"-----BEGIN ([^\r\n-]+)-----")
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_SEQUENCE = 0x30

Parsed = TypeVar("Parsed")


def read_request(name: object, data: bytes) -> x509.CertificateSigningRequest:
    """Return the one signing request of a file.

    Args:
        name: as an error names the file.

    Raises:
        RefusedError: it has a private key, no signing request, or several.
    """
    if len(data) > LARGEST_REQUEST:
        raise RefusedError(f"{name}: found {len(data)} bytes, expected {LARGEST_REQUEST} at most: create it again")
    encoded = _encoded(name, data, REQUEST, _REQUESTS)
    found = [_parsed(name, REQUEST, each, x509.load_der_x509_csr) for each in encoded]
    if len(found) > 1:
        raise RefusedError(f"{name}: found {len(found)} signing requests, expected one: keep only the client's")
    return found[0]


def read_device_certificate(name: object, data: bytes, key: bytes | None = None) -> x509.Certificate:
    """Return a device's certificate from a file that may also hold those of its CAs, in any order.

    Args:
        name: as an error names the file.
        key: public key (DER) of the device if known, which selects one of several certificates.

    Raises:
        RefusedError: it has a private key, no certificate, only a CA's, or those of several devices.
    """
    if len(data) > LARGEST_BUNDLE:
        raise RefusedError(f"{name}: found {len(data)} bytes, expected {LARGEST_BUNDLE} at most: create it again")
    encoded = _encoded(name, data, CERTIFICATE, _CERTIFICATES)
    found = [_parsed(name, CERTIFICATE, each, x509.load_der_x509_certificate) for each in encoded]
    devices = [each for each in found if not _is_authority(name, each, found)]
    if not devices:
        raise RefusedError(
            f"{name}: found the certificate of a CA ({_subject(found[0])}), expected that of the device: put it there"
        )
    of_key = [each for each in devices if key is not None and _der(readable_key(name, each)) == key]
    if len(of_key or devices) > 1:
        subjects = ", ".join(_subject(each) for each in of_key or devices)
        raise RefusedError(f"{name}: found certificates of {subjects}, expected one: keep only the device's")
    return (of_key or devices)[0]


def public_key(holder: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    """The public key (DER).

    Raises:
        ValueError, UnsupportedAlgorithm: it cannot be read.
    """
    return _der(holder.public_key())


def _der(key: Any) -> bytes:
    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def readable_key(name: object, holder: x509.Certificate | x509.CertificateSigningRequest) -> Any:
    """The public key.

    Raises:
        RefusedError: it cannot be read.
    """
    try:
        return holder.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RefusedError(f"{name}: its key cannot be read ({error}): create it again") from error


def as_text(holder: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """PEM, and nothing else."""
    return holder.public_bytes(Encoding.PEM).decode()


def certificate_id(certificate: x509.Certificate) -> str:
    """AWS's certificateId: the lower-case hex SHA-256 of the certificate's DER."""
    return certificate.fingerprint(SHA256()).hex()


def _encoded(name: object, data: bytes, kind: str, labels: set[str]) -> list[bytes]:
    """The DER of each object of this kind in a file, without repetitions."""
    text = _text(data)
    begins = list(_BEGIN.finditer(text))
    if _PRIVATE_KEY.search(text) or (not begins and _is_private_key(data)):
        raise RefusedError(
            f"{name}: found a private key in it, expected the {kind} alone: nothing of it was sent; remove the key, "
            "and create a new one if others could read this file"
        )
    if not begins:
        if data[:1] == bytes([_SEQUENCE]):
            return [data]
        raise _no_pem(name, kind, "no BEGIN line" if data.strip() else "nothing in it")
    found: dict[bytes, None] = {}
    for begin in begins:
        if begin[1].strip() in labels:
            found[_body(name, kind, text, begin)] = None
    if not found:
        raise _no_pem(name, kind, f"only {', '.join(dict.fromkeys(begin[1] for begin in begins))}")
    return list(found)


def _text(data: bytes) -> str:
    """A file as text; bytes that are not text can only be in comments."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    return data.decode("utf-8", "replace")


def _body(name: object, kind: str, text: str, begin: re.Match[str]) -> bytes:
    """The DER of a block."""
    label = begin[1].strip()
    body, end, _ = text[begin.end() :].partition(f"-----END {begin[1]}-----")
    if not end or "-----BEGIN" in body:
        raise _no_pem(name, kind, f"{label} without its end")
    try:
        der = base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _no_pem(name, kind, f"{label} that is not base64") from error
    return _first_element(der) if label == _TRUSTED else der


def _first_element(der: bytes) -> bytes:
    """A certificate without the trust settings that OpenSSL writes behind it."""
    size = der[1] if len(der) > 1 else 0
    if size < 0x80:
        return der[: 2 + size]
    octets = size & 0x7F
    return der[: 2 + octets + int.from_bytes(der[2 : 2 + octets])]


def _is_private_key(data: bytes) -> bool:
    try:
        load_der_private_key(data, None)
    except ValueError:
        return False
    except (TypeError, UnsupportedAlgorithm):
        # Encrypted, or of an unsupported kind.
        return True
    return True


def _parsed(name: object, kind: str, der: bytes, parse: Callable[[bytes], Parsed]) -> Parsed:
    try:
        return parse(der)
    except ValueError as error:
        raise _no_pem(name, kind, str(error)) from error


def _no_pem(name: object, kind: str, why: str) -> RefusedError:
    return RefusedError(f"{name}: not a valid {kind} in PEM ({why}): create it again")


def _is_authority(name: object, certificate: x509.Certificate, bundle: Sequence[x509.Certificate]) -> bool:
    """Whether a certificate is a CA's."""
    try:
        extensions = certificate.extensions
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise RefusedError(f"{name}: the certificate's extensions cannot be read ({error}): create it again") from error
    constraints: Any = [each.value for each in extensions if isinstance(each.value, x509.BasicConstraints)]
    usage: Any = [each.value for each in extensions if isinstance(each.value, x509.KeyUsage)]
    signs = any(each.ca for each in constraints) or any(each.key_cert_sign for each in usage)
    issued = [each for each in bundle if each != certificate and each.issuer == certificate.subject]
    # A certificate of version 1 has no extensions.
    return signs or (not constraints and bool(issued))


def _subject(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return one_line(", ".join(str(each.value) for each in names) or certificate.subject.rfc4514_string())
