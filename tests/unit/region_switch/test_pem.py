"""Files of signing requests and certificates as people hand them over: read, or refused in one true line."""

from __future__ import annotations

import base64
import datetime as dt
import subprocess
from collections.abc import Callable
from functools import cache

import pytest
from ansible.module_utils.region_switch.model.errors import RefusedError
from ansible.module_utils.region_switch.setup import pem
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

NOW = dt.datetime.now(dt.UTC)
File = Callable[[], bytes]


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def request(name: str = "pump") -> x509.CertificateSigningRequest:
    return x509.CertificateSigningRequestBuilder().subject_name(named(name)).sign(key(name), hashes.SHA256())


def _signed(name: str, issuer: str, *extensions: x509.ExtensionType) -> x509.Certificate:
    builder = x509.CertificateBuilder().subject_name(named(name)).issuer_name(named(issuer))
    builder = builder.public_key(key(name).public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(NOW - dt.timedelta(days=1)).not_valid_after(NOW + dt.timedelta(days=1))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key(issuer), hashes.SHA256())


@cache
def device(name: str = "pump") -> x509.Certificate:
    return _signed(name, "Device CA")


@cache
def authority(name: str = "Device CA") -> x509.Certificate:
    return _signed(name, name, x509.BasicConstraints(ca=True, path_length=None))


@cache
def old_authority() -> x509.Certificate:
    """One that says nothing of itself, as those of version 1 do."""
    return _signed("Device CA", "Device CA")


def text(thing: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    return thing.public_bytes(Encoding.PEM)


def private(kind: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8, password: bytes = b"") -> bytes:
    protection = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key("pump").private_bytes(Encoding.PEM, kind, protection)


def openssl(*arguments: str, data: bytes) -> bytes:
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout


AROUND: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda data: data,
    "byte-order mark": lambda data: b"\xef\xbb\xbf" + data,
    "UTF-16, as PowerShell writes": lambda data: ("\ufeff" + data.decode()).encode("utf-16-le"),
    "UTF-16, the other way round": lambda data: ("\ufeff" + data.decode()).encode("utf-16-be"),
    "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "CR": lambda data: data.replace(b"\n", b"\r"),
    "no newline at the end": lambda data: data.rstrip(),
    "trailing spaces": lambda data: data.replace(b"\n", b"  \t\n"),
    "indented": lambda data: b"".join(b"    " + line + b"\n" for line in data.splitlines()),
    "a comment": lambda data: "# für Größe 7\n".encode() + data,
    "a comment in Latin-1": lambda data: "# Größe\n".encode("latin-1") + data,
    "bag attributes": lambda data: b"Bag Attributes\n    friendlyName: pump\n    localKeyID: 01 02\n" + data,
    "twice": lambda data: data + data,
    "in one line with the next": lambda data: data.rstrip() + data,
    "parameters of a curve": lambda data: (
        b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + data
    ),
    "a line of 2,000 characters": lambda data: b"x" * 2000 + b"\n" + data,
}


@pytest.mark.parametrize("around", AROUND)
def test_request_is_read_and_encoded_anew(around: str) -> None:
    found = pem.read_request("pump.csr", AROUND[around](text(request())))

    assert pem.as_text(found).encode() == text(request())


@pytest.mark.parametrize("around", AROUND)
def test_certificate_is_read_and_encoded_anew(around: str) -> None:
    found = pem.read_device_certificate("pump.crt", AROUND[around](text(device())))

    assert pem.as_text(found).encode() == text(device())


