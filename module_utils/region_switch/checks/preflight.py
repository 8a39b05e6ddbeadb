"""Every reason why a move would go wrong, looked for before anything is changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..aws import quotas
from ..aws.answers import OK
from ..aws.clients import Aws, AwsClient
from ..aws.refusals import FORBIDDEN_ATTEMPTS
from ..dns.method import DnsMethod
from ..fleet.source import FleetSource
from ..model.cname import Record
from ..model.errors import AwsError
from ..model.findings import Finding, unanswered
from ..model.names import plain
from ..model.options import CheckOptions, DnsOptions
from . import domain_differences, probe, serving
from .admission import Admission, ControlPlane, Route
from .probe import ProbeError, ProbeFileError, ServerCertificate

WORKERS = 16
DAY = 86400.0
# Records with a longer TTL would keep devices away for longer than a failover may take.
LONG_TTL = 300
# Requests of one kind that a region may fail, or forbid, before that is believed: single ones of either happen.
TRIES = FORBIDDEN_ATTEMPTS
TRY_INTERVAL = 1.0


@dataclass(frozen=True)
class Settings:
    """How to check.

    Attributes:
        source: how clients are found.
    """

    dns: DnsOptions
    checks: CheckOptions
    source: FleetSource


@dataclass(frozen=True)
class Question:
    """What is asked for.

    Attributes:
        pairs: (endpoint, target region).
        hosts: `{region: iot:Data-ATS host name}`, of the living regions at least.
        sources: `{endpoint: region it is in now}`; may name dead regions.
        dead: regions whose API does not answer.
        records: the endpoints' CNAMEs as read.
        clients: `{target region: clients that will come}`.
    """

    pairs: Sequence[tuple[str, str]]
    hosts: Mapping[str, str]
    sources: Mapping[str, str]
    dead: Collection[str]
    records: Mapping[str, Record]
    clients: Mapping[str, int]


Job = Callable[[], Iterable[Finding]]


def check(aws: Aws, dns: DnsMethod, settings: Settings, question: Question) -> list[Finding]:
    """Return what speaks against bringing these endpoints to these regions: all of it, not only what comes first.

    Reads only: where a permission can be learnt by trying alone, what is tried is something that AWS has to refuse.
    What AWS refuses besides becomes a finding, and the other checks go on.
    """
    run = _Checks(aws, dns, settings, question)
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        places = [(endpoint, region, port) for endpoint, region in run.doors() for port in settings.checks.mqtt_ports]
        doors = [pool.submit(run.door, *place) for place in places]
        jobs = [pool.submit(_guarded, name, region, job) for name, region, job in run.jobs()]
        found = [*run.without_asking(), *(finding for job in jobs for finding in job.result())]
        found += run.differing_domains()
        seen = [door.result() for door in doors]
    return found + _door_findings(seen, run.pairs, settings, time.time(), run.configured)


@dataclass(frozen=True)
class Door:
    """What a region's MQTT endpoint did when the probe came with an endpoint's name.

    Attributes:
        certificate: the server's, or why there was none.
        refusal: what kept the probe from publishing; None where it was not tried, or worked.
    """

    endpoint: str
    region: str
    certificate: ServerCertificate | ProbeError
    refusal: ProbeError | None = None
    port: int = 0

    @property
    def place(self) -> str:
        """As a finding says on which of several ports it was."""
        return f" on port {self.port}" if self.port else ""


class _Checks:
    """The checks of one question; each returns its findings."""

    def __init__(self, aws: Aws, dns: DnsMethod, settings: Settings, question: Question) -> None:
        self._aws = aws
        self._dns = dns
        self._settings = settings
        self._question = question
        self._living = [region for region in aws.regions if region not in question.dead]
        self.pairs = [(endpoint, region) for endpoint, region in question.pairs if region in self._living]
        self._targets = sorted({region for _, region in self.pairs})
        changing = any(question.sources.get(endpoint) != region for endpoint, region in self.pairs)
        # A batch carries the records that stay, too.
        self._changing = [record for _, record in sorted(question.records.items())] if changing else []
        files = (settings.checks.probe_certificate, settings.checks.probe_private_key)
        self._missing = [file for file in files if file and not Path(file).is_file()]
        self._no_ca = probe.file_problem(settings.checks.ca_file, None, None)
        self._unusable = None if self._missing else probe.file_problem(None, *files)
        # `{(endpoint, region): DescribeDomainConfiguration}`, as they are read.
        self.configured: dict[tuple[str, str], Mapping[str, object]] = {}
        self._own = (None, None) if self._missing or self._unusable else files

    def jobs(self) -> list[tuple[str, str, Job]]:
        """The checks that ask AWS, each with the name and the region of what it looks at."""
        jobs: list[tuple[str, str, Job]] = []
        for region in self._targets:
            jobs.append(("domain_configuration", region, partial(self._domains, region)))
            jobs.append(("quota", region, partial(self._quota, region)))
        for region in sorted({source for source in self._left() if source not in self._targets}):
            jobs.append(("domain_configuration", region, partial(self._domains_left, region)))
        for region in self._living:
            jobs.append(("connection_api", region, partial(self._connection_api, region)))
            needed = self._settings.source.checks(self._aws.iot[region], probe.client_id(), region in self._targets)
            jobs += [(name, region, job) for name, job in needed.items()]
        if self._changing:
            jobs += [(name, "", job) for name, job in self._dns.checks(self._changing).items()]
        if routes := self._routes():
            admission = Admission(self._aws, self._settings.source.endpoint)
            jobs.append(("device_certificate", "", partial(admission.check, routes)))
        return jobs

    def without_asking(self) -> list[Finding]:
        findings = [_dead(region) for region in sorted({region for _, region in self._question.pairs})
                    if region in self._question.dead]  # fmt: skip
        for endpoint in sorted({endpoint for endpoint, _ in self._question.pairs}):
            if record := self._question.records.get(endpoint):
                findings += _ttl_findings(record, self._settings.dns.ttl)
        if self.pairs and self._no_ca:
            findings.append(_unusable("server_certificate", self._no_ca))
        if self.pairs and self._unusable:
            findings.append(_unusable("mqtt_probe", self._unusable))
        elif self.pairs and not all(self._own):
            findings.append(_no_probe(self._missing))
        return findings

    def doors(self) -> list[tuple[str, str]]:
        """(endpoint, region) of every server certificate to look at: the targets', and what they are compared with."""
        if self._no_ca:
            return []
        moving = {endpoint for endpoint, _ in self.pairs}
        sources = {(endpoint, self._question.sources.get(endpoint, "")) for endpoint in moving}
        return sorted({*self.pairs, *(source for source in sources if source[1] in self._living)})

    def door(self, endpoint: str, region: str, port: int) -> Door:
        settings = self._settings
        shown = port if len(settings.checks.mqtt_ports) > 1 else 0
        try:
            host = probe.locate(self._question.hosts[region], settings.dns.resolvers)
            certificate = probe.handshake(host, port, endpoint, settings.checks.ca_file, *self._own)
        except ProbeError as error:
            return Door(endpoint, region, error, port=shown)
        file, key = self._own
        if not file or not key or (endpoint, region) not in self.pairs:
            return Door(endpoint, region, certificate, port=shown)
        where = (host, port, endpoint, settings.checks.ca_file)
        try:
            probe.connect(*where, file, key, probe.client_id(), probe.TOPIC)
        except ProbeError as error:
            return Door(endpoint, region, certificate, error, shown)
        return Door(endpoint, region, certificate, port=shown)

    def _routes(self) -> list[Route]:
        ways: dict[tuple[str, str], set[str]] = {}
        for endpoint, target in self.pairs:
            source = self._question.sources.get(endpoint)
            if source in self._living and source != target:
                ways.setdefault((source, target), set()).add(plain(endpoint))
        return [Route(source, target, frozenset(endpoints)) for (source, target), endpoints in ways.items()]

    def _left(self) -> dict[str, set[str]]:
        """`{region: endpoints}` of living regions that endpoints leave."""
        left: dict[str, set[str]] = {}
        for route in self._routes():
            left.setdefault(route.source, set()).update(route.endpoints)
        return left

    def _domains(self, region: str) -> list[Finding]:
        targets = {plain(endpoint) for endpoint, target in self.pairs if target == region}
        self._describe(region, targets | self._left().get(region, set()))
        advice = f"run setup.yml --limit {region}, an hour before it is needed at the latest"
        findings = []
        for endpoint in sorted(targets):
            if described := self.configured.get((endpoint, region)):
                findings += _domain_findings(region, endpoint, described)
            else:
                found = ("none of this name", "one that is ENABLED", advice)
                findings.append(_blocking("domain_configuration", region, endpoint, *found))
        return findings

    def _domains_left(self, region: str) -> list[Finding]:
        """Read those of a region that is only left. Without them nothing is compared: no reason not to leave it."""
        try:
            self._describe(region, self._left()[region])
        except AwsError as error:
            return [replace(unanswered("domain_configuration", region, error), blocking=False)]
        return []

    def _describe(self, region: str, wanted: Collection[str]) -> None:
        """Note the descriptions of the domain configurations of these names."""
        iot, missing = ControlPlane(self._aws.iot[region]), set(wanted)
        pages = iot.pages("ListDomainConfigurations", "domainConfigurations", ("nextMarker", "marker"))
        for name in [each["domainConfigurationName"] for page in pages for each in page]:
            # AWS's own begin so.
            if not missing or name.lower().startswith("iot:"):
                continue
            described = iot.call("DescribeDomainConfiguration", domainConfigurationName=name)
            domain = plain(described.get("domainName", ""))
            if domain in missing:
                missing.remove(domain)
                self.configured[domain, region] = described

    def differing_domains(self) -> list[Finding]:
        """Compare what the targets' domain configurations ask of devices with what those that are left ask."""
        findings = []
        for endpoint, target in self.pairs:
            source = self._question.sources.get(endpoint, "")
            left = self.configured.get((plain(endpoint), source))
            wanted = self.configured.get((plain(endpoint), target))
            if source != target and left and wanted:
                findings += [
                    Finding("domain_configuration_differs", each.blocking, target, plain(endpoint), each.found,
                            f"{each.expected}, as in {source}", _SAME)
                    for each in domain_differences.compare(left, wanted)
                ]  # fmt: skip
        return findings

    def _quota(self, region: str) -> list[Finding]:
        coming = self._question.clients.get(region, 0)
        present = self._settings.source.count(self._aws.iot[region]) if coming else None
        if present is None:
            return []
        untold: list[Finding] = []
        try:
            allowed = quotas.asked(self._aws, region).connections
        except AwsError as error:
            allowed = quotas.defaults(region).connections
            found, advice = f"{error.operation}: {error.code} ({error.text})", f"AWS's are taken; {error.advice}"
            untold = [Finding("quota", False, region, "", found, "the account's quotas", advice)]
        if present + coming <= allowed:
            return untold
        found = f"{present} connected and {coming} to come"
        expected = f"{allowed} at most, the quota of concurrent connections"
        return [*untold, _blocking("quota", region, "", found, expected, "have it raised, or move fewer endpoints")]

    def _connection_api(self, region: str) -> list[Finding]:
        """What a sweep needs: whether the region can be asked to disconnect clients, and where they are."""
        refusals = [
            _of_nobody(self._aws.data[region], operation) for operation in ("GetConnection", "DeleteConnection")
        ]
        return [_odd_answer(region, error, region in self._targets) for error in refusals if error]


