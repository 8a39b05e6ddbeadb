"""The steps of a smoke run: what each does, what it costs, and how."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab import topology
from region_switch.aws.limited_http import LimitedDataResponse, limit
from tests.self_signed import server_pair

from .recorder import PREFIX, Recorder, RecordingPlane

# As the product asks: one attempt, so that each answer is seen.
CONFIG = Config(connect_timeout=5, read_timeout=15, retries={"mode": "standard", "total_max_attempts": 1})
# What follows a made-up client ID: characters of paths that a proxy or a router may take for its own.
ID_TAILS = ("", "/a/b", "%", "/client/subscriptions")
SEARCH_PAGE = 100
GONE = "ResourceNotFoundException"
IAM_DOCUMENT = topology.REPOSITORY / "docs" / "iam-setup.json"
# What set-up asks of a client's thing and certificate when it comes again.
LISTED = (
    "iot:DescribeThing",
    "iot:ListThingPrincipals",
    "iot:DescribeCertificate",
    "iot:ListAttachedPolicies",
    "iot:ListPrincipalThings",
)
DENIES_EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "iot:*", "Resource": "*"}]}


@dataclass
class World:
    """What the steps of a run share.

    Attributes:
        region, other: AWS Regions.
        zone_id: a hosted zone to try refused batches in, None for none.
        iam_document: IAM policy under which what was made is listed.
        left: what could not be removed.
    """

    recorder: Recorder
    region: str
    other: str
    zone_id: str | None = None
    domain: str | None = None
    iam_document: Path = IAM_DOCUMENT
    name: str = field(default_factory=lambda: f"{PREFIX}{secrets.token_hex(6)}")
    caller: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    @cached_property
    def session(self) -> boto3.session.Session:
        return boto3.session.Session()

    def client(self, service: str, region: str, **options: Any) -> Any:
        return self.recorder.attach(self.session.client(service, region_name=region, config=CONFIG, **options))

    @contextmanager
    def removing(self, what: str, method: Callable[..., Any], **parameters: Any) -> Iterator[None]:
        """Remove what was just made when the block is over, and name it where that fails."""
        try:
            yield
        finally:
            failed = len(self.recorder.failed)
            self.recorder.call(f"remove {what}", method, **parameters)
            if len(self.recorder.failed) > failed:
                self.left.append(what)


@dataclass(frozen=True)
class Step:
    """One step; `cost` is for people to read."""

    title: str
    cost: str
    run: Callable[[World], None]
    paid: bool = False


def who(world: World) -> None:
    sts = world.client("sts", world.region)
    answer = world.recorder.call("GetCallerIdentity", sts.get_caller_identity) or {}
    world.caller = {"account": answer.get("Account", ""), "arn": answer.get("Arn", "")}


def reads(world: World) -> None:
    call = world.recorder.call
    for region in (world.region, world.other):
        iot = world.client("iot", region)
        call(f"DescribeEndpoint in {region}", iot.describe_endpoint, endpointType="iot:Data-ATS")
        call(f"ListThings in {region}", iot.list_things, maxResults=5)
        call(f"ListPolicies in {region}", iot.list_policies, pageSize=5)
        call(f"ListCertificates in {region}", iot.list_certificates, pageSize=5)
        call(f"ListDomainConfigurations in {region}", iot.list_domain_configurations, pageSize=5)
        _index(world, iot, region)
        acm = world.client("acm", region)
        call(f"ListCertificates of ACM in {region}", acm.list_certificates, MaxItems=5)
        quotas = world.client("service-quotas", region)
        call(f"GetServiceQuota in {region}", quotas.get_service_quota, ServiceCode="iotcore", QuotaCode="L-6F708547")


def _index(world: World, iot: Any, region: str) -> None:
    """Read the fleet index; an account without one is as good."""
    call = world.recorder.call
    found = call(f"GetIndexingConfiguration in {region}", iot.get_indexing_configuration) or {}
    things = found.get("thingIndexingConfiguration", {})
    if things.get("thingIndexingMode", "OFF") == "OFF":
        refused = ("IndexNotReadyException", "InvalidRequestException", GONE)
        call(f"SearchIndex without an index in {region}", iot.search_index, refused, queryString="thingName:*")
        return
    call(f"DescribeIndex in {region}", iot.describe_index, indexName="AWS_Things")
    query = {"queryString": "connectivity.connected:true", "maxResults": SEARCH_PAGE}
    if things.get("thingConnectivityIndexingMode", "OFF") == "OFF":
        query["queryString"] = "thingName:*"
    call(f"SearchIndex with a page of {SEARCH_PAGE} in {region}", iot.search_index, **query)


def connections(world: World) -> None:
    """Ask for connections that nobody has, and delete only those that AWS has just said nobody has."""
    iot = world.session.client("iot", region_name=world.region, config=CONFIG)
    account = iot.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"]
    # Where AWS_ENDPOINT_URL is set, all names are one server's.
    generic = world.session.client("iot-data", region_name=world.region).meta.endpoint_url
    own = account if generic.startswith("https://data") else None
    for kind, url in (("generic", None), ("account's", f"https://{own}" if own else None)):
        client = world.client("iot-data", world.region, endpoint_url=url)
        limit(client, LimitedDataResponse)
        # Answers are noted by the plane, or by boto3 where it makes the call.
        plane = RecordingPlane(client, world.session.get_credentials(), world.recorder)
        for tail in ID_TAILS:
            for by, ask in (("boto3", lambda _, method, **given: method(**given)), ("data plane", plane.call)):
                _nobody(world, client, f"{kind} endpoint, {by}", ask, f"{world.name}{secrets.token_hex(3)}{tail}")
        if not plane.by_itself:
            world.recorder.failed.append(
                f"{kind} endpoint: found every call made by boto3, expected the data plane's own"
            )


def _nobody(world: World, client: Any, where: str, ask: Callable[..., Any], client_id: str) -> None:
    call, shown = world.recorder.call, client_id.removeprefix(world.name)[6:] or "plain"
    before = len(world.recorder.failed)
    call(
        f"GetConnection, {shown} ({where})",
        partial(ask, "GetConnection", client.get_connection),
        [GONE],
        clientId=client_id,
    )
    if len(world.recorder.failed) == before:
        delete = partial(ask, "DeleteConnection", client.delete_connection)
        given = {"clientId": client_id, "cleanSession": False, "preventWillMessage": True}
        call(f"DeleteConnection, {shown} ({where})", delete, [GONE], **given)


def batches(world: World) -> None:
    """Have batches refused that would change nothing if they were not."""
    if world.zone_id is None:
        world.recorder.say("  skipped: no --zone-id")
        return
    call = world.recorder.call
    route53 = world.client("route53", world.region)
    zone = call("GetHostedZone", route53.get_hosted_zone, Id=world.zone_id)
    listed = call(
        "ListResourceRecordSets", route53.list_resource_record_sets, HostedZoneId=world.zone_id, MaxItems="100"
    )
    if zone is None or listed is None:
        return
    change = partial(route53.change_resource_record_sets, HostedZoneId=world.zone_id)
    refused = ["InvalidChangeBatch"]
    absent = _record(f"{world.name}.{zone['HostedZone']['Name']}", "TXT", '"absent"')
    call("DELETE of a record that is not there", change, refused, ChangeBatch=_batch(("DELETE", absent)))
    simple = {"Name", "Type", "TTL", "ResourceRecords"}
    found = [each for each in listed["ResourceRecordSets"] if set(each) == simple]
    present = next((each for each in found if each["Type"] not in ("NS", "SOA")), None)
    if present is None:
        world.recorder.say(
            "  skipped: the zone has no simple record but NS and SOA, on which the other batches could be tried"
        )
        return
    call("CREATE of a record that is there", change, refused, ChangeBatch=_batch(("CREATE", present)))
    # Were the wrong DELETE accepted, the CREATE would put back what was there.
    wrong = {**present, "TTL": present["TTL"] + 1}
    call("DELETE with a wrong TTL", change, refused, ChangeBatch=_batch(("DELETE", wrong), ("CREATE", present)))


def _record(name: str, kind: str, value: str) -> dict[str, Any]:
    return {"Name": name, "Type": kind, "TTL": 60, "ResourceRecords": [{"Value": value}]}


def _batch(*changes: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {"Changes": [{"Action": action, "ResourceRecordSet": record} for action, record in changes]}


def registration(world: World) -> None:
    """Make a thing, a certificate that is not active and a policy that allows nothing; list and remove them."""
    call, name = world.recorder.call, world.name
    iot = world.client("iot", world.region)
    if call("CreateThing", iot.create_thing, thingName=name) is None:
        return
    with world.removing(f"thing {name} in {world.region}", iot.delete_thing, thingName=name):
        document = json.dumps(DENIES_EVERYTHING)
        if call("CreatePolicy", iot.create_policy, policyName=name, policyDocument=document) is None:
            return
        with world.removing(f"policy {name} in {world.region}", iot.delete_policy, policyName=name):
            made = call(
                "CreateCertificateFromCsr", iot.create_certificate_from_csr, certificateSigningRequest=_request(name)
            )
            if made is not None:
                _with_certificate(world, iot, made)


def _with_certificate(world: World, iot: Any, made: dict[str, Any]) -> None:
    call, name, arn = world.recorder.call, world.name, made["certificateArn"]
    what = f"certificate {made['certificateId']}"
    with world.removing(f"{what} in {world.region}", iot.delete_certificate, certificateId=made["certificateId"]):
        other = world.client("iot", world.other)
        registered = call(
            f"RegisterCertificateWithoutCA in {world.other}",
            other.register_certificate_without_ca,
            certificatePem=made["certificatePem"], status="INACTIVE",
        )  # fmt: skip
        if registered is not None:
            where = f"{what} in {world.other}"
            with world.removing(where, other.delete_certificate, certificateId=registered["certificateId"]):
                pass
        if call("AttachPolicy", iot.attach_policy, policyName=name, target=arn) is None:
            return
        with world.removing(f"{name} from {what}", iot.detach_policy, policyName=name, target=arn):
            if call("AttachThingPrincipal", iot.attach_thing_principal, thingName=name, principal=arn) is None:
                return
            with world.removing(f"{what} from thing {name}", iot.detach_thing_principal, thingName=name, principal=arn):
                _listed(world, arn, made["certificateId"])


def _listed(world: World, arn: str, certificate_id: str) -> None:
    call = world.recorder.call
    narrowed = _narrowed(world)
    if narrowed is None:
        world.recorder.say(
            "  not shown: whether the IAM document suffices (only an IAM user's keys can be narrowed to it)"
        )
    iot = world.recorder.attach((narrowed or world.session).client("iot", region_name=world.region, config=CONFIG))
    under = "" if narrowed is None else f" under {world.iam_document.name}"
    call(f"DescribeThing{under}", iot.describe_thing, thingName=world.name)
    call(f"ListThingPrincipals{under}", iot.list_thing_principals, thingName=world.name)
    call(f"DescribeCertificate{under}", iot.describe_certificate, certificateId=certificate_id)
    call(f"ListAttachedPolicies{under}", iot.list_attached_policies, target=arn)
    call(f"ListPrincipalThings{under}", iot.list_principal_things, principal=arn)


def _narrowed(world: World) -> boto3.session.Session | None:
    """Return a session that may do what both the user and the IAM document allow; None where there can be none."""
    if ":user/" not in world.caller.get("arn", ""):
        return None
    text = world.iam_document.read_text(encoding="utf-8").replace("123456789012", world.caller["account"])
    policy = json.dumps(_session_policy(json.loads(text)), separators=(",", ":"))
    # Not noted: the answer is credentials.
    sts = world.session.client("sts", region_name=world.region, config=CONFIG)
    answer = world.recorder.call(
        "GetFederationToken", sts.get_federation_token, Name=PREFIX.strip("-"), Policy=policy, DurationSeconds=900
    )
    if answer is None:
        return None
    given = answer["Credentials"]
    return boto3.session.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])


def _session_policy(document: dict[str, Any]) -> dict[str, Any]:
    """Return of a document what is about LISTED, as it is written: a session's policy may have 2,048 characters."""
    chosen = []
    for statement in document["Statement"]:
        actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        if kept := [action for action in actions if action in LISTED]:
            chosen.append({**statement, "Action": kept})
    return {**document, "Statement": chosen}