def test_other_encodings_and_labels_are_read() -> None:
    new = text(request()).replace(b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST")
    x509_label = text(device()).replace(b"CERTIFICATE", b"X509 CERTIFICATE")
    trusted = openssl("x509", "-trustout", "-addtrust", "clientAuth", "-setalias", "pump", data=text(device()))
    shown = openssl("x509", "-text", data=text(device()))

    assert b"TRUSTED CERTIFICATE" in trusted
    for data in (request().public_bytes(Encoding.DER), new):
        assert pem.read_request("pump.csr", data) == request()
    for data in (device().public_bytes(Encoding.DER), x509_label, trusted, shown):
        assert pem.read_device_certificate("pump.crt", data) == device()


BUNDLES: dict[str, tuple[File, bool]] = {
    "the CA last": (lambda: text(device()) + text(authority()), False),
    "the CA first": (lambda: text(authority()) + text(device()), False),
    "a CA of version 1 first": (lambda: text(old_authority()) + text(device()), False),
    "another device's last, and the key known": (lambda: text(device()) + text(device("fan")), True),
    "another device's first, and the key known": (lambda: text(device("fan")) + text(device()), True),
    "with its signing request": (lambda: text(request()) + text(device()), False),
}


@pytest.mark.parametrize("bundle", BUNDLES)
def test_device_is_found_in_a_bundle(bundle: str) -> None:
    data, known = BUNDLES[bundle]

    found = pem.read_device_certificate("pump.crt", data(), pem.public_key(request()) if known else None)

    assert found == device()


WITH_KEYS: dict[str, File] = {
    "first": lambda: private() + text(request()) + text(device()),
    "last": lambda: text(request()) + text(device()) + private(),
    "alone": private,
    "SEC 1": lambda: private(serialization.PrivateFormat.TraditionalOpenSSL) + text(request()) + text(device()),
    "OpenSSH": lambda: private(serialization.PrivateFormat.OpenSSH) + text(request()) + text(device()),
    "encrypted": lambda: private(password=b"secret") + text(request()) + text(device()),
    "after a byte-order mark": lambda: b"\xef\xbb\xbf" + private() + text(request()) + text(device()),
    "in UTF-16": lambda: ("\ufeff" + (private() + text(request()) + text(device())).decode()).encode("utf-16-le"),
    "without its end": lambda: text(request()) + text(device()) + private()[:60],
    "with a damaged beginning": lambda: private().lstrip(b"-") + text(request()) + text(device()),
    "commented out": lambda: private().replace(b"-----BEGIN", b"# -----BEGIN") + text(request()) + text(device()),
    "as text": lambda: openssl("pkey", "-text", "-noout", data=private()) + text(request()) + text(device()),
    "DER": lambda: base64.b64decode(b"".join(private().splitlines()[1:-1])),
    "DER, encrypted": lambda: base64.b64decode(b"".join(private(password=b"secret").splitlines()[1:-1])),
}


@pytest.mark.parametrize("place", WITH_KEYS)
def test_private_key_is_refused_wherever_it_is(place: str) -> None:
    data = WITH_KEYS[place]()

    for read, what in ((pem.read_request, "signing request"), (pem.read_device_certificate, "certificate")):
        with pytest.raises(RefusedError) as refused:
            read("pump", data)
        assert str(refused.value).startswith("pump: found a private key in it, expected the ")
        assert what in str(refused.value)
        assert base64.b64encode(data)[:20].decode() not in str(refused.value)


REQUESTS: dict[str, tuple[File, str]] = {
    "nothing": (lambda: b"", "not a valid certificate signing request in PEM (nothing in it): create it again"),
    "blanks": (lambda: b" \n\n", "not a valid certificate signing request in PEM (nothing in it)"),
    "text": (lambda: b"no PEM", "not a valid certificate signing request in PEM (no BEGIN line)"),
    "a certificate": (lambda: text(device()), "not a valid certificate signing request in PEM (only CERTIFICATE)"),
    "half of one": (
        lambda: text(request())[:150],
        "not a valid certificate signing request in PEM (CERTIFICATE REQUEST without its end)",
    ),
    "half of one before another": (
        lambda: text(request())[:150] + b"\n" + text(request()),
        "not a valid certificate signing request in PEM (CERTIFICATE REQUEST without its end)",
    ),
    "no base64": (
        lambda: text(request()).replace(b"\nM", b"\n!", 1),
        "not a valid certificate signing request in PEM (CERTIFICATE REQUEST that is not base64)",
    ),
    "newlines as escapes": (
        lambda: text(request()).replace(b"\n", b"\\n"),
        "not a valid certificate signing request in PEM (CERTIFICATE REQUEST that is not base64)",
    ),
    "DER of something else": (
        lambda: device().public_bytes(Encoding.DER),
        "not a valid certificate signing request in PEM (",
    ),
    "two": (lambda: text(request()) + text(request("fan")), "found 2 signing requests, expected one"),
    "20 KB": (lambda: text(request()) + b"\n" * 20_000, "found 20"),
}


@pytest.mark.parametrize("fault", REQUESTS)
def test_what_is_not_one_request_is_refused_in_one_true_line(fault: str) -> None:
    data, says = REQUESTS[fault]

    with pytest.raises(RefusedError) as refused:
        pem.read_request("pump.csr", data())

    assert str(refused.value).startswith(f"pump.csr: {says}")
    assert "\n" not in str(refused.value)


CERTIFICATES: dict[str, tuple[File, str]] = {
    "nothing": (lambda: b"", "not a valid certificate in PEM (nothing in it): create it again"),
    "a request": (lambda: text(request()), "not a valid certificate in PEM (only CERTIFICATE REQUEST)"),
    "a CA": (lambda: text(authority()), "found the certificate of a CA ('Device CA'), expected that of the device"),
    "a CA in DER": (lambda: authority().public_bytes(Encoding.DER), "found the certificate of a CA ('Device CA')"),
    "two CAs": (lambda: text(authority("Root")) + text(authority()), "found the certificate of a CA ('Root')"),
    "one that may sign": (
        lambda: text(
            _signed(
                "Signer",
                "Root",
                x509.KeyUsage(False, False, False, False, False, True, False, False, False),
            )
        ),
        "found the certificate of a CA ('Signer')",
    ),
    "two devices": (
        lambda: text(device()) + text(device("fan")),
        "found certificates of 'pump', 'fan', expected one: keep only the device's",
    ),
    "PKCS #7": (
        lambda: openssl("crl2pkcs7", "-nocrl", "-certfile", "/dev/stdin", data=text(device())),
        "not a valid certificate in PEM (only PKCS7)",
    ),
    "a certificate cut short": (
        lambda: b"-----BEGIN TRUSTED CERTIFICATE-----\nMIIB\n-----END TRUSTED CERTIFICATE-----\n",
        "not a valid certificate in PEM (",
    ),
}


@pytest.mark.parametrize("fault", CERTIFICATES)
def test_what_is_no_devices_certificate_is_refused_in_one_true_line(fault: str) -> None:
    data, says = CERTIFICATES[fault]

    with pytest.raises(RefusedError) as refused:
        pem.read_device_certificate("pump.crt", data())

    assert str(refused.value).startswith(f"pump.crt: {says}")
    assert "\n" not in str(refused.value)


def test_key_of_nobody_in_a_bundle_of_two_devices_tells_nothing() -> None:
    with pytest.raises(RefusedError, match="found certificates of 'pump', 'fan', expected one"):
        pem.read_device_certificate("x.crt", text(device()) + text(device("fan")), pem.public_key(request("other")))
