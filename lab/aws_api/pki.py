"""The stand-in's certificate authority: Amazon's root of the lab, and what it signs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab import files

LIFETIME = timedelta(days=3650)
DEVICE_SUBJECT = "AWS IoT Certificate"


class Authority:
    """The root that signs the regions' own server certificates and the certificates of devices."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self._key = key

    @classmethod
    def in_directory(cls, directory: Path) -> Authority:
        """Read the root of a directory, creating it where there is none."""
        certificate_path, key_path = directory / "amazon-root-ca.crt", directory / "amazon-root-ca.key"
        if not (certificate_path.exists() and key_path.exists()):
            key = ec.generate_private_key(ec.SECP256R1())
            files.write(key_path, key_pem(key), 0o600)
            files.write(certificate_path, _root(key).public_bytes(serialization.Encoding.PEM))
        loaded = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{key_path}: not an elliptic curve key: remove it with {certificate_path.name}")
        return cls(x509.load_pem_x509_certificate(certificate_path.read_bytes()), loaded)

    @property
    def pem(self) -> str:
        """The root's certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def server(self, name: str) -> str:
        """Return a new key and certificate for a server name, as HAProxy wants them: one PEM."""
        return "".join(self.public([name], "EC_prime256v1"))

    def public(self, names: Sequence[str], algorithm: str, until: datetime | None = None) -> tuple[str, str]:
        """Return certificate and key, PEM each, for server names.

        Args:
            algorithm: RSA_2048 or EC_prime256v1.
            until: when it expires; None: after LIFETIME.
        """
        key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
        if algorithm == "RSA_2048":
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        else:
            key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]), key.public_key(), until)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
            # ACM takes no certificate in the place of one that may be used for more.
            .add_extension(x509.KeyUsage(True, False, True, False, False, False, False, False, False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        )
        return self._sign(builder), key_pem(key).decode()

    def device(self, request_pem: str) -> str:
        """Return the PEM certificate of a device from its signing request.

        Raises:
            ValueError: not a PEM request, or not signed by its own key.
        """
        request = x509.load_pem_x509_csr(request_pem.encode())
        if not request.is_signature_valid:
            raise ValueError("the signature of the certificate signing request is not its key's")
        subject = request.subject
        if not subject.rdns:
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, DEVICE_SUBJECT)])
        builder = self._builder(subject, request.public_key()).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        return self._sign(builder)

    def _builder(
        self, subject: x509.Name, key: CertificatePublicKeyTypes, until: datetime | None = None
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(until or now + LIFETIME - timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )

    def _sign(self, builder: x509.CertificateBuilder) -> str:
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def _root(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    names = {NameOID.ORGANIZATION_NAME: "Amazon (lab)", NameOID.COMMON_NAME: "Amazon Root CA of the lab"}
    return (
        ca_builder(key.public_key(), names)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def ca_builder(
    key: ec.EllipticCurvePublicKey, names: Mapping[x509.ObjectIdentifier, str], path_length: int | None = None
) -> x509.CertificateBuilder:
    """Return the builder of a CA's certificate that the CA signs itself."""
    name = x509.Name([x509.NameAttribute(kind, text) for kind, text in names.items()])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    )


def key_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    """Return a key that no password protects."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