def paid(world: World) -> None:
    """Turn the index on where it is off, import a certificate, and try a domain configuration with it."""
    _indexing(world)
    if world.domain is None:
        world.recorder.say("  skipped: no --domain, for which a certificate and a domain configuration would be tried")
        return
    call, acm = world.recorder.call, world.client("acm", world.region)
    certificate, key = server_pair(world.domain)
    made = call("ImportCertificate", acm.import_certificate, Certificate=certificate, PrivateKey=key)
    if made is None:
        return
    arn = made["CertificateArn"]
    with world.removing(f"ACM certificate of {world.domain}", acm.delete_certificate, CertificateArn=arn):
        call("DescribeCertificate of ACM", acm.describe_certificate, CertificateArn=arn)
        call(
            "ListCertificates with key types",
            acm.list_certificates,
            Includes={"keyTypes": ["EC_prime256v1"]},
            MaxItems=5,
        )
        _domain(world, arn)


def _indexing(world: World) -> None:
    call, iot = world.recorder.call, world.client("iot", world.region)
    found = call("GetIndexingConfiguration", iot.get_indexing_configuration) or {}
    before = found.get("thingIndexingConfiguration", {})
    if before.get("thingIndexingMode") != "OFF":
        world.recorder.say("  skipped: the fleet index is on already")
        return
    on = {"thingIndexingMode": "REGISTRY", "thingConnectivityIndexingMode": "STATUS"}
    if call("UpdateIndexingConfiguration", iot.update_indexing_configuration, thingIndexingConfiguration=on) is None:
        return
    off = {"thingIndexingMode": "OFF"}
    with world.removing("the fleet index", iot.update_indexing_configuration, thingIndexingConfiguration=off):
        call("DescribeIndex", iot.describe_index, indexName="AWS_Things")


