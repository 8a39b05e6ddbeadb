"""Certificates of the endpoints and of their CA: reading, comparing and making them. No I/O."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..model.errors import RefusedError, one_line, printable
from ..model.names import plain

PrivateKey = CertificateIssuerPrivateKeyTypes

# A new certificate is valid from this long ago: the clocks of devices and of AWS may be behind the controller's.
BACKDATED = dt.timedelta(hours=1)
RSA_BITS = 2048
LONGEST_COMMON_NAME = 64
_RELATIVE = re.compile(r"\+(?=\d)(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_UNITS = ("weeks", "days", "hours", "minutes", "seconds")
# X.509 knows no later year (https://datatracker.ietf.org/doc/html/rfc5280#section-4.1.2.5).
_LAST_YEAR = 9999


@dataclass(frozen=True)
class Certificate:
    """One certificate, compared by its content."""

    parsed: x509.Certificate

    @cached_property
    def pem(self) -> str:
        return self.parsed.public_bytes(Encoding.PEM).decode()

    @cached_property
    def public_key(self) -> str:
        """SHA-256 of its public key, lower-case hex."""
        return _digest(self.parsed.public_key())

    @property
    def not_before(self) -> dt.datetime:
        return self.parsed.not_valid_before_utc

    @property
    def not_after(self) -> dt.datetime:
        return self.parsed.not_valid_after_utc

    @property
    def issuer(self) -> str:
        return printable(self.parsed.issuer.rfc4514_string()) or "an issuer without a name"

    @property
    def subject(self) -> str:
        return printable(self.parsed.subject.rfc4514_string()) or "a subject without a name"

    @property
    def names(self) -> list[str]:
        """The DNS names that it is valid for."""
        try:
            found = self.parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except (x509.ExtensionNotFound, ValueError):
            return []
        return found.value.get_values_for_type(x509.DNSName)

    def issued_by(self, authority: Certificate) -> bool:
        """Whether the CA's key signed it."""
        try:
            self.parsed.verify_directly_issued_by(authority.parsed)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            return False
        return True

    def days_left(self, now: dt.datetime) -> float:
        return (self.not_after - now) / dt.timedelta(days=1)

    @property
    def validity(self) -> str:
        return f"from {self.not_before:%Y-%m-%d} to {self.not_after:%Y-%m-%d}"

    def described(self) -> str:
        """The certificate as a message shows it."""
        return f"serial {self.parsed.serial_number:x}, {self.validity}"


def read_certificates(name: object, text: bytes) -> list[Certificate]:
    """Return the certificates of a PEM text, in their order.

    Args:
        name: as an error names it.

    Raises:
        RefusedError: it holds no certificate, or one that cannot be read.
    """
    try:
        return [Certificate(each) for each in x509.load_pem_x509_certificates(text)]
    except ValueError as error:
        raise RefusedError(f"{name}: not a valid certificate in PEM ({error}): correct it") from error


