"""Certificates that ACM does not take."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from lab.aws_api import domains, trust
from lab.aws_api.imports import KEY_BYTES, ImportRefusedError, check, check_replacement

PEM = serialization.Encoding.PEM
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Pair = tuple[x509.Certificate, Key]
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def curve(kind: type[ec.EllipticCurve] = ec.SECP256R1) -> Key:
    return ec.generate_private_key(kind())


def make(
    name: str = "mqtt1.example.com",
    issuer: Pair | None = None,
    key: Key | None = None,
    begins: float = -1,
    ends: float = 30,
    usages: Sequence[x509.ObjectIdentifier] = (x509.OID_SERVER_AUTH,),
    *,
    encipherment: bool = False,
) -> Pair:
    """A certificate of this issuer, else self-signed; it begins and ends so many days from now."""
    key, now = key or curve(), dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(True, False, encipherment, False, False, issuer is None, False, False, False)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=begins))
        .not_valid_after(now + dt.timedelta(days=ends))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(usage, critical=True)
    )
    if usages:
        built = built.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return built.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def pem(*pairs: Pair) -> bytes:
    return b"".join(certificate.public_bytes(PEM) for certificate, _ in pairs)


def key_pem(pair: Pair, passphrase: bytes | None = None) -> bytes:
    locked = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return pair[1].private_bytes(PEM, serialization.PrivateFormat.PKCS8, locked)


ROOT = make("root")
MIDDLE = make("middle", ROOT)
LEAF = make(issuer=MIDDLE)


@pytest.mark.parametrize("chain", [None, pem(MIDDLE), pem(MIDDLE, ROOT)])
def test_certificate_with_its_key_and_chain(chain: bytes | None) -> None:
    assert check(pem(LEAF), key_pem(LEAF), chain) == LEAF[0]


@pytest.mark.parametrize(
    ("certificate", "key", "chain", "says"),
    [
        (b"no PEM", key_pem(LEAF), None, "not PEM-encoded"),
        (LEAF[0].public_bytes(serialization.Encoding.DER), key_pem(LEAF), None, "not PEM-encoded"),
        (pem(LEAF, MIDDLE), key_pem(LEAF), None, "contains 2 certificates"),
        (pem(LEAF), key_pem(MIDDLE), None, "does not match the public key"),
        (pem(LEAF), key_pem(LEAF, b"once upon"), None, "or is encrypted"),
        (pem(LEAF), key_pem(LEAF) + b"\n" * KEY_BYTES, None, f"expected {KEY_BYTES} at most"),
        (pem(LEAF), key_pem(LEAF), b"no PEM", "The certificate chain is not PEM-encoded"),
        (pem(LEAF), key_pem(LEAF), pem(ROOT), "Could not validate the certificate with the certificate chain"),
        (pem(LEAF), key_pem(LEAF), pem(ROOT, MIDDLE), "Could not validate"),
        (pem(LEAF), key_pem(LEAF), pem(LEAF, MIDDLE), "contains the certificate itself"),
    ],
)
def test_parts_that_do_not_belong_together(certificate: bytes, key: bytes, chain: bytes | None, says: str) -> None:
    with pytest.raises(ImportRefusedError, match=says):
        check(certificate, key, chain)


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        (make(begins=-2, ends=-1), "has expired"),
        (make(begins=1), "not in effect yet"),
        (make(key=curve(ec.SECP256K1)), "key algorithm EC_secp256k1 is not supported"),
    ],
)
def test_certificate_that_is_refused_by_itself(pair: Pair, says: str) -> None:
    with pytest.raises(ImportRefusedError, match=says):
        check(pem(pair), key_pem(pair), None)


def test_key_is_of_the_kind_of_the_ca_s() -> None:
    leaf = make(issuer=ROOT, key=RSA_KEY)
    with pytest.raises(ImportRefusedError, match="not that of the CA that signed it"):
        check(pem(leaf), key_pem(leaf), pem(ROOT))


def test_replacement_keeps_key_type_and_usages() -> None:
    both = (x509.OID_SERVER_AUTH, x509.OID_CLIENT_AUTH)
    check_replacement(make(issuer=MIDDLE, usages=both, encipherment=True)[0], LEAF[0])
    with pytest.raises(ImportRefusedError, match="RSA_2048 is not that of the certificate to replace, EC_prime256v1"):
        check_replacement(LEAF[0], make(key=RSA_KEY)[0])
    with pytest.raises(ImportRefusedError, match=r"lacks usages of the one to replace: 1\.3\.6\.1\.5\.5\.7\.3\.1"):
        check_replacement(LEAF[0], make(usages=())[0])
    with pytest.raises(ImportRefusedError, match="key_encipherment"):
        check_replacement(make(key=RSA_KEY, encipherment=True)[0], make(key=RSA_KEY)[0])


def test_public_is_what_ends_at_one_of_the_roots() -> None:
    assert trust.is_public([LEAF[0], MIDDLE[0]], [ROOT[0]])
    assert trust.is_public([LEAF[0], MIDDLE[0], ROOT[0]], [ROOT[0]])
    # A root of the same name that did not sign it is another.
    assert not trust.is_public([LEAF[0], MIDDLE[0]], [make("root")[0]])
    assert not trust.is_public([LEAF[0], MIDDLE[0], ROOT[0]], trust.mozilla())
    assert trust.is_public(trust.mozilla()[:1], trust.mozilla())


def test_chain_of_a_server_certificate_is_limited() -> None:
    assert domains.chain_problem([LEAF[0]] * 5) is None
    assert domains.chain_problem([LEAF[0]] * 6) == "a chain of 6 certificates, expected 5 at most"
    [long, _] = make("root", key=RSA_KEY, usages=[x509.ObjectIdentifier(f"1.2.3.{number}") for number in range(1000)])
    assert "bytes, expected 16384 at most" in str(domains.chain_problem([long] * 3))
