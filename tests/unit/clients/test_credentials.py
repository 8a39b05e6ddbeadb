"""Certificates and keys: what is wrong with them is said by name, before a library says something cryptic."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from mqtt_fleet import credentials, pem
from mqtt_fleet.config import Config
from mqtt_fleet.credentials import CredentialError, ca_doubt, check, expiry_problem, key_doubt
from mqtt_fleet.tls import context as tls_context

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
BEGIN = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
YEAR = datetime.timedelta(days=365)
LIBRARIES = ["paho", "awsiotsdk"]
RSA_KEY = rsa.generate_private_key(65537, 2048)


def certificate(key: Key, begin: datetime.datetime, end: datetime.datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client_01")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)
    return builder.sign(
        key, None if isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)) else hashes.SHA256()
    )


def private(key: Key) -> bytes:
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


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


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("key", ["ca", "certificate", "private_key"])
@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda path: path.unlink(), "cannot be read: No such file or directory"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read: Is a directory"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "cannot be read: it is no regular file"),
        (lambda path: path.write_bytes(b""), "holds no PEM, it is empty"),
        (lambda path: path.write_bytes(b"\xff\x00"), "holds no PEM"),
        (lambda path: path.write_text("<html>404</html>"), "holds no PEM"),
        (lambda path: path.write_bytes(b" " * (pem.MOST_BYTES + 1)), "has more than"),
        (lambda path: path.write_text("-----BEGIN NOTHING-----\n"), "is incomplete"),
        (lambda path: path.write_text(path.read_text()[:200]), "is incomplete"),
        (lambda path: path.write_text(path.read_text().replace("M", "!")), "holds a damaged block"),
        (lambda path: path.write_text(path.read_text().replace("M", "/")), ""),
        (lambda path: path.write_bytes(pem.encode([pem.Block("CERTIFICATE REQUEST", b"0")])), "a request for a cert"),
        (lambda path: path.write_bytes(pem.encode([pem.Block("PKCS7", b"0")])), "'openssl pkcs7 -print_certs"),
        (lambda path: path.write_bytes(pem.encode([pem.Block("PUBLIC KEY", b"0")])), "holds a public key"),
        (lambda path: path.write_bytes(pem.encode([pem.Block("X509 CRL", b"0")])), "holds X509 CRL, expected a "),
    ],
)
def test_spoilt_file_is_named_in_one_line(
    config: Config, library: str, key: str, spoil: Callable[[Path], object], text: str
) -> None:
    path = getattr(config, key)
    spoil(path)
    with pytest.raises(CredentialError) as refusal:
        check(replace(config, library=library))
    assert str(refusal.value).startswith(f"{key}: {path} ")
    assert text in str(refusal.value)
    assert "\n" not in str(refusal.value)


def bom(content: bytes) -> bytes:
    return b"\xef\xbb\xbf" + content


def indented(content: bytes) -> bytes:
    return b"".join(b"\t  " + line + b"  \n" for line in content.splitlines())


def on_one_line(content: bytes) -> bytes:
    return content.replace(b"\n", b" ")


HARMLESS = [
    bom,
    indented,
    on_one_line,
    lambda content: content.replace(b"\n", b"\r\n"),
    lambda content: content.replace(b"\n", b"\r"),
    lambda content: content.rstrip(),
    lambda content: content.decode().encode("utf-16"),
    lambda content: content.decode().encode("utf-16-le"),
    lambda content: content.decode().encode("utf-16-be"),
    lambda content: b'"' + content.replace(b"\n", b"\\n") + b'"',
    lambda content: "# für Gerät 1\n".encode() + content,
    lambda content: "subject=O = Müller\n\n".encode("latin-1") + content + b"\0\xff",
    lambda content: b"# a file without -----BEGIN CERTIFICATE----- is none\n" + content,
]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("key", ["ca", "certificate", "private_key"])
@pytest.mark.parametrize("dress", HARMLESS)
def test_what_is_around_the_blocks_does_no_harm(
    config: Config, library: str, key: str, dress: Callable[[bytes], bytes]
) -> None:
    path = getattr(config, key)
    path.write_bytes(dress(path.read_bytes()))
    check(replace(config, library=library))
    tls_context(config)
    assert expiry_problem(config, BEGIN.timestamp() + 1) is None
    assert key_doubt(config) is None


@pytest.mark.parametrize("library", LIBRARIES)
def test_key_and_certificate_may_be_in_one_file_in_any_order(config: Config, library: str) -> None:
    both = config.private_key.read_bytes().rstrip() + config.certificate.read_bytes()
    for path in (config.certificate, config.private_key):
        path.write_bytes(both)
    check(replace(config, library=library))
    assert b"PRIVATE" not in credentials.read(config).certificate


@pytest.mark.parametrize("library", LIBRARIES)
def test_exchanged_files_are_named(config: Config, library: str) -> None:
    exchanged = replace(config, library=library, certificate=config.private_key, private_key=config.certificate)
    assert [text.split(":")[0] for text in credentials.problems(exchanged)] == ["certificate", "private_key"]
    assert all(text.endswith("are certificate and private_key exchanged?") for text in credentials.problems(exchanged))


@pytest.mark.parametrize("library", LIBRARIES)
def test_certificate_that_is_not_the_first_in_its_file_is_named(config: Config, library: str) -> None:
    other = certificate(ec.generate_private_key(ec.SECP256R1()), BEGIN, BEGIN + YEAR).public_bytes(PEM)
    own = config.certificate.read_bytes()
    config.certificate.write_bytes(own + other)
    check(replace(config, library=library))
    config.certificate.write_bytes(other + own)
    with pytest.raises(
        CredentialError, match=r"^certificate: .* has the certificate of .*client\.key as number 2, exp"
    ):
        check(replace(config, library=library))


def trusted(made: bytes, settings: bytes) -> bytes:
    """A certificate with what OpenSSL appends to it, d2i_X509_AUX(3)."""
    content = pem.blocks(made)[0].content
    return pem.encode([pem.Block("TRUSTED CERTIFICATE", content + settings)])


# SEQUENCE; SEQUENCE {[0] {serverAuth}}: rejected for servers.
NO_SETTINGS, REJECTED = b"\x30\x00", b"\x30\x0c\xa0\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01"


@pytest.mark.parametrize("library", LIBRARIES)
def test_trusted_certificate_is_one_like_any_other_unless_it_has_limits(config: Config, library: str) -> None:
    own = replace(config, library=library)
    made = config.ca.read_bytes()
    for settings in (NO_SETTINGS, b""):
        config.ca.write_bytes(trusted(made, settings))
        config.certificate.write_bytes(trusted(made, settings))
        check(own)
        assert credentials.read(own).ca == made
    config.ca.write_bytes(trusted(made, REJECTED))
    if library == "paho":
        check(own)
        # OpenSSL knows what that means.
        assert b"TRUSTED" in credentials.read(own).ca
    else:
        with pytest.raises(CredentialError, match=r"^ca: .* limits what its certificates are trusted for"):
            check(own)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", [serialization.PrivateFormat.TraditionalOpenSSL, serialization.PrivateFormat.PKCS8])
@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        RSA_KEY,
    ],
)
def test_keys_that_aws_takes_pass(
    config: Config, library: str, kind: serialization.PrivateFormat, key: ec.EllipticCurvePrivateKey
) -> None:
    config.certificate.write_bytes(certificate(key, BEGIN, BEGIN + YEAR).public_bytes(PEM))
    config.private_key.write_bytes(key.private_bytes(PEM, kind, serialization.NoEncryption()))
    check(replace(config, library=library))
    assert key_doubt(config) is None


@pytest.mark.parametrize(
    ("key", "name"),
    [(ed25519.Ed25519PrivateKey.generate(), "Ed25519"), (ed448.Ed448PrivateKey.generate(), "Ed448")],
)
def test_key_that_the_sdk_cannot_use_is_named(config: Config, key: Key, name: str) -> None:
    config.certificate.write_bytes(certificate(key, BEGIN, BEGIN + YEAR).public_bytes(PEM))
    config.private_key.write_bytes(private(key))
    # Brokers other than AWS take it.
    check(config)
    assert f"is for {name}, AWS IoT Core takes RSA from 2048 bits" in str(key_doubt(config))
    with pytest.raises(
        CredentialError, match=rf"^certificate: .* is for {name}, which the AWS IoT SDK cannot use: have"
    ):
        check(replace(config, library="awsiotsdk"))


def test_short_rsa_key_is_doubted(config: Config) -> None:
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - the fault
    config.certificate.write_bytes(certificate(key, BEGIN, BEGIN + YEAR).public_bytes(PEM))
    assert "is for RSA of 1024 bits, AWS IoT Core takes" in str(key_doubt(config))


@pytest.mark.parametrize("library", LIBRARIES)
def test_binary_files_are_told_with_the_command_that_helps(config: Config, library: str) -> None:
    own = replace(config, library=library)
    key, made = ec.generate_private_key(ec.SECP256R1()), x509.load_pem_x509_certificate(config.certificate.read_bytes())
    bag = pkcs12.serialize_key_and_certificates(b"device", key, None, None, serialization.NoEncryption())
    for content, text in ((made.public_bytes(DER), "openssl x509 -inform DER"), (bag, "openssl pkcs12 -nodes")):
        config.certificate.write_bytes(content)
        assert text in credentials.problems(own)[0]
    config.certificate.write_bytes(made.public_bytes(PEM))
    for kind in (serialization.PrivateFormat.TraditionalOpenSSL, serialization.PrivateFormat.PKCS8):
        config.private_key.write_bytes(key.private_bytes(DER, kind, serialization.NoEncryption()))
        assert "is a key in DER: 'openssl pkey -inform DER" in credentials.problems(own)[0]
    config.private_key.write_bytes(
        key.private_bytes(PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    )
    assert "ssh-keygen -p -m PEM" in credentials.problems(own)[0]


def test_all_problems_are_told_at_once(config: Config) -> None:
    config.ca.unlink()
    config.certificate.write_bytes(b"")
    assert [text.split(":")[0] for text in credentials.problems(config)] == ["ca", "certificate"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_bundle_of_hundreds_of_certificates_passes(config: Config, library: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    some = [certificate(key, BEGIN, BEGIN + YEAR).public_bytes(PEM) for _ in range(300)]
    config.ca.write_bytes(b"\n# one more\n".join(some))
    check(replace(config, library=library))


@pytest.mark.parametrize("library", LIBRARIES)
def test_files_that_passed_are_looked_at_again_when_they_change(
    config: Config, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Config] = []
    look = credentials.problems
    monkeypatch.setattr(credentials, "problems", lambda own: looks.append(own) or look(own))
    own = replace(config, library=library)
    for _ in range(3):
        check(own)
    assert len(looks) == 1
    good = config.private_key.read_bytes()
    config.private_key.write_bytes(private(ec.generate_private_key(ec.SECP256R1())))
    for _ in range(2):
        with pytest.raises(CredentialError, match="does not match"):
            check(own)
    config.private_key.write_bytes(good)
    check(own)
    config.ca.unlink()
    with pytest.raises(CredentialError, match=r"^ca: "):
        check(own)


def test_ca_file_in_which_nothing_is_valid_is_doubted(config: Config) -> None:
    assert ca_doubt(config, BEGIN.timestamp() + 1) is None
    assert "holds none that is valid at 2028" in str(ca_doubt(config, BEGIN.timestamp() + 2 * YEAR.total_seconds()))


@pytest.mark.parametrize(
    "other", [lambda: ec.generate_private_key(ec.SECP256R1()), lambda: rsa.generate_private_key(65537, 2048)]
)
def test_key_of_another_certificate_is_named(config: Config, other: Callable[[], Key]) -> None:
    config.private_key.write_bytes(private(other()))
    with pytest.raises(
        CredentialError, match=r"^private_key: .* does not match the certificate .*client\.crt: install"
    ):
        check(config)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", [serialization.PrivateFormat.TraditionalOpenSSL, serialization.PrivateFormat.PKCS8])
def test_key_with_a_password_is_refused_and_nobody_is_asked_for_it(
    config: Config, library: str, kind: serialization.PrivateFormat
) -> None:
    hiding = serialization.BestAvailableEncryption(b"secret")
    config.private_key.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(PEM, kind, hiding))
    with pytest.raises(CredentialError, match=r"^private_key: .* is encrypted with a password .*openssl pkey"):
        check(replace(config, library=library))


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