def read_key(name: object, text: bytes, passphrase: str | None = None) -> PrivateKey:
    """Return the private key of a PEM text.

    Raises:
        RefusedError: it holds no key, an encrypted one without its passphrase, or one that is neither RSA nor ECC.
    """
    try:
        key = load_pem_private_key(text, passphrase.encode() if passphrase else None)
    except TypeError as error:
        # Either the passphrase is missing, or the key does not need it.
        if passphrase:
            return read_key(name, text)
        raise RefusedError(
            f"{name}: the private key is encrypted: give its passphrase, or the key without one"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RefusedError(f"{name}: not a readable private key in PEM: correct it, or its passphrase") from error
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise RefusedError(f"{name}: the key is neither RSA nor ECC: use one that is")
    return key


def public_key(key: PrivateKey) -> str:
    """SHA-256 of a private key's public key, lower-case hex."""
    return _digest(key.public_key())


def _digest(key: PublicKeyTypes) -> str:
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def kind(certificate: Certificate) -> str:
    """The kind of its key, as ACM names it; a certificate imported over another needs the same kind.

    Source: https://docs.aws.amazon.com/acm/latest/userguide/import-reimport.html
    """
    key = certificate.parsed.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA_{key.key_size}"
    return f"EC_{key.curve.name}" if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__


def serving_differences(present: Certificate, offered: Certificate) -> list[str]:
    """The differences for which AWS IoT does not serve a certificate that is imported over another in ACM, but keeps
    the other.

    Source: https://docs.aws.amazon.com/iot/latest/developerguide/iot-custom-endpoints-configurable-custom.html
    """
    found = []
    if present.parsed.signature_algorithm_oid != offered.parsed.signature_algorithm_oid:
        found.append("signing algorithm")
    if _common_names(present) != _common_names(offered):
        found.append("common name")
    if sorted(present.names) != sorted(offered.names):
        found.append("alternative names")
    return found


def _common_names(certificate: Certificate) -> list[str]:
    return [str(each.value) for each in certificate.parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


def covers(certificate: Certificate, endpoint: str) -> bool:
    """Whether a client that connects to the endpoint accepts the certificate's names."""
    return not names_for(endpoint).isdisjoint(map(plain, certificate.names))


def names_for(endpoint: str) -> set[str]:
    """The names in a certificate that match an endpoint: its own, and a wildcard's."""
    name = plain(endpoint)
    return {name, f"*.{name.partition('.')[2]}"}


def is_newer(one: Certificate, other: Certificate) -> bool:
    """Whether it was issued later and ends later."""
    return one.not_before >= other.not_before and one.not_after > other.not_after


def end_of(name: str, text: str, now: dt.datetime) -> dt.datetime:
    """Return when a certificate made now ends.

    Args:
        name: the variable, for an error.
        text: from now on, such as `+825d` or `+1w2d3h4m5s`, or an ASN.1 time, `YYYYMMDDHHMMSSZ`.

    Raises:
        RefusedError: it is neither, or in the past.
    """
    end = _end(text, now)
    if end is None or end <= now or end.year > _LAST_YEAR:
        raise RefusedError(
            f"{name}: found {one_line(text)}, expected a time in the future, such as +825d or 20301231235959Z: "
            "correct it in the inventory"
        )
    return end


def _end(text: str, now: dt.datetime) -> dt.datetime | None:
    try:
        if match := _RELATIVE.fullmatch(text):
            parts = {unit: int(count or 0) for unit, count in zip(_UNITS, match.groups(), strict=True)}
            return now + dt.timedelta(**parts)
        return dt.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=dt.UTC)
    except (ValueError, OverflowError):
        return None


def make_key(key_type: str) -> PrivateKey:
    """A private key: P-256 for `ECC`, 2048 bits for `RSA`, the kinds that AWS IoT serves for custom domains."""
    if key_type == "RSA":
        return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make_authority(key: PrivateKey, common_name: str, end: dt.datetime, now: dt.datetime) -> Certificate:
    """A self-signed CA certificate."""
    subject = _name(common_name)
    usage = _usage(key_cert_sign=True, crl_sign=True)
    builder = _builder(subject, subject, key, end, now)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(usage, critical=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return Certificate(builder.add_extension(identifier, critical=False).sign(key, SHA256()))


def server_extensions(endpoint: str) -> list[tuple[x509.ExtensionType, bool]]:
    """The extensions of an endpoint's certificate, each with whether it is critical."""
    return [
        # https://datatracker.ietf.org/doc/html/rfc5280#section-4.1.2.6: critical where the subject is empty.
        (x509.SubjectAlternativeName([x509.DNSName(endpoint.rstrip("."))]), len(endpoint) > LONGEST_COMMON_NAME),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(digital_signature=True, key_encipherment=True), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
    ]


def make_request(key: PrivateKey, endpoint: str) -> bytes:
    """A signing request (PEM) for the endpoint's certificate."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(endpoint))
    for extension, critical in server_extensions(endpoint):
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def make_server_certificate(
    key: PrivateKey, endpoint: str, authority: Certificate, signer: PrivateKey, end: dt.datetime, now: dt.datetime
) -> Certificate:
    """The endpoint's certificate, issued by this CA."""
    builder = _builder(_name(endpoint), authority.parsed.subject, key, end, now)
    for extension, critical in server_extensions(endpoint):
        builder = builder.add_extension(extension, critical)
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = builder.add_extension(own, critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return Certificate(builder.add_extension(issuer, critical=False).sign(signer, SHA256()))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, end: dt.datetime, now: dt.datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    return builder.serial_number(x509.random_serial_number()).not_valid_before(now - BACKDATED).not_valid_after(end)


def _name(common_name: str) -> x509.Name:
    common_name = common_name.rstrip(".")
    # https://datatracker.ietf.org/doc/html/rfc5280#appendix-A.1: ub-common-name. Clients check the DNS name.
    if not common_name or len(common_name) > LONGEST_COMMON_NAME:
        return x509.Name([])
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(**used: bool) -> x509.KeyUsage:
    kinds = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    others = ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{each: used.get(each, False) for each in (*kinds, *others)})


def is_made_by_setup(subject: str, certificate: Certificate) -> bool:
    """Whether a CA's certificate is as setup makes it: this name, self-signed, for signing certificates only."""
    try:
        constraints = certificate.parsed.extensions.get_extension_for_class(x509.BasicConstraints)
        usage = certificate.parsed.extensions.get_extension_for_class(x509.KeyUsage)
    except (x509.ExtensionNotFound, ValueError):
        return False
    return (
        certificate.parsed.subject == _name(subject)
        and certificate.issued_by(certificate)
        and (constraints.value, constraints.critical) == (x509.BasicConstraints(ca=True, path_length=0), True)
        and (usage.value, usage.critical) == (_usage(key_cert_sign=True, crl_sign=True), True)
    )


def requested(text: bytes, subject: str) -> tuple[str, list[tuple[x509.ExtensionType, bool]]] | None:
    """The public key (SHA-256) and extensions of a signing request with this subject; None of any other text."""
    try:
        request = x509.load_pem_x509_csr(text)
        if request.subject != _name(subject) or not request.is_signature_valid:
            return None
        return _digest(request.public_key()), [(each.value, each.critical) for each in request.extensions]
    except (ValueError, UnsupportedAlgorithm):
        return None
