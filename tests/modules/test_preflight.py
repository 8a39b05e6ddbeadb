"""What the other region would refuse, found against the stand-in and servers on loopback."""

from __future__ import annotations

import datetime as dt
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from ansible.module_utils.region_switch.aws import quotas
from ansible.module_utils.region_switch.aws.clients import Aws
from ansible.module_utils.region_switch.aws.paced import Paced
from ansible.module_utils.region_switch.checks import admission, preflight, probe
from ansible.module_utils.region_switch.checks.preflight import PreflightOptions, Question
from ansible.module_utils.region_switch.dns import methods
from ansible.module_utils.region_switch.fleet.index import IndexSource
from ansible.module_utils.region_switch.fleet.things import ThingsSource
from ansible.module_utils.region_switch.model.findings import Finding
from ansible.module_utils.region_switch.model.options import CheckOptions, DnsOptions, FleetOptions
from cryptography.hazmat.primitives import serialization

from .address_server import address_server
from .conftest import HOSTED_ZONE_ID, REPOSITORY, AwsApi, validation_arn
from .modules import last_request, run_ok
from .mqtt_server import Authority, Manners, Pair, mqtt_server
from .zone_server import zone_server

OLD, NEW = "us-east-1", "ap-northeast-1"
ENDPOINT = "mqtt1.example.com"
ATS = {region: f"a2labrehearsal-ats.iot.{region}.amazonaws.com" for region in (OLD, NEW)}
# Loopback addresses that stand for the regions' endpoints.
ADDRESSES = {OLD: "127.0.0.1", NEW: "127.0.0.2"}
ATTRIBUTE = "mqtt_endpoint"


def iot(region: str = NEW) -> Any:
    return boto3.client("iot", region_name=region)


def policy(region: str) -> str:
    resource = f"arn:aws:iot:{region}:123456789012:client/${{iot:Connection.Thing.ThingName}}"
    return json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": resource}]}
    )


def checking(settings: PreflightOptions, **changes: Any) -> PreflightOptions:
    """PreflightOptions with other options of the checks."""
    return replace(settings, checks=replace(settings.checks, **changes))


@dataclass
class World:
    """Two regions that are ready, until a test says otherwise."""

    aws_api: AwsApi
    ca: Authority
    stack: ExitStack
    settings: PreflightOptions
    devices: dict[str, str]

    def serve(self, region: str, pair: Pair, manners: Manners | None = None) -> None:
        """Let a region's endpoint answer with this certificate."""
        (port,) = self.settings.checks.mqtt_ports
        served = mqtt_server(pair, self.ca.file, manners, ADDRESSES[region], port)
        self.settings = checking(self.settings, mqtt_ports=[self.stack.enter_context(served)[0]])

    def add_device(self, name: str, regions: tuple[str, ...] = (OLD, NEW), endpoint: str = ENDPOINT) -> None:
        """Register a device as setup.yml does."""
        pem = self.ca.issue(name).pem
        for region in regions:
            client = iot(region)
            answer = client.register_certificate_without_ca(certificatePem=pem, status="ACTIVE")
            client.attach_policy(policyName="device", target=answer["certificateArn"])
            client.create_thing(thingName=name, attributePayload={"attributes": {ATTRIBUTE: endpoint}})
            client.attach_thing_principal(thingName=name, principal=answer["certificateArn"])
            self.devices[name] = answer["certificateId"]

    def arn(self, name: str, region: str = NEW) -> str:
        return f"arn:aws:iot:{region}:123456789012:cert/{self.devices[name]}"

    def question(self, **changes: Any) -> Question:
        records = methods.method(Aws([OLD]), HOSTED_ZONE_ID).read([ENDPOINT])
        question = Question(
            pairs=[(ENDPOINT, NEW)],
            hosts=ADDRESSES,
            sources={ENDPOINT: OLD},
            dead=(),
            records={name: record for name, record in records.items() if record},
            clients={NEW: 2},
        )
        return replace(question, **changes)

    def check(self, **changes: Any) -> list[Finding]:
        aws = Aws([OLD, NEW])
        return preflight.check(aws, methods.method(aws, HOSTED_ZONE_ID), self.settings, self.question(**changes))

    def reasons(self, **changes: Any) -> list[Finding]:
        return [finding for finding in self.check(**changes) if finding.blocking]


