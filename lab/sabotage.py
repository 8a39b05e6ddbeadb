"""The faults of the menu: context managers, each of which leaves the lab as it was.

A fault that belongs to a moment, such as the middle of the sweep, holds the call that marks it, acts while the move
waits for its answer, and lets it continue.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import dns.message
import dns.query
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lab import api, configuration, network, topology
from lab import dns as lab_dns
from lab.aws_api.pki import Authority
from lab.errors import LabError
from lab.topology import Node

ENDPOINTS = topology.ENDPOINTS
# Whose record, domain or certificate it is where only one is hit.
ENDPOINT, CLIENT_ID = "mqtt2.example.com", "client_02"
CERTIFICATES = topology.REPOSITORY / "certs"
LOCK = topology.REPOSITORY / "reports" / ".lock"

# The DeleteConnection of a device, and not the one that asks whether the caller may.
OF_A_DEVICE = {"operation": "DeleteConnection", "containing": "/connections/client_"}
# The batch that moves the records; others have other comments.
OF_THE_MOVE = {"operation": "ChangeResourceRecordSets", "containing": "Move to mode"}

POLL = 0.05
SOON = timedelta(seconds=3)

Call = dict[str, Any]


@dataclass(frozen=True)
class Move:
    """A move of every endpoint from one region to the other."""

    mode: str
    source: Node
    target: Node


@contextmanager
def calls(*faults: Call) -> Iterator[None]:
    """Calls of the AWS API that go wrong, as `lab.aws_api.faults.Fault` describes them."""
    api.set_faults(*faults)
    try:
        yield
    finally:
        api.set_faults()


@contextmanager
def settings(**changed: Any) -> Iterator[None]:
    """The AWS API with other settings, as `lab.aws_api.stand_in.Settings` describes them."""
    before = api.ask("settings")
    api.set_settings(**changed)
    try:
        yield
    finally:
        api.set_settings(**{name: before[name] for name in changed})


@contextmanager
def at_call(call: Call, strike: Callable[[], list[Call]]) -> Iterator[None]:
    """Hold the first such call, call `strike`, and let it continue; `strike` returns the faults that stay from then on.

    Raises:
        LabError: the block ended, and no such call was made.
    """
    over = Event()
    with calls({**call, "kind": "hold", "times": 1}), ThreadPoolExecutor(max_workers=1) as pool:
        striking = pool.submit(_strike_when_held, call, strike, over)
        try:
            yield
        finally:
            over.set()
            striking.result()


def _strike_when_held(call: Call, strike: Callable[[], list[Call]], over: Event) -> None:
    while not any(fault["hits"] for fault in api.ask("faults")):
        if over.wait(POLL):
            raise LabError(f"the move ended before a {call['operation']} that the fault waits for")
    stay: list[Call] = []
    try:
        stay = strike()
    finally:
        api.set_faults(*stay)


@contextmanager
def late_name_server(seconds: float) -> Iterator[None]:
    """A name server that is late, while GetChange says INSYNC."""
    server, usual = str(topology.NAME_SERVERS[-1].dns_name), configuration.NAME_SERVER_LAGS[-1]
    with settings(insync_ignores=[server]):
        api.set_settings(name_servers={server: {"lag_seconds": seconds}})
        try:
            yield
        finally:
            api.set_settings(name_servers={server: {"lag_seconds": usual}})


@contextmanager
def clamping_resolver(seconds: int) -> Iterator[None]:
    """A resolver that keeps every answer for so long, and has the old ones."""
    lab_dns.clamp_ttl(seconds)
    try:
        for name in ENDPOINTS:
            query = dns.message.make_query(name, "A")
            dns.query.udp(query, str(topology.RESOLVER.address), timeout=5, port=topology.DNS_PORT)
        yield
    finally:
        lab_dns.clamp_ttl(0)


def _hang(node: Node) -> Call:
    return {"operation": "*", "region": node.name, "kind": "hang"}


@contextmanager
def dead_region(node: Node) -> Iterator[None]:
    """A region whose API and endpoints do not answer: connections hang."""
    with calls(_hang(node)):
        network.set_link(node, up=False)
        try:
            yield
        finally:
            network.set_link(node, up=True)


@contextmanager
def target_dies_in_the_sweep(move: Move) -> Iterator[None]:
    """The target region is gone when the second device is to be disconnected."""

    def strike() -> list[Call]:
        network.set_link(move.target, up=False)
        return [_hang(move.target)]

    try:
        with at_call({**OF_A_DEVICE, "after": 1}, strike):
            yield
    finally:
        network.set_link(move.target, up=True)


@contextmanager
def record_changed_by_someone_else(move: Move) -> Iterator[None]:
    """Somebody else moves one record after it was read; it is moved back afterwards."""
    route53 = api.client("route53", topology.REGIONS[0].name)

    def upsert(node: Node) -> list[Call]:
        record = {
            "Name": ENDPOINT,
            "Type": "CNAME",
            "TTL": 0,
            "ResourceRecords": [{"Value": str(node.dns_name)}],
        }
        changes = [{"Action": "UPSERT", "ResourceRecordSet": record}]
        route53.change_resource_record_sets(
            HostedZoneId=topology.HOSTED_ZONE_ID, ChangeBatch={"Comment": "somebody else", "Changes": changes}
        )
        return []

    try:
        with at_call(OF_THE_MOVE, lambda: upsert(move.target)):
            yield
    finally:
        upsert(move.source)


@contextmanager
def killed_controller() -> Iterator[None]:
    """The process that moves is killed when it disconnects the second device."""

    def strike() -> list[Call]:
        os.kill(json.loads(LOCK.read_text(encoding="utf-8"))["pid"], signal.SIGKILL)
        return []

    with at_call({**OF_A_DEVICE, "after": 1}, strike):
        yield


@contextmanager
def domain_disabled(move: Move) -> Iterator[None]:
    """The endpoint's domain configuration DISABLED in the target region."""
    iot, name = api.client("iot", move.target.name), _configuration_name()
    iot.update_domain_configuration(domainConfigurationName=name, domainConfigurationStatus="DISABLED")
    try:
        yield
    finally:
        iot.update_domain_configuration(domainConfigurationName=name, domainConfigurationStatus="ENABLED")


