"""Setting up, moving, and looking on, step by step as the playbooks do, under policies that lack an action.

A walk makes each step with nothing allowed but what was needed so far. What the stand-in then refuses is what the step
needs next: what the operator reads of it is kept, and it is allowed from then on, until the step is done.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from iam import iam_policy

from .conftest import ACCESS_KEY, HOSTED_ZONE_ID, SECRET_KEY, AwsApi, validation_arn
from .modules import last_request, run
from .test_setup_modules import write_csr

REPOSITORY = Path(__file__).resolve().parents[2]
OLD, NEW = "us-east-1", "ap-northeast-1"
ENDPOINT, OTHER_ENDPOINT = "mqtt1.example.com", "mqtt2.example.com"
DEVICE, MONITOR = "device-0001", "fleet-monitor"
DEVICE_POLICY, MONITOR_POLICY = "mqtt-fleet-device", "mqtt-fleet-monitor"
MODES = {"1": {ENDPOINT: OLD}, "3": {ENDPOINT: NEW}}
CA_NAME = "MQTT fleet CA"
# Whose policies are never changed.
ADMINISTRATOR = {"aws_access_key_id": "lab", "aws_secret_access_key": "lab"}
# There is no MQTT endpoint of a region in these tests, nor its DNS.
WAIVED = ["mqtt_probe", "server_certificate", "dns_server"]
SETTINGS = {
    "account": "123456789012",
    "partition": "aws",
    "hosted_zone_id": HOSTED_ZONE_ID,
    "endpoints": [ENDPOINT],
    "clients": [{"client_id": DEVICE, "endpoint": ENDPOINT}],
    "client_ids": ["device-*"],
    "device_policy": DEVICE_POLICY,
    "monitor_policy": MONITOR_POLICY,
}
# `*` where a document cannot say more, as the inventory of these tests can.
OWN = {
    "arn:aws:iot:*:": [f"arn:aws:iot:{region}:" for region in (OLD, NEW)],
    "arn:aws:acm:*:": [f"arn:aws:acm:{region}:" for region in (OLD, NEW)],
    ":client/device-*": [f":client/{DEVICE}"],
    ":thing/device-*": [f":thing/{DEVICE}"],
    ":domainconfiguration/*": [f":domainconfiguration/{ENDPOINT.replace('.', '-')}/*"],
}

Document = dict[str, Any]
Result = dict[str, Any]


def document(name: str) -> Document:
    """One of the policies of docs/ for the inventory of these tests."""
    made: Document = iam_policy(json.loads((REPOSITORY / "docs" / name).read_text()), SETTINGS)
    return made


def actions(policy: Document) -> list[str]:
    return sorted(action for statement in policy["Statement"] for action in _list(statement["Action"]))


def only(policy: Document, wanted: Iterable[str]) -> Document:
    """The policy with no other actions than these."""
    kept = set(wanted)
    statements = [
        {**statement, "Action": found}
        for statement in policy["Statement"]
        if (found := [action for action in _list(statement["Action"]) if action in kept])
    ]
    return {**policy, "Statement": statements}


def narrowed(policy: Document) -> Document:
    """The policy with resources of the inventory's own in the place of wildcards."""
    statements = []
    for statement in policy["Statement"]:
        resources = _list(statement["Resource"])
        for old, replacements in OWN.items():
            resources = [
                resource.replace(old, new)
                for resource in resources
                for new in (replacements if old in resource else [old])
            ]
        statements.append({**statement, "Resource": resources})
    return {**policy, "Statement": statements}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@dataclass(frozen=True)
class Step:
    """One task of a playbook.

    Attributes:
        where: playbook, and what the task is called.
        parameters: the module's; made when the step is made.
        prepare: what somebody else does before it, as an administrator.
        refuses: words of what it has to refuse, empty where it has to be done.
    """

    where: str
    module: str
    parameters: Callable[[], Result]
    prepare: Callable[[], None] = lambda: None
    refuses: str = ""


@dataclass(frozen=True)
class Needed:
    """An action, the first step that needs it, and what the operator reads where it is missing."""

    action: str
    where: str
    line: str