@pytest.fixture
def world(aws_api: AwsApi, tmp_path: Path) -> Iterator[World]:
    ca = Authority(tmp_path)
    # Longer ago than AWS may take to serve a new domain.
    aws_api.settings(status_age_seconds=7200)
    own, server = ca.issue("probe"), ca.issue(ENDPOINT)
    modes = {"thingIndexingMode": "REGISTRY", "thingConnectivityIndexingMode": "STATUS"}
    for region in (OLD, NEW):
        client = iot(region)
        client.update_indexing_configuration(thingIndexingConfiguration=modes)
        client.create_policy(policyName="device", policyDocument=policy(region))
        add_domain(region, server)
    boto3.client("route53", region_name=OLD).change_resource_record_sets(
        HostedZoneId=HOSTED_ZONE_ID, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": cname(0)}]}
    )
    checks = CheckOptions(
        ca_file=str(ca.file),
        certificate_days=14,
        probe_certificate=str(own.certificate),
        probe_private_key=str(own.key),
        mqtt_ports=[0],
    )
    settings = PreflightOptions(DnsOptions(), checks, IndexSource(FleetOptions(endpoint_attribute=ATTRIBUTE)))
    with ExitStack() as stack:
        world = World(aws_api, ca, stack, settings, {})
        world.add_device("client_01")
        world.add_device("client_02")
        world.serve(OLD, server)
        yield world


@pytest.fixture
def ready(world: World, tmp_path: Path) -> World:
    """Both regions serve the same certificate."""
    world.serve(NEW, Pair(tmp_path / f"{ENDPOINT}.crt", tmp_path / f"{ENDPOINT}.key"))
    return world


def cname(ttl: int) -> dict[str, Any]:
    return {"Name": ENDPOINT, "Type": "CNAME", "TTL": ttl, "ResourceRecords": [{"Value": ATS[OLD]}]}


def add_domain(region: str, server: Pair) -> None:
    certificate, key = server.certificate.read_bytes(), server.key.read_bytes()
    acm = boto3.client("acm", region_name=region).import_certificate(Certificate=certificate, PrivateKey=key)
    iot(region).create_domain_configuration(
        domainConfigurationName="any-name",
        domainName=ENDPOINT,
        serverCertificateArns=[acm["CertificateArn"]],
        validationCertificateArn=validation_arn(region, ENDPOINT),
    )


def only(findings: list[Finding]) -> Finding:
    """The one finding that blocks."""
    (finding,) = findings
    return finding


def test_two_regions_that_are_ready(ready: World) -> None:
    last = last_request(ready.aws_api)

    assert ready.check() == []
    assert ready.aws_api.writes(last) == []
    assert "DeleteConnection" in ready.aws_api.operations(last)
    assert "ChangeResourceRecordSets" in ready.aws_api.operations(last)


def test_lists_that_come_a_page_at_a_time_are_read_to_their_end(ready: World) -> None:
    """The last device of the list has no policy in the target, and the domain comes behind others."""
    ready.add_device("client_03")
    iot().detach_policy(policyName="device", target=ready.arn("client_03"))
    for number in range(3):
        iot().create_policy(policyName=f"another-{number}", policyDocument=policy(NEW))
    ready.aws_api.settings(page_size=1)
    last = last_request(ready.aws_api)

    finding = only(ready.reasons())

    assert (finding.check, finding.region) == ("device_certificate", NEW)
    assert "client_03" in f"{finding.found} {finding.endpoint}"
    operations = ready.aws_api.operations(last)
    for operation in ("ListCertificates", "ListPolicies", "ListTargetsForPolicy"):
        assert operations.count(operation) > 2, operation


def test_target_that_does_not_answer_is_not_asked(ready: World) -> None:
    last = last_request(ready.aws_api)

    finding = only(ready.reasons(dead=[NEW]))

    assert (finding.check, finding.region) == ("region_api", NEW)
    assert not [each for each in ready.aws_api.requests(last) if each["region"] == NEW]


def test_source_that_does_not_answer_keeps_nobody_from_leaving(ready: World) -> None:
    last = last_request(ready.aws_api)

    assert ready.reasons(dead=[OLD], hosts={NEW: ADDRESSES[NEW]}) == []
    asked = [each["service"] for each in ready.aws_api.requests(last) if each["region"] == OLD]
    assert set(asked) <= {"route53"}


Break = Callable[[World], object]

DEVICES: list[tuple[str, Break, str]] = [
    (
        "inactive",
        lambda world: iot().update_certificate(certificateId=world.devices["client_01"], newStatus="INACTIVE"),
        "client_01 not ACTIVE",
    ),
    ("unregistered", lambda world: world.add_device("client_03", (OLD,)), "client_03 not registered"),
    (
        "without-policy",
        lambda world: iot().detach_policy(policyName="device", target=world.arn("client_02")),
        "client_02 without policy",
    ),
]