def _guarded(name: str, region: str, job: Job) -> list[Finding]:
    try:
        return list(job())
    except AwsError as error:
        return [unanswered(name, region, error)]


def _of_nobody(data: AwsClient, operation: str) -> AwsError | None:
    """What a region says of a client ID that nobody has; None where it says that it knows no such client.

    One that forbids, fails or throttles a request is asked again.
    """
    error: AwsError | None = None
    for number in range(TRIES):
        if error and error.temporary and number:
            time.sleep(TRY_INTERVAL)
        try:
            data.call(operation, clientId=probe.client_id())
        except AwsError as refused:
            if refused.code == "ResourceNotFoundException":
                return None
            error = refused
            if refused.credentials or not (refused.denied or refused.temporary):
                break
        else:
            return AwsError(operation, data.region, "Success", OK, "for a client ID that nobody has")
    return error


_SAME = "make both the same, or devices that connect there are refused here"


def _odd_answer(region: str, error: AwsError, target: bool) -> Finding:
    """The finding of a region that does not say of a client ID which nobody has that it knows none."""
    if error.denied or error.unreadable:
        return _of_narrowed_clients(unanswered("permission", region, error))
    # Where clients land has to be proven; to leave a region that is half dead is what a move may be for.
    blocking = not error.temporary or (target and error.operation == "GetConnection")
    found = f"{error.operation}: {error.code} ({error.text})"
    expected = "ResourceNotFoundException for a client ID that nobody has"
    advice = "see what answers there in AWS's place (AWS_ENDPOINT_URL, proxies), or the AWS Health Dashboard"
    return Finding("connection_api", blocking, region, "", found, expected, advice)