def _domain(world: World, arn: str) -> None:
    """A certificate of nobody's known CA without a validation certificate: AWS's documentation says that it is refused.

    Source: https://docs.aws.amazon.com/iot/latest/developerguide/iot-custom-endpoints-configurable-custom.html
    """
    call, iot, name = world.recorder.call, world.client("iot", world.region), world.name
    failed = len(world.recorder.failed)
    refused = ["CertificateValidationException", "InvalidRequestException"]
    given = {"domainConfigurationName": name, "domainName": world.domain, "serverCertificateArns": [arn]}
    answer = call(
        "CreateDomainConfiguration without a validation certificate", iot.create_domain_configuration, refused, **given
    )
    if answer is None or len(world.recorder.failed) == failed:
        return
    what = f"domain configuration {name} in {world.region}"
    with world.removing(what, iot.delete_domain_configuration, domainConfigurationName=name):
        call(
            "UpdateDomainConfiguration",
            iot.update_domain_configuration,
            domainConfigurationName=name,
            domainConfigurationStatus="DISABLED",
        )


def _request(name: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


STEPS = (
    Step("ask who is calling", "nothing", who),
    Step(
        "read both regions: endpoint, things, policies, certificates, domain configurations, index (a page of 100),"
        " ACM, quotas",
        "2 registry operations and 2 searches of the index, if there is one: far less than a cent",
        reads,
    ),
    Step(
        "get and delete connections of client IDs that nobody has, with / and % in them, at the generic and the"
        " account's endpoint, by boto3 and by the product's data plane",
        "32 requests that are refused: far less than a cent",
        connections,
    ),
    Step(
        "have three batches of records refused that would change nothing if they were accepted (--zone-id)",
        "nothing",
        batches,
    ),
    Step(
        "make a thing, a certificate that is not active and a policy that allows nothing, list them under the IAM"
        " document, and remove them",
        "6 registry operations: far less than a cent",
        registration,
    ),
    Step(
        "turn the fleet index on and off again where it is off; import a certificate for --domain into ACM, try a"
        " domain configuration with it, and remove both",
        "the index is charged by the thing and update, the import counts among the year's 5,000",
        paid,
        paid=True,
    ),
)
