"""Keys in tokens: where OpenSSL is led to, whose PINs are asked for, and what is said when there is none."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from mqtt_fleet import credentials, pem, pkcs11, x509
from mqtt_fleet.config import Config
from mqtt_fleet.handshake import signs

from .test_credentials import BEGIN, PEM, YEAR, certificate, ec, private


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = certificate(ec.generate_private_key(ec.SECP256R1()), BEGIN, BEGIN + YEAR).public_bytes(PEM)
    for name in ("ca.crt", "client.crt"):
        (tmp_path / name).write_bytes(made)
    (tmp_path / "module.so").touch()
    (tmp_path / "pin").write_text(" 12;34 \n")
    return Config(
        client_id="client_01",
        endpoint="mqtt1.example.com",
        library="paho",
        ca=tmp_path / "ca.crt",
        certificate=tmp_path / "client.crt",
        outbox=tmp_path / "outbox",
        pkcs11_module=str(tmp_path / "module.so"),
        pkcs11_token_label="my token",
        pkcs11_key_label="mqtt",
        pkcs11_pin_file=tmp_path / "pin",
    )


@pytest.fixture(autouse=True)
def refused(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of a memory of PINs that has none yet."""
    now = [0.0]
    monkeypatch.setattr(pkcs11, "REFUSED", pkcs11.RefusedPins(lambda: now[0]))
    return now


def uri(block: bytes) -> str:
    (found,) = pem.blocks(block)
    assert found.label == "PKCS#11 PROVIDER URI"
    _, body, _ = x509.element(found.content)
    _, version, rest = x509.element(body)
    _, text, _ = x509.element(rest)
    assert version == b"PKCS#11 Provider URI v1.0"
    return text.decode()


def test_openssl_is_led_to_the_key(config: Config) -> None:
    expected = "pkcs11:token=my%20token;object=mqtt;type=private?pin-value=12%3B34"
    assert uri(credentials.read(config).private_key) == expected
    bare = replace(config, pkcs11_token_label="", pkcs11_key_label="", pkcs11_slot=0, pkcs11_pin_file=None)
    assert uri(credentials.read(bare).private_key) == "pkcs11:slot-id=0;type=private"
    long = replace(config, pkcs11_key_label="k" * 200)
    assert "k" * 200 in uri(credentials.read(long).private_key)


@pytest.mark.parametrize("library", ["paho", "awsiotsdk"])
def test_missing_module_or_pin_is_named(config: Config, library: str) -> None:
    own = replace(config, library=library)
    (config.certificate.parent / "pin").write_text("\n")
    assert credentials.problems(own)[0].startswith(f"pkcs11_pin_file: {config.pkcs11_pin_file} is empty")
    (config.certificate.parent / "pin").unlink()
    assert credentials.problems(own)[0].startswith(f"pkcs11_pin_file: {config.pkcs11_pin_file} cannot be read: No such")
    Path(config.pkcs11_module).unlink()
    assert credentials.problems(own)[0].startswith(f"pkcs11_module: {config.pkcs11_module}: no such file")


@pytest.mark.parametrize("library", ["paho", "awsiotsdk"])
def test_module_that_is_none_is_named_and_the_pin_never(config: Config, library: str) -> None:
    (said,) = credentials.problems(replace(config, library=library))
    assert said.startswith(f"pkcs11_module: {config.pkcs11_module}")
    assert "12;34" not in said
    assert "\n" not in said


def test_paho_without_a_provider_is_told_of_openssl(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENSSL_CONF", raising=False)
    assert "OPENSSL_CONF is not set" in credentials.problems(config)[0]
    monkeypatch.setenv("OPENSSL_CONF", "/etc/mqtt.cnf")
    assert "the providers of OPENSSL_CONF=/etc/mqtt.cnf found no such token" in credentials.problems(config)[0]


def test_doubtful_pin_is_not_tried_again_at_once(
    config: Config, refused: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    def refuse(_: bytes, private_key: bytes) -> OSError:
        asked.append(private_key)
        return OSError("refused")

    monkeypatch.setattr(credentials, "_pair_error", refuse)
    first = credentials.problems(config)
    refused[0] = pkcs11.DOUBTFUL_PIN_PAUSE - 1
    assert credentials.problems(config) == first
    assert len(asked) == 1
    (config.certificate.parent / "pin").write_text("5678")
    credentials.problems(config)
    assert len(asked) == 2
    refused[0] = 2 * pkcs11.DOUBTFUL_PIN_PAUSE
    credentials.problems(config)
    assert len(asked) == 3


def test_refused_pin_is_never_tried_again() -> None:
    pins = pkcs11.RefusedPins(lambda: 1e12)
    pins.add("1234")
    pins.add(None, 5.0)
    assert (pins.due("1234"), pins.due(None), pins.due("4321")) == (False, False, True)


def test_key_that_loads_but_does_not_sign_is_told(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a TPM's does with tpm2-openssl 1.1.1 and OpenSSL 3.0: its file is read, the handshake fails."""
    monkeypatch.setattr(credentials, "load_pair", lambda *_: None)
    assert (
        "found no such token or key" in credentials.problems(config)[0]
        or "no provider" in credentials.problems(config)[0]
    )


def test_handshake_with_ourselves_tells_whether_a_key_signs(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    made, secret = tmp_path / "made.crt", tmp_path / "made.key"
    made.write_bytes(certificate(key, BEGIN, BEGIN + YEAR).public_bytes(PEM))
    secret.write_bytes(private(key))
    assert signs(lambda context: context.load_cert_chain(made, secret)) is None
    # A server that has no key at all.
    assert isinstance(signs(lambda _: None), ssl.SSLError)


def test_keys_that_only_a_provider_can_use_are_named(config: Config) -> None:
    path = config.certificate.with_name("client.key")
    path.write_bytes(pem.encode([pem.Block("TSS2 PRIVATE KEY", b"0")]))
    own = replace(
        config, private_key=path, pkcs11_module="", pkcs11_token_label="", pkcs11_key_label="", pkcs11_pin_file=None
    )
    assert credentials.problems(own)[0].startswith(f"private_key: {path} cannot be used: OPENSSL_CONF is not set")
    sdk = replace(own, library="awsiotsdk")
    assert credentials.problems(sdk)[0].startswith(f"private_key: {path} holds TSS2 PRIVATE KEY, which only OpenSSL")