def _of_narrowed_clients(finding: Finding) -> Finding:
    """A caller may be allowed the fleet's clients, and not the name with which that is tried."""
    if "Connection denied" not in finding.found:
        return finding
    advice = (
        f"allow it in IAM for the clients and for client/{probe.CLIENT_ID_PREFIX}*, the names it is tried with; "
        "playbooks/iam_policies.yml writes the policy"
    )
    return replace(finding, advice=advice)


def _blocking(name: str, region: str, endpoint: str, found: str, expected: str, advice: str) -> Finding:
    return Finding(name, True, region, endpoint, found, expected, advice)


def _dead(region: str) -> Finding:
    return _blocking(
        "region_api", region, "", "no useful answer", "one", "see the AWS Health Dashboard, choose another mode"
    )


def _no_probe(missing: Sequence[str]) -> Finding:
    """A probe that is not configured is only told; one whose files are missing is a mistake."""
    found = f"no file {', '.join(missing)}" if missing else "no certificate of a probe"
    advice = "run setup.yml, which makes one, and name it in failover_probe_certificate and failover_probe_private_key"
    return Finding("mqtt_probe", bool(missing), "", "", found, "one that connects and publishes", advice)


def _unusable(check: str, problem: ProbeFileError) -> Finding:
    """A file on the controller is nothing that a region could put right."""
    advice = f"correct the file that {problem.option} names"
    return _blocking(check, "", "", problem.problem, "files that this user can read, without a passphrase", advice)