@dataclass
class Fleet:
    """An inventory of one endpoint and one device, its certificates, and the account that it is set up in."""

    aws_api: AwsApi
    folder: Path
    resolver: str
    arns: dict[str, str] = field(default_factory=dict)

    @property
    def certificates(self) -> Path:
        return self.folder / "certs"

    def allow(self, policies: list[Document] | None) -> None:
        """Let the caller of the modules have these policies; None: everything."""
        mine = {"secret": SECRET_KEY, "policies": policies, "arn": "arn:aws:iam::123456789012:user/operator"}
        self.aws_api.settings(identities={ACCESS_KEY: mine, "lab": {"secret": "lab"}})

    def begin(self) -> None:
        """Make what is on the controller: CA, server certificates, signing requests."""
        clients = self.certificates / "clients"
        clients.mkdir(parents=True)
        write_csr(clients, DEVICE)
        write_csr(clients, MONITOR)
        self._make_certificates()
        self.aws_api.settings(
            quotas={"ImportCertificate": 1000, "CreateDomainConfiguration": 1000, "GetConnection": 1000}
        )

    def _make_certificates(self) -> None:
        regions = [{"name": region, "server_certificate_arns": {}} for region in (OLD, NEW)]
        made = run(
            "server_certificates",
            {
                "directory": str(self.certificates),
                "endpoints": [ENDPOINT],
                "ca_common_name": CA_NAME,
                "regions": regions,
            },
        )
        assert not made.get("failed"), made["msg"]

    # Setting up ----------------------------------------------------------------------------------------------------

    def setup(self) -> Iterator[Step]:
        """A first set-up, a second one, and one after others have changed what it made."""
        yield from self.first()
        yield from self.first()
        yield from self.after_drift()

    def first(self) -> Iterator[Step]:
        """What setup.yml does."""
        yield Step("setup.yml: Check the inventory, and ask AWS who is calling", "failover_inventory_info", self._asked)
        for region in (OLD, NEW):
            yield from self._region(region)
        yield Step("setup.yml: Create the records", "route53_endpoint_records", self._records)

    def _region(self, region: str) -> Iterator[Step]:
        yield Step(
            "setup.yml: Index the connectivity of things",
            "iot_indexing_configuration",
            lambda: {
                "region": region,
                "thing_indexing_mode": "REGISTRY",
                "thing_connectivity_indexing_mode": "STATUS",
            },
        )
        yield Step(
            "setup.yml: Import the server certificates", "acm_server_certificates", lambda: self._imported(region)
        )
        yield Step(
            "setup.yml: Create the domain configurations", "iot_domain_configuration", lambda: self._domain(region)
        )
        for policy in (DEVICE_POLICY, MONITOR_POLICY):
            yield Step(
                "setup.yml: Create the policies", "iot_policy", lambda policy=policy: self._policy(region, policy)
            )
        name = "Issue the certificates of the clients" if region == OLD else "Register the clients"
        yield Step(f"setup.yml: {name}", "iot_clients", lambda: self._clients(region))

    def after_drift(self) -> Iterator[Step]:
        yield Step(
            "setup.yml: Create the domain configurations",
            "iot_domain_configuration",
            lambda: self._domain(OLD) | {"tls_security_policy": "IoTSecurityPolicy_TLS13_1_3_2022_10"},
        )
        # As in the other region again.
        yield Step(
            "setup.yml: Create the domain configurations",
            "iot_domain_configuration",
            lambda: self._domain(OLD) | {"tls_security_policy": "IoTSecurityPolicy_TLS13_1_2_2022_10"},
        )
        for number in range(5):
            yield Step(
                "setup.yml: Create the policies",
                "iot_policy",
                lambda number=number: self._policy(OLD, DEVICE_POLICY, f"v{number}"),
            )
        yield Step("setup.yml: Create the policies", "iot_policy", lambda: self._policy(OLD, DEVICE_POLICY))
        yield Step(
            "setup.yml: Issue the certificates of the clients",
            "iot_clients",
            lambda: self._clients(OLD),
            self._readdress,
        )
        yield Step(
            "setup.yml: Issue the certificates of the clients",
            "iot_clients",
            lambda: self._clients(OLD) | {"restore": [DEVICE]},
            lambda: self._set_status(OLD, "INACTIVE"),
        )
        yield Step(
            "setup.yml: Issue the certificates of the clients, without their files",
            "iot_clients",
            lambda: self._clients(OLD),
            (self.certificates / "clients" / f"{DEVICE}.crt").unlink,
        )
        yield Step(
            "setup.yml: Import the server certificates",
            "acm_server_certificates",
            lambda: self._imported(OLD),
            self._renew,
        )

    def _asked(self) -> Result:
        return {
            "modes": MODES,
            "endpoints": [ENDPOINT],
            "regions": [OLD, NEW],
            "resolvers": [self.resolver],
            "record_ttl": 0,
            "hosted_zone_id": HOSTED_ZONE_ID,
            "caller_hint": "log in",
            "setup": {
                "initial_mode": "1",
                "issuing_region": OLD,
                "regions": [OLD, NEW],
                "validation_certificate_arns": {
                    region: {ENDPOINT: validation_arn(region, ENDPOINT)} for region in (OLD, NEW)
                },
            },
        }

    def _imported(self, region: str) -> Result:
        return {
            "region": region,
            "directory": str(self.certificates),
            "endpoints": [ENDPOINT],
            "ca_common_name": CA_NAME,
        }

    def _domain(self, region: str) -> Result:
        of_kinds = {"keyTypes": ["RSA_2048", "EC_prime256v1"]}
        found = administrator("acm", region).list_certificates(Includes=of_kinds)["CertificateSummaryList"]
        (certificate,) = [each for each in found if each["Type"] == "IMPORTED"]
        return {
            "validation_certificate_arn": validation_arn(region, ENDPOINT),
            "region": region,
            "name": ENDPOINT.replace(".", "-"),
            "domain_name": ENDPOINT,
            "server_certificate_arn": certificate["CertificateArn"],
        }

    @staticmethod
    def _policy(region: str, name: str, sid: str = "device") -> Result:
        resource = f"arn:aws:iot:{region}:123456789012:client/*"
        statement = {"Sid": sid, "Effect": "Allow", "Action": "iot:Connect", "Resource": resource}
        return {"region": region, "name": name, "document": {"Version": "2012-10-17", "Statement": [statement]}}

    def _clients(self, region: str) -> Result:
        issued = {"issue": True} if region == OLD else {"issuing_region": OLD}
        return {
            "region": region,
            "clients": [
                {"client_id": DEVICE, "endpoint": ENDPOINT},
                {"client_id": MONITOR, "policy": MONITOR_POLICY, "required": True},
            ],
            "directory": str(self.certificates / "clients"),
            "policy": DEVICE_POLICY,
            **issued,
        }

    def _records(self) -> Result:
        return {
            "hosted_zone_id": HOSTED_ZONE_ID,
            "mode": "1",
            "modes": MODES,
            "endpoints": [ENDPOINT],
            "regions": [OLD, NEW],
            "ttl": 0,
            "resolvers": [self.resolver],
        }

    @staticmethod
    def _readdress() -> None:
        attributes = {"attributes": {"mqtt_endpoint": "elsewhere.example.com"}}
        administrator("iot", OLD).update_thing(thingName=DEVICE, attributePayload=attributes)

    @staticmethod
    def _set_status(region: str, status: str) -> None:
        iot = administrator("iot", region)
        (principal,) = iot.list_thing_principals(thingName=DEVICE)["principals"]
        iot.update_certificate(certificateId=principal.rpartition("/")[2], newStatus=status)

    def _renew(self) -> None:
        (self.certificates / f"{ENDPOINT}.crt").unlink()
        (self.certificates / f"{ENDPOINT}.key").unlink()
        self._make_certificates()

    # Moving and looking on -----------------------------------------------------------------------------------------

    def moves(self) -> Iterator[Step]:
        """Looks, a plan, a refused move, every mode, and the way back."""
        yield Step("playbooks/status.yml: Read the current state", "failover_status_info", self._status, self._connect)
        yield Step(
            "playbooks/readiness.yml: Check every region against every mode", "iot_readiness_info", self._readiness
        )
        yield Step(
            "playbooks/readiness.yml: Check every region against every mode, where a device would not be admitted",
            "iot_readiness_info",
            self._readiness,
            lambda: self._set_status(NEW, "INACTIVE"),
            refuses="device_certificate",
        )
        yield Step(
            "failover.yml: Move the fleet, where a device would not be admitted",
            "iot_region_switch",
            lambda: self.move("3"),
            refuses="device_certificate",
        )
        self._set_status(NEW, "ACTIVE")
        yield Step(
            "failover.yml: Move the fleet, in check mode", "iot_region_switch", lambda: self.move("3", check=True)
        )
        yield Step("failover.yml: Move the fleet", "iot_region_switch", lambda: self.move("3"), self._lead_to(NEW))
        yield Step(
            "failover.yml: Move the fleet, failover_discovery: things",
            "iot_region_switch",
            lambda: self.move("1", discovery="things"),
            self._lead_to(OLD),
        )
        yield Step(
            "playbooks/rollback.yml: Move the fleet",
            "iot_region_switch",
            lambda: self.move("", rollback=True),
            self._lead_to(NEW),
        )

    def _status(self) -> Result:
        return {
            "modes": MODES,
            "endpoints": [ENDPOINT],
            "regions": [OLD, NEW],
            "hosted_zone_id": HOSTED_ZONE_ID,
            "reports_directory": str(self.folder / "reports"),
        }

    def _readiness(self) -> Result:
        common = {name: value for name, value in self._status().items() if name != "reports_directory"}
        return {**common, "resolvers": [self.resolver], "name_servers": [self.resolver], "waive": WAIVED}

    def move(self, mode: str, check: bool = False, **more: Any) -> Result:
        common = self._status() | {"resolvers": [self.resolver], "name_servers": [self.resolver], "waive": WAIVED}
        waits = {"dns_timeout": 10, "dns_consecutive": 1, "landing_timeout": 20}
        return {**common, **waits, "mode": mode, **({"_check": True} if check else {}), **more}

    def _connect(self) -> None:
        self.aws_api.connect(OLD, DEVICE, thing_name=DEVICE)

    def _lead_to(self, region: str) -> Callable[[], None]:
        return lambda: self.aws_api.reconnect({DEVICE: region})


