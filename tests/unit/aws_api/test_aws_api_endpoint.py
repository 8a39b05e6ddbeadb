"""Which client certificates a region's TLS endpoint is told to admit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from moto.iot.models import iot_backends

from lab.aws_api.config import Configuration, Region
from lab.aws_api.haproxy import Endpoint, Served
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