def _ttl_findings(record: Record, expected: int) -> list[Finding]:
    if record.ttl <= expected:
        return []
    advice = "run setup.yml, and wait for the old TTL before the move"
    blocking = record.ttl > LONG_TTL
    return [Finding("record_ttl", blocking, "", record.name, f"TTL {record.ttl} s", f"{expected} s", advice)]


def _domain_findings(region: str, endpoint: str, described: Mapping[str, object]) -> list[Finding]:
    """Judge DescribeDomainConfiguration's answer."""
    findings = []
    status = described.get("domainConfigurationStatus")
    if status != "ENABLED":
        advice = "enable it there; setup.yml leaves as it is what somebody disabled"
        findings.append(_blocking("domain_configuration", region, endpoint, str(status), "ENABLED", advice))
    for each in _invalid(described):
        state, detail = each.get("serverCertificateStatus"), each.get("serverCertificateStatusDetail")
        found = f"server certificate {state} ({detail or 'no reason given'})"
        advice = "import a valid one under the same ARN in ACM"
        findings.append(_blocking("domain_configuration", region, endpoint, found, "VALID", advice))
    return findings


def _invalid(described: Mapping[str, object]) -> list[Mapping[str, object]]:
    certificates = described.get("serverCertificates")
    listed = certificates if isinstance(certificates, list) else []
    return [each for each in listed if each.get("serverCertificateStatus") != "VALID"]