def administrator(service: str, region: str) -> Any:
    """boto3's client of somebody who may do everything."""
    return boto3.client(service, region, **ADMINISTRATOR)


def make(step: Step) -> Result:
    parameters = step.parameters()
    return run(
        step.module, {name: value for name, value in parameters.items() if name != "_check"}, "_check" in parameters
    )


def said(result: Result) -> list[str]:
    """What an operator reads of a step: its error, its lines, its warnings, and whom it left out and why."""
    warnings = [each if isinstance(each, str) else str(each["event"]["msg"]) for each in result.get("warnings", [])]
    return [*result.get("lines", []), result.get("msg", ""), *result.get("left_out", {}).values(), *warnings]


def is_done(step: Step, result: Result) -> bool:
    """Whether a step did all that it is there for, or refused what it has to refuse."""
    if step.refuses:
        return any(step.refuses in line for line in said(result)) and "permission" not in " ".join(said(result))
    wrong = bool(result.get("failed")) or bool(result.get("left_out")) or result.get("ready") is False
    regions = result.get("regions") if isinstance(result.get("regions"), Mapping) else {}
    return not wrong and not any(each.get("error") for each in regions.values()) and not result.get("odd")


def denied(aws_api: AwsApi, after: int) -> list[str]:
    """The actions that the stand-in did not allow, each once."""
    return list(dict.fromkeys(each["denied"] for each in aws_api.requests(after) if each["denied"]))