def _configuration_name() -> str:
    return ENDPOINT.replace(".", "-")


@contextmanager
def expired_server_certificate(move: Move) -> Iterator[None]:
    """The endpoint's server certificate in the target region expired, as it does: while it is served."""
    until = datetime.now(UTC) + SOON
    with _server_certificate(move, ENDPOINT, until):
        while datetime.now(UTC) <= until:
            time.sleep(POLL)
        yield


@contextmanager
def server_certificate_of_another_name(move: Move) -> Iterator[None]:
    """The endpoint's server certificate in the target region replaced by one for a name that nobody asks for."""
    with _server_certificate(move, "elsewhere.example.com", datetime.now(UTC) + timedelta(days=365)):
        yield


@contextmanager
def _server_certificate(move: Move, name: str, until: datetime) -> Iterator[None]:
    iot, acm = api.client("iot", move.target.name), api.client("acm", move.target.name)
    described = iot.describe_domain_configuration(domainConfigurationName=_configuration_name())
    arn = described["serverCertificates"][0]["serverCertificateArn"]
    chain = (CERTIFICATES / "ca.crt").read_bytes()

    def serve(certificate: bytes, key: bytes) -> None:
        acm.import_certificate(CertificateArn=arn, Certificate=certificate, PrivateKey=key, CertificateChain=chain)

    original = [(CERTIFICATES / f"{ENDPOINT}.{suffix}").read_bytes() for suffix in ("crt", "key")]
    serve(*_issue(name, until))
    try:
        yield
    finally:
        serve(*original)


def _issue(name: str, until: datetime) -> tuple[bytes, bytes]:
    """Return a server certificate of the endpoints' CA, and its key, as PEM."""
    issuer = x509.load_pem_x509_certificate((CERTIFICATES / "ca.crt").read_bytes())
    signer = serialization.load_pem_private_key((CERTIFICATES / "ca.key").read_bytes(), password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise LabError(f"{CERTIFICATES / 'ca.key'}: not an elliptic curve key: run setup.yml, which makes one")
    certificate, key = Authority(issuer, signer).public([name], "EC_prime256v1", until)
    return certificate.encode(), key.encode()


@dataclass(frozen=True)
class Registration:
    """A device's certificate in a region."""

    iot: Any
    pem: str
    identifier: str
    arn: str
    policies: list[str]
    things: list[str]

    def set_status(self, status: str) -> None:
        self.iot.update_certificate(certificateId=self.identifier, newStatus=status)

    def attach(self) -> None:
        for policy in self.policies:
            self.iot.attach_policy(policyName=policy, target=self.arn)
        for thing in self.things:
            self.iot.attach_thing_principal(thingName=thing, principal=self.arn)

    def detach_policies(self) -> None:
        for policy in self.policies:
            self.iot.detach_policy(policyName=policy, target=self.arn)

    def delete(self) -> None:
        self.detach_policies()
        for thing in self.things:
            self.iot.detach_thing_principal(thingName=thing, principal=self.arn)
        self.set_status("INACTIVE")
        self.iot.delete_certificate(certificateId=self.identifier)

    def register(self) -> None:
        self.iot.register_certificate_without_ca(certificatePem=self.pem, status="ACTIVE")
        self.attach()


def _registration(node: Node) -> Registration:
    iot = api.client("iot", node.name)
    pem = (CERTIFICATES / "clients" / f"{CLIENT_ID}.crt").read_text(encoding="ascii")
    identifier = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    arn = iot.describe_certificate(certificateId=identifier)["certificateDescription"]["certificateArn"]
    policies = [policy["policyName"] for policy in iot.list_attached_policies(target=arn)["policies"]]
    things = list(iot.list_principal_things(principal=arn)["things"])
    return Registration(iot, pem, identifier, arn, policies, things)


@contextmanager
def unregistered_device(move: Move) -> Iterator[None]:
    """A device whose certificate the target region does not know."""
    registration = _registration(move.target)
    registration.delete()
    try:
        yield
    finally:
        registration.register()


@contextmanager
def inactive_device(move: Move) -> Iterator[None]:
    """A device whose certificate is INACTIVE in the target region."""
    registration = _registration(move.target)
    registration.set_status("INACTIVE")
    try:
        yield
    finally:
        registration.set_status("ACTIVE")


@contextmanager
def device_without_policy(move: Move) -> Iterator[None]:
    """A device whose certificate has no policy in the target region."""
    registration = _registration(move.target)
    registration.detach_policies()
    try:
        yield
    finally:
        registration.attach()
