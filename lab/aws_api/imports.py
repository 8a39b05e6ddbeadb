"""What ACM takes as a certificate to import.

Source: https://docs.aws.amazon.com/acm/latest/userguide/import-certificate-prerequisites.html,
https://docs.aws.amazon.com/acm/latest/userguide/import-certificate-format.html and
https://docs.aws.amazon.com/acm/latest/APIReference/API_ImportCertificate.html.
"""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from lab.aws_api.trust import issued

KEY_BYTES = 5120
KEY_ALGORITHMS = (
    "RSA_1024", "RSA_2048", "RSA_3072", "RSA_4096", "EC_prime256v1", "EC_secp384r1", "EC_secp521r1",
)  # fmt: skip


class ImportRefusedError(ValueError):
    """ACM does not take it."""


def key_algorithm(certificate: x509.Certificate) -> str:
    """Return the key's algorithm as ACM names it."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA_{key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {"secp256r1": "EC_prime256v1"}.get(key.curve.name, f"EC_{key.curve.name}")
    return type(key).__name__


def check(certificate: bytes, private_key: bytes, chain: bytes | None) -> x509.Certificate:
    """Return the certificate of PEM that ACM takes.

    Raises:
        ImportRefusedError: says why it does not.
    """
    leaf = _one(certificate)
    _check_dates(leaf)
    if not leaf.issuer.rdns:
        raise ImportRefusedError("The certificate's issuer is empty.")
    if (algorithm := key_algorithm(leaf)) not in KEY_ALGORITHMS:
        raise ImportRefusedError(f"The key algorithm {algorithm} is not supported.")
    _check_key(leaf, private_key)
    if chain is not None:
        _check_chain(leaf, chain)
    return leaf


def check_replacement(old: x509.Certificate, new: x509.Certificate) -> None:
    """Return where a certificate may be imported in another's place.

    Raises:
        ImportRefusedError: a key of another type or size, or a usage that it had and has no longer.
    """
    before, after = key_algorithm(old), key_algorithm(new)
    if before != after:
        raise ImportRefusedError(f"The key algorithm {after} is not that of the certificate to replace, {before}.")
    # https://docs.aws.amazon.com/acm/latest/userguide/import-certificate-prerequisites.html: the two exceptions.
    excepted = {ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string}
    if before.startswith("EC_"):
        excepted.add("key_encipherment")
    if removed := sorted(_usages(old) - _usages(new) - excepted):
        raise ImportRefusedError(f"The certificate lacks usages of the one to replace: {', '.join(removed)}.")


def _one(pem: bytes) -> x509.Certificate:
    found = _certificates(pem, "The certificate")
    if len(found) != 1:
        raise ImportRefusedError(f"The certificate field contains {len(found)} certificates, expected one.")
    if found[0].version is not x509.Version.v3:
        raise ImportRefusedError("The certificate is not of X.509 version 3.")
    return found[0]


def _certificates(pem: bytes, what: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ImportRefusedError(f"{what} is not PEM-encoded or is not valid.") from error


def _check_dates(certificate: x509.Certificate) -> None:
    now = datetime.now(UTC)
    if certificate.not_valid_after_utc <= now:
        raise ImportRefusedError("The certificate has expired, is not valid.")
    if certificate.not_valid_before_utc > now:
        raise ImportRefusedError("The certificate is not in effect yet, is not valid.")


def _check_key(certificate: x509.Certificate, pem: bytes) -> None:
    if len(pem) > KEY_BYTES:
        raise ImportRefusedError(f"The private key has {len(pem)} bytes, expected {KEY_BYTES} at most.")
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise ImportRefusedError("The private key is not PEM-encoded or is not valid, or is encrypted.") from error
    if key.public_key() != certificate.public_key():
        raise ImportRefusedError("The private key does not match the public key of the certificate.")


def _check_chain(certificate: x509.Certificate, pem: bytes) -> None:
    below = certificate
    for above in _certificates(pem, "The certificate chain"):
        if above == certificate:
            raise ImportRefusedError("The certificate chain contains the certificate itself.")
        if not issued(below, above):
            raise ImportRefusedError("Could not validate the certificate with the certificate chain.")
        if below is certificate and _kind(below) != _kind(above):
            raise ImportRefusedError("The key algorithm of the certificate is not that of the CA that signed it.")
        _check_dates(above)
        below = above


def _kind(certificate: x509.Certificate) -> str:
    return key_algorithm(certificate).partition("_")[0]


def _usages(certificate: x509.Certificate) -> set[str]:
    found: set[str] = set()
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.ExtendedKeyUsage):
            found |= {usage.dotted_string for usage in extension.value}
        elif isinstance(extension.value, x509.KeyUsage):
            # Those two of the RFC's nine that KeyUsage knows only together with key_agreement are left out.
            found |= {
                name
                for name in (
                    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
                    "key_agreement", "key_cert_sign", "crl_sign",
                )
                if getattr(extension.value, name)
            }  # fmt: skip
    return found
