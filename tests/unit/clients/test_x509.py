"""What is read from certificates is what another reader finds in them."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509 as reader
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from mqtt_fleet.x509 import PublicKey, public_key, validity

DER = serialization.Encoding.DER
BEGIN = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
SIGNER = ec.generate_private_key(ec.SECP256R1())
NAME = reader.Name([reader.NameAttribute(NameOID.COMMON_NAME, "client_01")])


def certificate(key: reader.CertificatePublicKeyTypes, begin: datetime.datetime, end: datetime.datetime) -> bytes:
    builder = reader.CertificateBuilder().subject_name(NAME).issuer_name(NAME).public_key(key)
    builder = builder.serial_number(reader.random_serial_number()).not_valid_before(begin).not_valid_after(end)
    return builder.sign(SIGNER, hashes.SHA256()).public_bytes(DER)


@pytest.mark.parametrize("year", [1950, 1999, 2000, 2049, 2050, 2100])
def test_validity_is_read_as_cryptography_reads_it(year: int) -> None:
    content = certificate(
        SIGNER.public_key(), datetime.datetime(1950, 1, 1, tzinfo=datetime.UTC), BEGIN.replace(year=year)
    )
    made = reader.load_der_x509_certificate(content)
    assert validity(content) == (made.not_valid_before_utc.timestamp(), made.not_valid_after_utc.timestamp())


@pytest.mark.parametrize(
    ("key", "expected", "words"),
    [
        (ec.generate_private_key(ec.SECP256R1()), PublicKey("ECC", curve="P-256"), "ECC P-256"),
        (ec.generate_private_key(ec.SECP384R1()), PublicKey("ECC", curve="P-384"), "ECC P-384"),
        (ec.generate_private_key(ec.SECP521R1()), PublicKey("ECC", curve="P-521"), "ECC P-521"),
        (ec.generate_private_key(ec.SECP256K1()), PublicKey("ECC", curve="secp256k1"), "ECC secp256k1"),
        (ec.generate_private_key(ec.SECP224R1()), PublicKey("ECC", curve="P-224"), "ECC P-224"),
        (
            ec.generate_private_key(ec.BrainpoolP256R1()),
            PublicKey("ECC", curve="brainpoolP256r1"),
            "ECC brainpoolP256r1",
        ),
        (rsa.generate_private_key(65537, 2048), PublicKey("RSA", bits=2048), "RSA of 2048 bits"),
        (rsa.generate_private_key(65537, 3072), PublicKey("RSA", bits=3072), "RSA of 3072 bits"),
        (ed25519.Ed25519PrivateKey.generate(), PublicKey("Ed25519"), "Ed25519"),
        (ed448.Ed448PrivateKey.generate(), PublicKey("Ed448"), "Ed448"),
        (dsa.generate_private_key(2048), PublicKey("DSA"), "DSA"),
    ],
)
def test_key_is_read(key: ec.EllipticCurvePrivateKey, expected: PublicKey, words: str) -> None:
    found = public_key(certificate(key.public_key(), BEGIN, BEGIN + datetime.timedelta(days=1)))
    assert (found, str(found)) == (expected, words)


@pytest.mark.parametrize("content", [b"", b"0", b"\x30\x03\x30\x01\x00", b"\x30\x82", b"\x30\x80\0\0"])
def test_nonsense_has_neither(content: bytes) -> None:
    for read in (validity, public_key):
        with pytest.raises((ValueError, IndexError)):
            read(content)


def test_half_a_certificate_is_none() -> None:
    content = certificate(SIGNER.public_key(), BEGIN, BEGIN + datetime.timedelta(days=1))
    for length in range(0, len(content), 7):
        with pytest.raises((ValueError, IndexError)):
            public_key(content[:length])
