"""Certificates and keys: what is wrong with them is said by name, before a library says something cryptic."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from mqtt_fleet.config import Config
from mqtt_fleet.credentials import CredentialError, check, expiry_problem, validity

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
BEGIN = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def certificate(key: Key, begin: datetime.datetime, end: datetime.datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client_01")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)
    return builder.sign(key, hashes.SHA256())


def private(key: Key, password: bytes = b"") -> bytes:
    hiding = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, hiding)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    key = ec.generate_private_key(ec.SECP256R1())
    made = certificate(key, BEGIN, BEGIN + datetime.timedelta(days=365))
    for name in ("ca", "client"):
        (tmp_path / f"{name}.crt").write_bytes(made.public_bytes(PEM))
    (tmp_path / "client.key").write_bytes(private(key))
    return Config(
        client_id="client_01",
        endpoint="mqtt1.example.com",
        library="paho",
        ca=tmp_path / "ca.crt",
        certificate=tmp_path / "client.crt",
        private_key=tmp_path / "client.key",
        outbox=tmp_path / "outbox",
    )


def test_good_files_pass(config: Config) -> None:
    check(config)


def test_certificate_may_follow_words_and_precede_its_chain(config: Config) -> None:
    text = config.certificate.read_text()
    config.certificate.write_text(f"subject=client_01\n{text}{text}")
    check(config)
    assert expiry_problem(config, BEGIN.timestamp() + 1) is None


@pytest.mark.parametrize("key", ["ca", "certificate", "private_key"])
@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda path: path.unlink(), "cannot be read: No such file or directory"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read: Is a directory"),
        (lambda path: path.write_bytes(b""), "holds no PEM"),
        (lambda path: path.write_bytes(b"\xff\x00"), "cannot be read: "),
        (lambda path: path.write_text("-----BEGIN NOTHING-----\n"), ""),
        (lambda path: path.write_text(path.read_text()[:200]), ""),
        (lambda path: path.write_text(path.read_text().replace("M", "/")), ""),
    ],
)
def test_spoilt_file_is_named_in_one_line(config: Config, key: str, spoil: Callable[[Path], object], text: str) -> None:
    path = getattr(config, key)
    spoil(path)
    with pytest.raises(CredentialError) as refusal:
        check(config)
    assert str(refusal.value).startswith(f"{key}: {path} ")
    assert text in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "other", [lambda: ec.generate_private_key(ec.SECP256R1()), lambda: rsa.generate_private_key(65537, 2048)]
)
def test_key_of_another_certificate_is_named(config: Config, other: Callable[[], Key]) -> None:
    config.private_key.write_bytes(private(other()))
    with pytest.raises(
        CredentialError, match=r"^private_key: .* does not match the certificate .*client\.crt: install"
    ):
        check(config)


def test_key_with_a_password_is_refused_and_nobody_is_asked_for_it(config: Config) -> None:
    config.private_key.write_bytes(private(ec.generate_private_key(ec.SECP256R1()), b"secret"))
    with pytest.raises(CredentialError, match=r"^private_key: "):
        check(config)


def test_dates_are_compared(config: Config) -> None:
    begin = BEGIN.timestamp()
    end = begin + 365 * 86400
    assert expiry_problem(config, begin) is None
    assert expiry_problem(config, end) is None
    said = str(expiry_problem(config, end + 1))
    assert said.startswith(
        f"certificate: {config.certificate} expired 2027-01-02T03:04:05Z, it is 2027-01-02T03:04:06Z"
    )
    assert "is valid from 2026-01-02T03:04:05Z" in str(expiry_problem(config, 0.0))
    config.certificate.unlink()
    assert expiry_problem(config, begin) is None


@pytest.mark.parametrize("year", [1950, 1999, 2000, 2049, 2050, 2100])
@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)])
def test_validity_is_read_as_cryptography_reads_it(year: int, key: Key) -> None:
    made = certificate(key, datetime.datetime(1950, 1, 1, tzinfo=datetime.UTC), BEGIN.replace(year=year))
    found = (made.not_valid_before_utc.timestamp(), made.not_valid_after_utc.timestamp())
    assert validity(made.public_bytes(DER)) == found


@pytest.mark.parametrize("content", [b"", b"0", b"\x30\x03\x30\x01\x00", b"\x30\x82"])
def test_nonsense_has_no_validity(content: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        validity(content)