def walk(fleet: Fleet, whole: Document, steps: Iterable[Step]) -> list[Needed]:
    """Return what was needed, in order, each by the first step that says so; one that goes on without is passed over.

    Raises:
        AssertionError: a step needs what the document lacks, or is not done with what it needs.
    """
    allowed: list[str] = []
    found = []
    for step in steps:
        step.prepare()
        while True:
            result, missing = _attempt(fleet, whole, step, allowed)
            named = {action: line for action in missing if (line := naming(action, said(result)))}
            if not named and is_done(step, result):
                break
            # What is asked at the same time hides what else is missing.
            for action in [] if named else missing:
                others = [each for each in missing if each != action]
                result, _ = _attempt(fleet, whole, step, allowed + others)
                if line := naming(action, said(result)):
                    named[action] = line
                    break
            assert named, (step.where, missing, said(result))
            found += [Needed(action, step.where, line) for action, line in named.items()]
            allowed += named
    return found


def _attempt(fleet: Fleet, whole: Document, step: Step, allowed: list[str]) -> tuple[Result, list[str]]:
    """What became of a step with so much allowed, and what was not."""
    fleet.allow([only(whole, allowed)] if allowed else [])
    last = last_request(fleet.aws_api)
    result = make(step)
    missing = denied(fleet.aws_api, last)
    assert not set(missing) - set(actions(whole)), f"{step.where} needs {missing}, which the document lacks"
    assert not set(missing) & set(allowed), f"{step.where} needs {missing} for a resource that it lacks"
    return result, missing


def naming(action: str, lines: Iterable[str]) -> str:
    """The line that names an action; empty where none does."""
    return next((line for line in lines if action in line), "")
