"""Every fault of the menu is a fault while it lasts, and leaves the lab as it was."""

from __future__ import annotations

import hashlib
import socket
import ssl
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import dns.message
import dns.query
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ReadTimeoutError

from lab import api, device, faults, sabotage, topology
from lab.errors import LabError
from lab.load import mqtt
from lab.sabotage import CERTIFICATES, CLIENT_ID, ENDPOINT

from .conftest import wait_for

MOVE = faults.MOVES["3"]
TARGET = MOVE.target
DEVICES = dict(zip(("client_01", CLIENT_ID), topology.DEVICES, strict=True))
# Another thing of the devices' certificates, since a device connects as a thing of its own.
PROBE = "probe"
ACCEPTED = b"\x20\x02\x00\x00"


@pytest.fixture(autouse=True, scope="module")
def probe(fleet: dict[str, str]) -> Iterator[None]:
    """The devices' certificates may connect as PROBE in the target region, and more than once a second."""
    iot = api.client("iot", TARGET.name)
    arns = [
        described["certificateArn"]
        for described in iot.list_certificates()["certificates"]
        if described["certificateId"] in map(certificate_id, DEVICES)
    ]
    iot.create_thing(thingName=PROBE)
    for arn in arns:
        iot.attach_thing_principal(thingName=PROBE, principal=arn)
    with sabotage.settings(quotas={"ConnectPerClientId": 1e6}):
        yield
    for arn in arns:
        iot.detach_thing_principal(thingName=PROBE, principal=arn)
    iot.delete_thing(thingName=PROBE)


def certificate_id(client_id: str) -> str:
    pem = (CERTIFICATES / "clients" / f"{client_id}.crt").read_text(encoding="ascii")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def connack(endpoint: str, client_id: str) -> bytes:
    """What the target region answers to a device that connects; nothing when it closes the connection.

    Raises:
        ssl.SSLError: the TLS handshake failed.
    """
    context = ssl.create_default_context(cafile=str(CERTIFICATES / "ca.crt"))
    with tempfile.NamedTemporaryFile("w") as key:
        # Nobody but the device has it.
        key.write(device.ssh(DEVICES[client_id], "cat /etc/mqtt-client/client.key"))
        key.flush()
        context.load_cert_chain(CERTIFICATES / "clients" / f"{client_id}.crt", key.name)
    with (
        socket.create_connection((str(TARGET.address), topology.MQTT_PORT), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=endpoint) as session,
    ):
        try:
            session.sendall(mqtt.connect(PROBE, 30))
            return session.recv(len(ACCEPTED))
        except (ConnectionError, ssl.SSLEOFError):
            return b""


def problem() -> str:
    """Why a device cannot connect to ENDPOINT in the target region; nothing when it can."""
    try:
        return "" if connack(ENDPOINT, CLIENT_ID) == ACCEPTED else "not admitted"
    except ssl.SSLError as error:
        return str(error)


def state() -> dict[str, Any]:
    """What the target region's control plane tells of the endpoint and of the device."""
    iot = api.client("iot", TARGET.name)
    described = iot.describe_certificate(certificateId=certificate_id(CLIENT_ID))["certificateDescription"]
    domain = iot.describe_domain_configuration(domainConfigurationName=ENDPOINT.replace(".", "-"))
    served = api.client("acm", TARGET.name).get_certificate(
        CertificateArn=domain["serverCertificates"][0]["serverCertificateArn"]
    )
    arn = described["certificateArn"]
    return {
        "status": described["status"],
        "policies": iot.list_attached_policies(target=arn)["policies"],
        "things": iot.list_principal_things(principal=arn)["things"],
        "domain": (domain["domainConfigurationStatus"], domain["serverCertificates"]),
        "served": served["Certificate"].strip(),
        "settings": api.ask("settings"),
        "faults": api.ask("faults"),
    }


@contextmanager
def injected(name: str) -> Iterator[None]:
    """A fault of the menu, which has to leave the lab as it was."""
    with left_as_it_was(faults.find(name).inject(MOVE)):
        yield


@contextmanager
def left_as_it_was(fault: AbstractContextManager[None]) -> Iterator[None]:
    """A fault, which has to leave the target region as it was, also when the move under it breaks."""
    before = state()
    assert problem() == ""
    with pytest.raises(ZeroDivisionError), fault:
        yield
        raise ZeroDivisionError
    assert state() == before
    wait_for("a device being admitted again", lambda: problem() == "")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("certificate-expired", "certificate has expired"),
        ("certificate-wrong-name", "not valid for 'mqtt2.example.com'"),
        ("domain-disabled", "UNRECOGNIZED_NAME"),
        ("device-unregistered", "not admitted"),
        ("device-inactive", "not admitted"),
        ("device-without-policy", "not admitted"),
    ],
)
def test_target_region_refuses_the_device_while_the_fault_lasts(fleet: dict[str, str], name: str, said: str) -> None:
    with injected(name):
        assert said.lower() in problem().lower()
        assert connack("mqtt1.example.com", "client_01") == ACCEPTED


def answers(client: Any, method: str, **arguments: Any) -> str:
    """ "yes", "hangs", or the error's code."""
    try:
        getattr(client, method)(**arguments)
    except ReadTimeoutError:
        return "hangs"
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "yes"