def _door_findings(
    doors: Sequence[Door],
    pairs: Collection[tuple[str, str]],
    settings: Settings,
    now: float,
    configured: Mapping[tuple[str, str], Mapping[str, object]],
) -> list[Finding]:
    findings = []
    for door in doors:
        if (door.endpoint, door.region) in pairs:
            described = configured.get((plain(door.endpoint), door.region), {})
            # One that AWS calls invalid is not served later either.
            age = None if _invalid(described) else serving.age(described, now)
            findings += _target_findings(door, settings, now, age)
    for endpoint in sorted({door.endpoint for door in doors}):
        findings += _differing([door for door in doors if door.endpoint == endpoint])
    return findings


def _target_findings(door: Door, settings: Settings, now: float, age: float | None) -> list[Finding]:
    """Judge what a target showed; `age`: seconds since its domain configuration was made, None where unknown."""
    region, endpoint, certificate = door.region, door.endpoint, door.certificate
    if isinstance(certificate, ProbeError):
        if certificate.untrusted and age is not None and age < serving.MAY_TAKE:
            return [_not_served_yet(region, endpoint, certificate.problem, age)]
        expected = f"TLS with a certificate for the name, of {settings.checks.ca_file or 'a CA that the system trusts'}"
        advice = "correct the certificate in ACM or the domain configuration; failover_ca_file names the CA"
        found = f"{certificate.problem}{door.place}"
        return [_blocking("server_certificate", region, endpoint, found, expected, advice)]
    findings = []
    if (left := (certificate.not_after - now) / DAY) < settings.checks.certificate_days:
        expected = f"{settings.checks.certificate_days:g} days or more"
        found = f"a certificate that ends in {left:.1f} days{door.place}"
        advice = "run setup.yml, which renews what it made; renew one of your own under its ARN in ACM, in every region"
        findings.append(_blocking("server_certificate", region, endpoint, found, expected, advice))
    if door.refusal:
        expected = "CONNECT and PUBLISH of the probe accepted"
        advice = (
            f"see that the probe's certificate is ACTIVE in {region} and its policy allows {probe.CLIENT_ID_PREFIX}*"
        )
        found = f"{door.refusal.problem}{door.place}"
        findings.append(_blocking("mqtt_probe", region, endpoint, found, expected, advice))
    return findings


def _not_served_yet(region: str, endpoint: str, problem: str, age: float) -> Finding:
    found = f"{serving.since(age)}, and still {problem}"
    minutes = serving.MAY_TAKE // 60
    expected = f"the domain configuration's own certificate, which AWS may take {minutes} minutes to serve"
    advice = f"look again in {max(1, round((serving.MAY_TAKE - age) / 60))} minutes at the latest"
    return _blocking("server_certificate", region, endpoint, found, expected, advice)


def _differing(doors: Sequence[Door]) -> list[Finding]:
    """Devices that know one region's certificate, or its issuer, may refuse another's."""
    shown = {door.region: door.certificate for door in doors if isinstance(door.certificate, ServerCertificate)}
    if len({certificate.fingerprint for certificate in shown.values()}) < 2:
        return []
    found = "; ".join(
        f"{region}: {certificate.fingerprint[:12]}… of {certificate.issuer}" for region, certificate in shown.items()
    )
    advice = "see that devices trust each issuer"
    return [Finding("server_certificate_differs", False, "", doors[0].endpoint, found, "the same", advice)]
