"""Which certificates a region's TLS endpoint is told to serve, and which of clients to admit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from moto.iot.models import iot_backends

from lab.aws_api import stand_in as stand_in_module
from lab.aws_api.acm import public_arn
from lab.aws_api.config import Configuration, Region
from lab.aws_api.haproxy import Endpoint, Served
from lab.aws_api.identities import Identity
from lab.aws_api.stand_in import StandIn

ACCOUNT_ID, REGION = "123456789012", "us-east-1"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Served]:
    """What the endpoint is told, in order."""
    told: list[Served] = []
    monkeypatch.setattr(Endpoint, "publish", lambda _, served: told.append(served))
    return told


def _certificate() -> str:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client_01")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now)
    certificate = builder.not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def test_only_active_certificates_are_admitted(tmp_path: Path, served: list[Served]) -> None:
    regions = {REGION: Region(REGION, f"a2labrehearsal-ats.iot.{REGION}.amazonaws.com", tmp_path)}
    stand_in = StandIn(Configuration("127.0.0.1", 0, ACCOUNT_ID, tmp_path, regions, {}))
    backend = iot_backends[ACCOUNT_ID][REGION]
    certificate = backend.register_certificate_without_ca(_certificate(), "ACTIVE")
    identifier = certificate.certificate_id

    admitted = {}
    for status in ("ACTIVE", "INACTIVE", "REVOKED", "PENDING_ACTIVATION"):
        backend.update_certificate(identifier, status)
        stand_in.publish(REGION)
        admitted[status] = identifier in served[-1].active

    assert admitted == {"ACTIVE": True, "INACTIVE": False, "REVOKED": False, "PENDING_ACTIVATION": False}


def test_new_name_is_served_once_the_delay_is_over(
    tmp_path: Path, served: list[Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    ats, name = f"a2labrehearsal-ats.iot.{REGION}.amazonaws.com", "mqtt1.example.com"
    configuration = Configuration(
        "127.0.0.1", 0, ACCOUNT_ID, tmp_path, {REGION: Region(REGION, ats, tmp_path)}, {}, public_certificates=(name,)
    )
    stand_in = StandIn(configuration)
    now, timers = [100.0], []
    monkeypatch.setattr(stand_in_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    timer = SimpleNamespace(start=lambda: None)
    monkeypatch.setattr(stand_in_module.threading, "Timer", lambda *arguments: timers.append(arguments) or timer)
    stand_in.settings.serving_delay_seconds = 60.0
    arn = public_arn(ACCOUNT_ID, REGION, name)
    backend = iot_backends[ACCOUNT_ID][REGION]
    backend.create_domain_configuration("mqtt1", name, [arn], None, "DATA")
    stand_in.begin_serving(REGION, "mqtt1")

    stand_in.publish(REGION)
    assert served[-1].certificates[name] == served[-1].certificates[ats]
    assert [delay for delay, *_ in timers] == [60.0]

    now[0] = 160.0
    timers[0][1](*timers[0][2])
    public = x509.load_pem_x509_certificate(served[-1].certificates[name].encode())
    assert public.subject.rfc4514_string() == f"CN={name}"
    # What is turned off is not served at all.
    backend.update_domain_configuration("mqtt1", None, "DISABLED", None)
    stand_in.publish(REGION)
    assert name not in served[-1].certificates


@pytest.mark.parametrize("identities", [None, {"key": Identity("secret")}])
def test_signatures_are_verified_where_somebody_may_call(
    tmp_path: Path, identities: dict[str, Identity] | None
) -> None:
    configuration = Configuration("127.0.0.1", 0, ACCOUNT_ID, tmp_path, {}, {}, identities=identities)

    settings = StandIn(configuration).settings

    assert (settings.verify_signatures, settings.identities) == (identities is not None, identities or {})
