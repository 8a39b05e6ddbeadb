"""Who gets in at a region's endpoint: the right name, and a certificate that is ACTIVE there."""

from __future__ import annotations

import hashlib
import itertools
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from lab import api, topology
from lab.load import mqtt

from .conftest import REPOSITORY, StandIn, wait_for

CERTS = REPOSITORY / "certs"
CLIENT_ID = "fleet-monitor"
ENDPOINT = "mqtt2.example.com"
REGION = topology.REGIONS[1]

CONNACK_ACCEPTED = b"\x20\x02\x00\x00"
CONNACK_UNAVAILABLE = b"\x20\x02\x00\x03"
CONNACK_NOT_AUTHORIZED = b"\x20\x02\x00\x05"
NUMBERS = itertools.count()


@dataclass(frozen=True)
class Endpoint:
    """A region's TLS endpoint, spoken to as a device does."""

    address: str

    def connack(self, server_name: str, with_certificate: bool = True, client_id: str | None = None) -> bytes:
        """Return the answer to an MQTT CONNECT; empty when the connection was closed instead.

        A client ID connects once a second, so each call has one of its own that the certificate's policy allows.

        Raises:
            ssl.SSLError: the TLS handshake failed.
        """
        context = ssl.create_default_context(cafile=str(CERTS / "ca.crt"))
        if with_certificate:
            pair = CERTS / "clients" / CLIENT_ID
            context.load_cert_chain(f"{pair}.crt", f"{pair}.key")
        with (
            socket.create_connection((self.address, topology.MQTT_PORT), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=server_name) as session,
        ):
            try:
                session.sendall(mqtt.connect(client_id or f"{CLIENT_ID}-{next(NUMBERS)}", 30))
                return session.recv(4)
            except (ConnectionError, ssl.SSLEOFError):
                return b""


@pytest.fixture
def endpoint(fleet: dict[str, str]) -> Endpoint:
    return Endpoint(str(REGION.address))


@contextmanager
def inactive_certificate(stand_in: StandIn) -> Iterator[None]:
    """The certificate INACTIVE in the region, and ACTIVE again afterwards."""
    pem = (CERTS / "clients" / f"{CLIENT_ID}.crt").read_text(encoding="ascii")
    certificate_id = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    iot: Any = boto3.client(
        "iot",
        region_name=REGION.name,
        endpoint_url=stand_in.url,
        aws_access_key_id="lab",
        aws_secret_access_key="lab",
    )
    iot.update_certificate(certificateId=certificate_id, newStatus="INACTIVE")
    try:
        yield
    finally:
        iot.update_certificate(certificateId=certificate_id, newStatus="ACTIVE")


@contextmanager
def quotas(stand_in: StandIn, **rates: float) -> Iterator[None]:
    """Other quotas, and the same as before afterwards."""
    before = stand_in.get("settings")["quotas"]
    api.set_settings(quotas={**before, **rates})
    try:
        yield
    finally:
        api.set_settings(quotas=before)


def test_active_certificate_is_admitted(endpoint: Endpoint) -> None:
    assert endpoint.connack(ENDPOINT) == CONNACK_ACCEPTED


def test_client_id_that_the_policy_does_not_allow_is_refused(endpoint: Endpoint) -> None:
    assert endpoint.connack(ENDPOINT, client_id="client_01") == CONNACK_NOT_AUTHORIZED


def test_client_id_that_connects_twice_in_a_second_is_refused(endpoint: Endpoint, stand_in: StandIn) -> None:
    with quotas(stand_in, ConnectPerClientId=0.001):
        answers = [endpoint.connack(ENDPOINT, client_id=f"{CLIENT_ID}-twice") for _ in range(2)]
    assert answers == [CONNACK_ACCEPTED, CONNACK_UNAVAILABLE]


def test_inactive_certificate_is_refused(endpoint: Endpoint, stand_in: StandIn) -> None:
    with inactive_certificate(stand_in):
        assert endpoint.connack(ENDPOINT) == b""

    wait_for("the certificate being admitted again", lambda: endpoint.connack(ENDPOINT) == CONNACK_ACCEPTED)


def test_no_certificate_is_refused(endpoint: Endpoint) -> None:
    # TLS 1.3 tells a client without a certificate only after the handshake, TLS 1.2 within it.
    try:
        answer = endpoint.connack(ENDPOINT, with_certificate=False)
    except ssl.SSLError:
        answer = b""

    assert answer == b""


def test_wrong_server_name_is_refused(endpoint: Endpoint) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)) as refusal:
        endpoint.connack("mqtt9.example.com")

    # The region ended the handshake; it did not come as far as our check of the certificate's name.
    assert not isinstance(refusal.value, ssl.SSLCertVerificationError)
