"""The private key of a device: made on it, never readable for others, replaced when asked for."""

from __future__ import annotations

import stat
from typing import Any

import pytest
from ansible.module_utils.mqtt_device import identity
from ansible.module_utils.mqtt_device.commands import DeviceError
from ansible.module_utils.mqtt_device.identity import ensure_identity
from ansible.module_utils.mqtt_device.layout import Layout
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa


def asked(client_id: str = "client_01", key_type: str = "ECC", renew: bool = False) -> dict[str, Any]:
    return {"client_id": client_id, "key_type": key_type, "renew": renew}


def test_key_is_made_once_and_for_root_only(layout: Layout) -> None:
    foretold = ensure_identity(layout, asked(), check_mode=True)
    assert (foretold["changed"], foretold["csr"]) == (True, None)
    assert not layout.settings.exists()

    made = ensure_identity(layout, asked(), check_mode=False)

    key = layout.settings / "client.key"
    assert made["changed"]
    assert stat.S_IMODE(key.stat().st_mode) == 0o400
    assert "PRIVATE KEY" in key.read_text()
    assert "PRIVATE" not in str(made)
    request = x509.load_pem_x509_csr(made["csr"].encode())
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == "CN=client_01"
    again = ensure_identity(layout, asked(), check_mode=False)
    assert again == {**made, "changed": False}
    assert list(layout.settings.glob(".*")) == []


@pytest.mark.parametrize(("key_type", "kind"), [("ECC", ec.EllipticCurvePublicKey), ("RSA", rsa.RSAPublicKey)])
def test_key_is_of_a_kind_that_aws_takes(layout: Layout, key_type: str, kind: type) -> None:
    csr = ensure_identity(layout, asked(key_type=key_type), check_mode=False)["csr"]

    key = x509.load_pem_x509_csr(csr.encode()).public_key()
    assert isinstance(key, kind)
    assert key.key_size == (256 if key_type == "ECC" else 2048)


def test_request_follows_the_client_id_and_the_key_stays(layout: Layout) -> None:
    ensure_identity(layout, asked(), check_mode=False)
    key = (layout.settings / "client.key").read_text()

    renamed = ensure_identity(layout, asked("pump:7"), check_mode=False)

    assert renamed["changed"]
    assert x509.load_pem_x509_csr(renamed["csr"].encode()).subject.rfc4514_string() == "CN=pump:7"
    assert (layout.settings / "client.key").read_text() == key
    assert not ensure_identity(layout, asked("pump:7"), check_mode=False)["changed"]


def test_request_of_another_key_is_made_again(layout: Layout) -> None:
    ensure_identity(layout, asked(), check_mode=False)
    (layout.settings / "client.key").unlink()

    assert ensure_identity(layout, asked(), check_mode=False)["changed"]


def test_new_key_waits_beside_the_current_one(layout: Layout) -> None:
    old = ensure_identity(layout, asked(), check_mode=False)

    new = ensure_identity(layout, asked(renew=True), check_mode=False)

    assert new["changed"]
    assert new["csr"] != old["csr"]
    assert (layout.settings / "client.csr").read_text() == old["csr"]
    # It is the one that counts until it is installed, also for who does not ask for it.
    assert ensure_identity(layout, asked(renew=True), check_mode=False) == {**new, "changed": False}
    assert ensure_identity(layout, asked(), check_mode=False)["csr"] == new["csr"]


def test_file_that_is_no_key_is_named(layout: Layout) -> None:
    ensure_identity(layout, asked(), check_mode=False)
    key = layout.settings / "client.key"
    key.chmod(0o600)
    key.write_text("half a k")

    with pytest.raises(DeviceError, match=rf"{key} is no private key: remove it") as caught:
        ensure_identity(layout, asked(), check_mode=False)
    assert "\n" not in str(caught.value)


def test_device_without_openssl_is_named(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(layout.units))

    with pytest.raises(DeviceError, match="openssl: the program is missing"):
        ensure_identity(layout, asked(), check_mode=False)


@pytest.mark.parametrize(("said", "named"), [("systemd 241 (241)\n", "241"), ("?", "an unknown version")])
def test_old_systemd_is_named(monkeypatch: pytest.MonkeyPatch, said: str, named: str) -> None:
    monkeypatch.setattr(identity, "run", lambda *_: said)

    with pytest.raises(DeviceError, match=f"systemd: found {named}, expected 247 or newer"):
        identity.refuse_old_systemd()


@pytest.mark.parametrize("said", ["systemd 247 (247.3-7)\n+PAM", "systemd 257 (257.9-1)\n"])
def test_newer_systemd_is_taken(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setattr(identity, "run", lambda *_: said)

    identity.refuse_old_systemd()