@pytest.mark.parametrize(("harm", "found"), [case[1:] for case in DEVICES], ids=[case[0] for case in DEVICES])
def test_device_that_would_be_refused_is_named(ready: World, harm: Break, found: str) -> None:
    harm(ready)

    finding = only(ready.reasons())

    assert (finding.check, finding.region, finding.found) == ("device_certificate", NEW, found)
    # It mends what is missing, and leaves what somebody turned off.
    assert (f"setup.yml --limit {NEW}" in finding.advice) == ("not ACTIVE" not in found)


def test_device_that_is_not_active_here_either_is_no_reason(ready: World) -> None:
    for region in (OLD, NEW):
        iot(region).update_certificate(certificateId=ready.devices["client_01"], newStatus="INACTIVE")

    assert ready.reasons() == []


def test_device_of_an_endpoint_that_stays_is_only_told(ready: World) -> None:
    ready.add_device("client_09", (OLD,), endpoint="mqtt9.example.com")

    (note,) = ready.check()

    assert (note.check, note.blocking) == ("device_certificate", False)
    assert "client_09 of no endpoint that moves not registered" in note.found


def test_device_that_names_no_endpoint_belongs_to_the_default(ready: World) -> None:
    ready.add_device("client_09", (OLD,), endpoint="")
    ready.settings = replace(ready.settings, source=IndexSource(FleetOptions(endpoint_attribute=ATTRIBUTE), ENDPOINT))

    finding = only(ready.reasons())

    assert finding.found == "client_09 not registered"


def test_certificate_without_thing_is_only_told(ready: World) -> None:
    iot(OLD).register_certificate_without_ca(certificatePem=ready.ca.issue("monitor").pem, status="ACTIVE")

    (note,) = ready.check()

    assert not note.blocking
    assert "(no thing)" in note.found


def test_some_of_many_devices_are_named_and_all_counted(ready: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "EXAMINED", 3)
    monkeypatch.setattr(admission, "NAMED", 2)
    for number in range(5):
        ready.add_device(f"extra_{number}", (OLD,))

    finding = only(ready.reasons())

    assert finding.found.count("extra_") == 2
    assert "1 more, 2 certificates whose things were not looked up not registered" in finding.found


def test_policy_of_a_thing_group_makes_a_missing_one_a_note(ready: World) -> None:
    group = iot().create_thing_group(thingGroupName="fleet")["thingGroupArn"]
    iot().attach_policy(policyName="device", target=group)
    iot().detach_policy(policyName="device", target=ready.arn("client_02"))

    (note,) = ready.check()

    assert not note.blocking
    assert "client_02 without policy of their own" in note.found


def test_policy_with_the_other_regions_arns(ready: World) -> None:
    iot().create_policy_version(policyName="device", policyDocument=policy(OLD), setAsDefault=True)

    finding = only(ready.reasons())

    assert (finding.check, finding.region) == ("policy_region", NEW)
    assert finding.found == f"policy device with ARNs of {OLD} only"


def test_policy_that_nothing_has_is_no_matter(ready: World) -> None:
    iot().create_policy(policyName="unused", policyDocument=policy(OLD))

    assert ready.check() == []