def impatient(service: str, node: topology.Node) -> Any:
    return api.client(service, node.name, Config(retries={"total_max_attempts": 1}, read_timeout=1))


def test_source_region_hangs_and_route53_answers(fleet: dict[str, str]) -> None:
    with injected("source-dead"):
        assert answers(impatient("iot", MOVE.source), "describe_endpoint") == "hangs"
        assert answers(impatient("sts", MOVE.source), "get_caller_identity") == "hangs"
        assert answers(impatient("iot", TARGET), "describe_endpoint") == "yes"
        assert answers(impatient("route53", MOVE.source), "list_hosted_zones") == "yes"
        with pytest.raises(TimeoutError):
            socket.create_connection((str(MOVE.source.address), topology.MQTT_PORT), timeout=2)
    socket.create_connection((str(MOVE.source.address), topology.MQTT_PORT), timeout=5).close()


def test_delete_connection_is_forbidden(fleet: dict[str, str]) -> None:
    data = impatient("iot-data", MOVE.source)
    with injected("permission-missing"):
        assert answers(data, "delete_connection", clientId="nobody_1") == "ForbiddenException"
    assert answers(data, "delete_connection", clientId="nobody_2") == "ResourceNotFoundException"


def test_every_other_deletion_of_a_device_fails(fleet: dict[str, str]) -> None:
    data = impatient("iot-data", MOVE.source)
    with injected("delete-connection-500"):
        assert [answers(data, "delete_connection", clientId=f"client_{number}") for number in (91, 92, 93)] == [
            "InternalFailureException",
            "ResourceNotFoundException",
            "InternalFailureException",
        ]
        assert answers(data, "delete_connection", clientId="nobody_3") == "ResourceNotFoundException"


def answer(node: topology.Node, name: str) -> list[str]:
    """The CNAMEs that a server answers."""
    found = dns.query.udp(dns.message.make_query(name, "CNAME"), str(node.address), timeout=5)
    return [str(record) for rrset in found.answer for record in rrset]


@contextmanager
def spare_record(target: str) -> Iterator[str]:
    """A record that no device uses, on every name server."""
    name = "spare.example.com."
    change(name, target)
    wait_for("the spare record being served", lambda: all(answer(ns, name) for ns in topology.NAME_SERVERS))
    try:
        yield name
    finally:
        change(name, None)


def change(name: str, target: str | None, comment: str = "test") -> None:
    """Set a record, or delete it."""
    route53 = api.client("route53", MOVE.source.name)
    zone = topology.HOSTED_ZONE_ID
    listed = route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    changes = [{"Action": "DELETE", "ResourceRecordSet": record} for record in listed if record["Name"] == name]
    if target:
        record = {"Name": name, "Type": "CNAME", "TTL": 0, "ResourceRecords": [{"Value": target}]}
        changes.append({"Action": "CREATE", "ResourceRecordSet": record})
    batch = {"Comment": comment, "Changes": changes}
    route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)


def test_name_server_is_late_after_insync(fleet: dict[str, str]) -> None:
    first, last = topology.NAME_SERVERS
    with spare_record("old.example.net.") as name:
        with left_as_it_was(sabotage.late_name_server(5.0)):
            change(name, "new.example.net.")
            wait_for("the first name server having the change", lambda: answer(first, name) == ["new.example.net."])
            assert answer(last, name) == ["old.example.net."]
        wait_for("the last name server having the change", lambda: answer(last, name) == ["new.example.net."])


def test_resolver_has_the_old_answers(fleet: dict[str, str]) -> None:
    with injected("resolver-clamp"):
        found = dns.query.udp(
            dns.message.make_query(ENDPOINT, "CNAME"), str(topology.RESOLVER.address), timeout=5
        ).answer
        assert 20 <= found[0].ttl <= 30
    found = dns.query.udp(dns.message.make_query(ENDPOINT, "CNAME"), str(topology.RESOLVER.address), timeout=5).answer
    assert found[0].ttl == 0


def test_record_is_changed_while_the_move_s_batch_is_held(fleet: dict[str, str]) -> None:
    expected = {"source": str(MOVE.source.dns_name), "target": str(TARGET.dns_name)}
    before = answer(topology.NAME_SERVERS[0], ENDPOINT)
    with ThreadPoolExecutor() as pool, injected("record-changed"):
        held = pool.submit(change, "spare.example.com.", "new.example.net.", "Move to mode 3")
        held.result(timeout=30)
        wait_for(
            "the record being somebody else's",
            lambda: answer(topology.NAME_SERVERS[0], ENDPOINT) == [f"{expected['target']}."],
        )
    change("spare.example.com.", None)
    sabotage_left = f"{expected['source']}."
    wait_for("the record being back", lambda: answer(topology.NAME_SERVERS[0], ENDPOINT) == [sabotage_left])
    change(f"{ENDPOINT}.", before[0])


def test_fault_whose_moment_does_not_come_is_told(fleet: dict[str, str]) -> None:
    call = {"operation": "DeleteConnection", "containing": "/connections/client_"}
    with pytest.raises(LabError, match="the move ended before a DeleteConnection"), sabotage.at_call(call, list):
        pass
    assert api.ask("faults") == []