def test_more_policies_than_can_be_asked_are_told(ready: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_POLICIES", 0)
    last = last_request(ready.aws_api)

    (note,) = ready.check()

    assert "ListTargetsForPolicy" not in ready.aws_api.operations(last)

    assert (note.check, note.blocking) == ("policy_region", False)
    assert "1 policies" in note.found


def test_domain_configuration_that_is_disabled(ready: World) -> None:
    iot().update_domain_configuration(domainConfigurationName="any-name", domainConfigurationStatus="DISABLED")

    finding = only(ready.reasons())

    assert (finding.check, finding.region, finding.endpoint) == ("domain_configuration", NEW, ENDPOINT)
    assert finding.found == "DISABLED"


def test_domain_configuration_that_is_absent(ready: World) -> None:
    iot().update_domain_configuration(domainConfigurationName="any-name", domainConfigurationStatus="DISABLED")
    iot().delete_domain_configuration(domainConfigurationName="any-name")

    finding = only(ready.reasons())

    assert (finding.check, finding.found) == ("domain_configuration", "no domain configuration of this name")


def test_domain_configurations_that_ask_different_things_of_devices(ready: World) -> None:
    """They would connect in one region and not in the other."""
    iot().update_domain_configuration(
        domainConfigurationName="any-name",
        authenticationType="AWS_X509",
        applicationProtocol="SECURE_MQTT",
        authorizerConfig={"defaultAuthorizerName": "mine", "allowAuthorizerOverride": False},
        tlsConfig={"securityPolicy": "IoTSecurityPolicy_TLS13_1_3_2022_10"},
    )

    found = ready.check()

    assert {(each.check, each.blocking, each.region, each.endpoint) for each in found} == {
        ("domain_configuration_differs", True, NEW, ENDPOINT)
    }
    assert sorted(each.found for each in found) == [
        "TLS policy IoTSecurityPolicy_TLS13_1_3_2022_10",
        "applicationProtocol SECURE_MQTT",
        "authenticationType AWS_X509",
        "authorizer mine (clients may name no other)",
    ]
    assert all(each.expected.endswith(f", as in {OLD}") for each in found)


def test_domain_configuration_that_is_left_keeps_nobody_from_leaving(ready: World) -> None:
    ready.aws_api.faults({"operation": "ListDomainConfigurations", "region": OLD, "kind": "error", "status": 500})

    assert [(each.check, each.blocking, each.region) for each in ready.check()] == [
        ("domain_configuration", False, OLD)
    ]


SERVED = [
    ("expired", ENDPOINT, -1, "certificate has expired"),
    ("wrong-name", "mqtt9.example.com", 90, "not valid for 'mqtt1.example.com'"),
    ("ends-soon", ENDPOINT, 5, "a certificate that expires in 5.0 days"),
]


@pytest.mark.parametrize(("name", "days", "found"), [case[1:] for case in SERVED], ids=[case[0] for case in SERVED])
def test_server_certificate_of_the_target(world: World, name: str, days: int, found: str) -> None:
    world.serve(NEW, world.ca.issue(name, dt.timedelta(days=days), file="bad"))

    finding = only(world.reasons())

    assert (finding.check, finding.region, finding.endpoint) == ("server_certificate", NEW, ENDPOINT)
    assert found in finding.found


def test_server_certificates_that_differ_are_told(world: World) -> None:
    world.serve(NEW, world.ca.issue(ENDPOINT, file="another"))

    (note,) = world.check()

    assert (note.check, note.blocking, note.endpoint) == ("server_certificate_differs", False, ENDPOINT)
    assert OLD in note.found
    assert NEW in note.found


def test_probe_that_is_refused(world: World, tmp_path: Path) -> None:
    server = Pair(tmp_path / f"{ENDPOINT}.crt", tmp_path / f"{ENDPOINT}.key")
    world.serve(NEW, server, Manners(connack=0x87))

    finding = only(world.reasons())

    assert (finding.check, finding.region, finding.found) == ("mqtt_probe", NEW, "CONNACK Not authorized")


def test_every_port_that_devices_use_is_tried(ready: World) -> None:
    """One that is open says nothing of another one."""
    (port,) = ready.settings.checks.mqtt_ports
    with socket.create_server((ADDRESSES[NEW], 0)) as taken:
        closed = taken.getsockname()[1]
    ready.settings = checking(ready.settings, mqtt_ports=[port, closed])

    found = [each for each in ready.reasons() if each.region == NEW]

    assert [(each.check, each.endpoint) for each in found] == [("server_certificate", ENDPOINT)]
    assert found[0].found == f"Connection refused on port {closed}"


def test_without_a_probes_certificate_only_tls_is_tried(ready: World) -> None:
    ready.settings = checking(ready.settings, probe_certificate=None, probe_private_key=None)

    (note,) = ready.check()

    assert (note.check, note.blocking) == ("mqtt_probe", False)


def test_probes_certificate_that_is_missing(ready: World) -> None:
    ready.settings = checking(ready.settings, probe_private_key="/nowhere/probe.key")

    finding = only(ready.reasons())

    assert (finding.check, finding.found) == ("mqtt_probe", "no file /nowhere/probe.key")


def encrypt(settings: PreflightOptions, tmp_path: Path) -> PreflightOptions:
    key = serialization.load_pem_private_key(Path(str(settings.checks.probe_private_key)).read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"once upon")
    file = tmp_path / "locked.key"
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    return checking(settings, probe_private_key=str(file))


def of_another(settings: PreflightOptions, tmp_path: Path) -> PreflightOptions:
    return checking(settings, probe_private_key=str(tmp_path / f"{ENDPOINT}.key"))


def garble(option: str) -> Callable[[PreflightOptions, Path], PreflightOptions]:
    def change(settings: PreflightOptions, tmp_path: Path) -> PreflightOptions:
        (tmp_path / "garbage").write_text("no PEM")
        return checking(settings, **{option: str(tmp_path / "garbage")})

    return change


@pytest.mark.parametrize(
    ("change", "check", "found", "option"),
    [
        (encrypt, "mqtt_probe", "an encrypted private key in ", "failover_probe_private_key"),
        (of_another, "mqtt_probe", "the private key of another certificate than ", "failover_probe_private_key"),
        (garble("probe_private_key"), "mqtt_probe", "no usable PEM in ", "failover_probe_certificate and failover"),
        (garble("probe_certificate"), "mqtt_probe", "no usable PEM in ", "failover_probe_certificate and failover"),
        (garble("ca_file"), "server_certificate", "no usable PEM in ", "failover_ca_file"),
    ],
)
def test_file_that_the_probe_cannot_use_is_blamed_on_no_region(
    ready: World,
    tmp_path: Path,
    change: Callable[[PreflightOptions, Path], PreflightOptions],
    check: str,
    found: str,
    option: str,
) -> None:
    ready.settings = change(ready.settings, tmp_path)

    finding = only(ready.reasons())

    assert (finding.check, finding.region, finding.endpoint) == (check, "", "")
    assert finding.found.startswith(found)
    assert finding.advice.startswith(f"correct the file that {option}")


@pytest.mark.parametrize(("ttl", "blocking"), [(60, False), (301, True)])
def test_record_whose_ttl_is_too_long(ready: World, ttl: int, blocking: bool) -> None:
    boto3.client("route53", region_name=OLD).change_resource_record_sets(
        HostedZoneId=HOSTED_ZONE_ID, ChangeBatch={"Changes": [{"Action": "UPSERT", "ResourceRecordSet": cname(ttl)}]}
    )

    (finding,) = ready.check()

    assert (finding.check, finding.blocking, finding.found) == ("record_ttl", blocking, f"TTL {ttl} s")


def test_protected_record(ready: World) -> None:
    protection = {"RecordName": ENDPOINT, "RecordType": "CNAME", "Comment": "frozen until Monday"}
    boto3.client("route53", region_name=OLD).create_resource_record_set_protections(
        HostedZoneId=HOSTED_ZONE_ID, Protections=[protection]
    )

    finding = only(ready.reasons())

    assert (finding.check, finding.endpoint) == ("record_protection", ENDPOINT)
    assert "frozen until Monday" in finding.found


def test_protected_record_that_stays_is_in_the_batch_too(ready: World) -> None:
    protection = {"RecordName": ENDPOINT, "RecordType": "CNAME", "Comment": "frozen until Monday"}
    boto3.client("route53", region_name=OLD).create_resource_record_set_protections(
        HostedZoneId=HOSTED_ZONE_ID, Protections=[protection]
    )
    other = "mqtt2.example.com"

    found = ready.check(pairs=[(other, NEW)], sources={ENDPOINT: OLD, other: OLD})

    assert [each.endpoint for each in found if each.check == "record_protection"] == [ENDPOINT]


def test_protections_that_may_not_be_listed_are_only_told(ready: World) -> None:
    ready.aws_api.faults(denied("ListResourceRecordSetProtections", "AccessDenied"))

    (note,) = ready.check()

    assert (note.check, note.blocking) == ("record_protection", False)


def test_more_clients_than_the_target_may_hold(ready: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ready.aws_api.connect(NEW, "client_02", thing_name="client_02")
    limits = replace(quotas.defaults(NEW), connections=2)
    monkeypatch.setattr(quotas, "asked", lambda _aws, _region: limits)

    finding = only(ready.reasons())

    assert (finding.check, finding.region, finding.found) == ("quota", NEW, "1 connected and 2 to come")
    assert ready.reasons(clients={NEW: 1}) == []


def denied(operation: str, code: str) -> dict[str, object]:
    return {"operation": operation, "kind": "error", "status": 403, "code": code}


PERMISSIONS = [
    ("iot:DeleteConnection", "ForbiddenException", {OLD, NEW}),
    ("iot:GetConnection", "ForbiddenException", {OLD, NEW}),
    ("iot:SearchIndex", "AccessDeniedException", {OLD, NEW}),
    ("iot:ListCertificates", "AccessDeniedException", {OLD, NEW}),
    ("iot:ListTargetsForPolicy", "AccessDeniedException", {NEW}),
    ("iot:ListDomainConfigurations", "AccessDeniedException", {NEW}),
    ("iot:GetStatistics", "AccessDeniedException", {NEW}),
    ("route53:ChangeResourceRecordSets", "AccessDenied", {""}),
]


@pytest.mark.parametrize(("action", "code", "regions"), PERMISSIONS, ids=[case[0] for case in PERMISSIONS])
def test_missing_permission_is_named_and_the_other_checks_go_on(
    ready: World, action: str, code: str, regions: set[str]
) -> None:
    ready.settings = checking(ready.settings, certificate_days=1000)
    ready.aws_api.faults(denied(action.partition(":")[2], code))

    reasons = ready.reasons()

    missing = [finding for finding in reasons if finding.check == "permission"]
    assert {finding.region for finding in missing} == regions
    assert all(finding.found.startswith(f"{action} denied") for finding in missing)
    # It may be allowed for the fleet's clients alone: it is tried with the name of nobody.
    named = [finding for finding in missing if "client/region-switch-probe-*" in finding.advice]
    assert named == (missing if action.endswith("Connection") else [])
    assert [finding.check for finding in reasons if finding not in missing] == ["server_certificate"]


def test_failing_deletion_is_no_missing_permission(ready: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "TRY_INTERVAL", 0.0)
    ready.aws_api.faults({"operation": "DeleteConnection", "kind": "error", "status": 500})

    found = ready.check()

    assert {(each.check, each.blocking, each.region) for each in found} == {
        ("connection_api", False, OLD),
        ("connection_api", False, NEW),
    }


ODD = [
    pytest.param({"status": 400, "code": "InvalidRequestException"}, {OLD, NEW}, id="refused"),
    # Not the 404 of a client that is not connected.
    pytest.param(
        {"status": 404, "code": "NotFoundException"}, {OLD, NEW}, id="another 404",
        marks=pytest.mark.deviates("GetConnection error"),
    ),
    # A region that is left may be half dead.
    pytest.param({"status": 503, "code": "ServiceUnavailableException"}, {NEW}, id="half dead"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "regions"), ODD)
def test_connection_api_that_knows_not_that_a_client_is_unknown(
    ready: World, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any], regions: set[str]
) -> None:
    monkeypatch.setattr(preflight, "TRY_INTERVAL", 0.0)
    ready.aws_api.faults({"operation": "GetConnection", "kind": "error", **answer})

    found = ready.reasons()

    assert {(each.check, each.region) for each in found} == {("connection_api", region) for region in regions}
    assert all(each.found.startswith(f"GetConnection: {answer['code']}") for each in found)


@pytest.mark.parametrize("status", [403, 429, 500])
def test_single_refusal_says_nothing_of_the_connection_api(
    ready: World, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(preflight, "TRY_INTERVAL", 0.0)
    code = {403: "ForbiddenException", 429: "ThrottlingException", 500: "InternalFailureException"}[status]
    fault = {"kind": "error", "status": status, "code": code, "times": preflight.TRIES - 1}
    ready.aws_api.faults(*({"operation": each, **fault} for each in ("GetConnection", "DeleteConnection")))

    assert ready.check() == []


INDEXES = [
    ("OFF", "OFF", "thingIndexingMode OFF, thingConnectivityIndexingMode OFF"),
    ("REGISTRY", "OFF", "thingIndexingMode REGISTRY, thingConnectivityIndexingMode OFF"),
]


@pytest.mark.parametrize("region", [OLD, NEW])
@pytest.mark.parametrize(("things", "connectivity", "found"), INDEXES)
def test_index_that_does_not_know_who_is_connected(
    ready: World, things: str, connectivity: str, found: str, region: str
) -> None:
    modes = {"thingIndexingMode": things, "thingConnectivityIndexingMode": connectivity}
    iot(region).update_indexing_configuration(thingIndexingConfiguration=modes)

    reasons = [each for each in ready.reasons() if each.check == "fleet_index"]

    assert [(each.region, each.found) for each in reasons] == [(region, found)]


def test_index_that_is_still_built_is_no_matter_where_nobody_asks_it(ready: World) -> None:
    ready.aws_api.settings(index_building_seconds=600)

    reasons = [each for each in ready.reasons() if each.check == "fleet_index"]

    assert sorted((each.region, each.found) for each in reasons) == [
        (NEW, "the index BUILDING"),
        (OLD, "the index BUILDING"),
    ]
    ready.settings = replace(ready.settings, source=ThingsSource(FleetOptions()))
    assert ready.check() == []


def test_index_of_a_region_that_is_half_dead_keeps_nobody_from_leaving(ready: World) -> None:
    fault = {"operation": "GetIndexingConfiguration", "kind": "error", "status": 500}
    ready.aws_api.faults({**fault, "region": OLD})
    assert [(each.check, each.blocking) for each in ready.check()] == [("fleet_index", False)]

    ready.aws_api.faults({**fault, "region": NEW})
    assert [(each.check, each.region) for each in ready.reasons()] == [("fleet_index", NEW)]


@pytest.mark.deviates("ListDomainConfigurations error")
def test_check_that_cannot_be_made_is_a_reason(ready: World) -> None:
    ready.aws_api.faults({"operation": "ListDomainConfigurations", "kind": "error", "status": 400, "code": "Odd"})

    finding = only(ready.reasons())

    assert (finding.check, finding.region) == ("domain_configuration", NEW)
    assert "ListDomainConfigurations: Odd" in finding.found


def test_throttled_checks_are_asked_again(ready: World, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(Paced, "_pause", lambda _, seconds: slept.append(seconds))
    ready.aws_api.faults({"operation": "ListCertificates", "kind": "throttle", "region": NEW, "times": 5})

    assert ready.reasons() == []
    assert any(slept)


# The module iot_readiness_info -------------------------------------------------------------------------------------


@pytest.fixture
def options(ready: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The module's options; the regions' endpoints are found on loopback."""
    monkeypatch.setattr(
        probe, "locate", lambda host, _: next(ADDRESSES[region] for region in ATS if ATS[region] == host)
    )
    with zone_server() as server:
        yield {
            "modes": {1: {ENDPOINT: OLD}, 3: {ENDPOINT: NEW}},
            "endpoints": [ENDPOINT],
            "regions": [OLD, NEW],
            "hosted_zone_id": HOSTED_ZONE_ID,
            "resolvers": [server],
            "name_servers": [server],
            "ca_file": ready.settings.checks.ca_file,
            "probe_certificate": ready.settings.checks.probe_certificate,
            "probe_private_key": ready.settings.checks.probe_private_key,
            "mqtt_ports": ready.settings.checks.mqtt_ports,
        }


def test_both_regions_are_ready(options: dict[str, Any], aws_api: AwsApi) -> None:
    last = last_request(aws_api)

    done = run_ok("iot_readiness_info", options)

    assert (done["ready"], done["changed"], done["findings"], done["lines"]) == (True, False, [], [])
    assert aws_api.writes(last) == []


def test_regions_without_an_index_are_not_ready(options: dict[str, Any]) -> None:
    for region in (OLD, NEW):
        iot(region).update_indexing_configuration(thingIndexingConfiguration={"thingIndexingMode": "OFF"})

    done = run_ok("iot_readiness_info", options)

    assert not done["ready"]
    assert {each["region"] for each in done["findings"] if each["check"] == "fleet_index"} == {OLD, NEW}


def test_region_that_holds_the_endpoint_is_checked_too(options: dict[str, Any]) -> None:
    iot(OLD).update_domain_configuration(domainConfigurationName="any-name", domainConfigurationStatus="DISABLED")

    done = run_ok("iot_readiness_info", options)

    assert not done["ready"]
    assert done["lines"] == [
        f"refused domain_configuration ({OLD} {ENDPOINT}): found DISABLED, expected ENABLED: "
        "enable it there; setup.yml does not change what somebody disabled"
    ]


def test_waived_check_is_told(options: dict[str, Any]) -> None:
    iot(OLD).update_domain_configuration(domainConfigurationName="any-name", domainConfigurationStatus="DISABLED")

    done = run_ok("iot_readiness_info", {**options, "waive": ["domain_configuration"]})

    assert (done["ready"], done["reasons"]) == (True, 0)
    assert done["lines"][0].startswith("waived")


def test_dead_region_is_a_finding(options: dict[str, Any], aws_api: AwsApi) -> None:
    aws_api.faults({"operation": "*", "kind": "error", "status": 503, "region": NEW, "code": "ServiceUnavailable"})

    done = run_ok("iot_readiness_info", options)

    assert [(each["check"], each["region"]) for each in done["findings"] if each["blocking"]] == [("region_api", NEW)]


def test_record_that_is_missing_or_points_elsewhere(options: dict[str, Any]) -> None:
    client = boto3.client("route53", region_name=OLD)
    elsewhere = {**cname(0), "ResourceRecords": [{"Value": "broker.example.org"}]}
    for action, record, found in (("UPSERT", elsewhere, "broker.example.org"), ("DELETE", elsewhere, "no record")):
        batch = {"Changes": [{"Action": action, "ResourceRecordSet": record}]}
        client.change_resource_record_sets(HostedZoneId=HOSTED_ZONE_ID, ChangeBatch=batch)

        done = run_ok("iot_readiness_info", options)

        assert ("record", found) in [(each["check"], each["found"]) for each in done["findings"]]


def test_name_server_that_cannot_be_asked(options: dict[str, Any]) -> None:
    done = run_ok("iot_readiness_info", {**options, "name_servers": ["127.0.0.1:9"]})

    assert "dns_server" in {each["check"] for each in done["findings"] if each["blocking"]}


# The playbook --------------------------------------------------------------------------------------------------------


@dataclass
class Playbook:
    """`playbooks/readiness.yml` with an inventory of its own."""

    inventory: Path
    report: Path

    def run(self) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(self.inventory)]
        return subprocess.run(
            [*command, "playbooks/readiness.yml"], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )


@pytest.fixture
def playbook(ready: World, tmp_path: Path) -> Iterator[Playbook]:
    addresses = {ATS[region]: ADDRESSES[region] for region in ATS}
    with zone_server() as zone, address_server(addresses) as resolver:
        variables = {
            "aws_environment": {},
            "iot_endpoints": [ENDPOINT],
            "failover_modes": {"1": {ENDPOINT: OLD}, "3": {ENDPOINT: NEW}},
            "hosted_zone_id": HOSTED_ZONE_ID,
            "dns_record_ttl": 0,
            "dns_resolvers": [resolver],
            "failover_name_servers": [zone],
            "failover_ca_file": ready.settings.checks.ca_file,
            "failover_probe_certificate": ready.settings.checks.probe_certificate,
            "failover_probe_private_key": ready.settings.checks.probe_private_key,
            "failover_mqtt_port": ready.settings.checks.mqtt_ports[0],
            "reports_directory": str(tmp_path / "reports"),
        }
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        hosts = {"localhost": local, **dict.fromkeys((OLD, NEW), local)}
        groups = {"regions": {"hosts": {OLD: None, NEW: None}}}
        inventory = tmp_path / "hosts.json"
        inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": variables, "children": groups}}))
        yield Playbook(inventory, tmp_path / "reports" / "readiness.json")


def test_playbook_ends_well_when_both_regions_are_ready(playbook: Playbook) -> None:
    done = playbook.run()

    assert done.returncode == 0, done.stdout
    assert "changed=0" in done.stdout
    assert playbook.report.stat().st_mode & 0o777 == 0o600
    report = json.loads(playbook.report.read_text())
    # The inventory names no ledger, which is told.
    assert (report["ready"], [each["check"] for each in report["findings"]]) == (True, ["message_figures"])
    assert dt.datetime.fromisoformat(report["checked_at"]).tzinfo


def test_playbook_fails_in_one_line_and_leaves_its_report(playbook: Playbook) -> None:
    iot().update_domain_configuration(domainConfigurationName="any-name", domainConfigurationStatus="DISABLED")

    done = playbook.run()

    assert done.returncode == 2
    assert f"Not ready: 1 finding(s) that would block a move, the first: domain_configuration ({NEW}" in (
        done.stdout + done.stderr
    )
    (finding,) = [each for each in json.loads(playbook.report.read_text())["findings"] if each["blocking"]]
    assert (finding["check"], finding["region"], finding["found"]) == ("domain_configuration", NEW, "DISABLED")


def test_region_that_does_not_serve_a_new_domain_yet(world: World, tmp_path: Path) -> None:
    """Within the hour it shows another certificate, which is no mistake of anybody's."""
    world.serve(NEW, Authority(tmp_path, "Amazon").issue("*.iot.amazonaws.com"))

    late = only(world.reasons())
    assert late.found.startswith("a server certificate that is not trusted (")
    assert late.advice.startswith("correct the certificate in ACM")

    world.aws_api.settings(status_age_seconds=12 * 60 + 5)
    early = only(world.reasons())
    assert (early.check, early.region, early.endpoint) == ("server_certificate", NEW, ENDPOINT)
    assert early.found.startswith("configured 12 minutes ago, and still a server certificate that is not trusted (")
    assert early.advice.startswith("AWS may take 60 minutes to serve its certificate; ")
    assert early.advice.endswith("; check again in 48 minutes at the latest")
