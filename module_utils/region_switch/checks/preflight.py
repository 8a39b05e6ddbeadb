"""Check everything that could make a move fail, before anything is changed."""

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
# With a longer TTL, devices would keep the old answer for longer than a failover may take.
LONG_TTL = 300
# How often a request is tried before its failure counts: single failures and refusals happen.
TRIES = FORBIDDEN_ATTEMPTS
TRY_INTERVAL = 1.0


@dataclass(frozen=True)
class PreflightOptions:
    """How to check.

    Attributes:
        source: how clients are found.
    """

    dns: DnsOptions
    checks: CheckOptions
    source: FleetSource


@dataclass(frozen=True)
class Question:
    """The move to check.

    Attributes:
        pairs: (endpoint, target region).
        hosts: `{region: iot:Data-ATS host name}`, at least for the regions that answer.
        sources: `{endpoint: current region}`; may name dead regions.
        dead: regions whose API does not answer.
        records: the endpoints' current CNAMEs.
        clients: `{target region: number of clients to be moved there}`.
    """

    pairs: Sequence[tuple[str, str]]
    hosts: Mapping[str, str]
    sources: Mapping[str, str]
    dead: Collection[str]
    records: Mapping[str, Record]
    clients: Mapping[str, int]


Job = Callable[[], Iterable[Finding]]


def check(aws: Aws, dns: DnsMethod, options: PreflightOptions, question: Question) -> list[Finding]:
    """Return all findings about moving these endpoints to these regions.

    Changes nothing: where only a write can show whether the caller has a permission, the request is one that AWS has to
    refuse. A check that AWS does not answer becomes a finding, and the other checks continue.
    """
    run = _Checks(aws, dns, options, question)
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        places = [(*pair, port) for pair in run.pairs_to_probe() for port in options.checks.mqtt_ports]
        probes = [pool.submit(run.probe, *place) for place in places]
        jobs = [pool.submit(_guarded, name, region, job) for name, region, job in run.jobs()]
        found = [*run.without_requests(), *(finding for job in jobs for finding in job.result())]
        found += run.differing_domains()
        probed = [each.result() for each in probes]
    return found + _probe_findings(probed, run.pairs, options, time.time(), run.configured)


@dataclass(frozen=True)
class ProbeResult:
    """How a region's MQTT endpoint answered the probe for one endpoint.

    Attributes:
        certificate: the server's, or why it was not received.
        refusal: why the probe could not publish; None where it could, or did not try.
        port: of MQTT; 0 where only one port is probed.
    """

    endpoint: str
    region: str
    certificate: ServerCertificate | ProbeError
    refusal: ProbeError | None = None
    port: int = 0

    @property
    def place(self) -> str:
        """The port, for the text of a finding."""
        return f" on port {self.port}" if self.port else ""


class _Checks:
    """The checks of one move; each returns its findings."""

    def __init__(self, aws: Aws, dns: DnsMethod, options: PreflightOptions, question: Question) -> None:
        self._aws = aws
        self._dns = dns
        self._options = options
        self._question = question
        self._living = [region for region in aws.regions if region not in question.dead]
        self.pairs = [(endpoint, region) for endpoint, region in question.pairs if region in self._living]
        self._target_regions = sorted({region for _, region in self.pairs})
        changing = any(question.sources.get(endpoint) != region for endpoint, region in self.pairs)
        # A batch also contains the records that stay.
        self._changing = [record for _, record in sorted(question.records.items())] if changing else []
        files = (options.checks.probe_certificate, options.checks.probe_private_key)
        self._missing = [file for file in files if file and not Path(file).is_file()]
        self._no_ca = probe.file_problem(options.checks.ca_file, None, None)
        self._unusable = None if self._missing else probe.file_problem(None, *files)
        # `{(endpoint, region): answer of DescribeDomainConfiguration}`, filled by the checks.
        self.configured: dict[tuple[str, str], Mapping[str, object]] = {}
        self._own = (None, None) if self._missing or self._unusable else files

    def jobs(self) -> list[tuple[str, str, Job]]:
        """The checks that call AWS, each as (name, region, job)."""
        jobs: list[tuple[str, str, Job]] = []
        for region in self._target_regions:
            jobs.append(("domain_configuration", region, partial(self._domains, region)))
            jobs.append(("quota", region, partial(self._quota, region)))
        for region in sorted({source for source in self._left() if source not in self._target_regions}):
            jobs.append(("domain_configuration", region, partial(self._domains_left, region)))
        for region in self._living:
            jobs.append(("connection_api", region, partial(self._connection_api, region)))
            needed = self._options.source.checks(
                self._aws.iot[region], probe.client_id(), region in self._target_regions
            )
            jobs += [(name, region, job) for name, job in needed.items()]
        if self._changing:
            jobs += [(name, "", job) for name, job in self._dns.checks(self._changing).items()]
        if routes := self._routes():
            admission = Admission(self._aws, self._options.source.endpoint)
            jobs.append(("device_certificate", "", partial(admission.check, routes)))
        return jobs

    def without_requests(self) -> list[Finding]:
        findings = [_dead(region) for region in sorted({region for _, region in self._question.pairs})
                    if region in self._question.dead]  # fmt: skip
        for endpoint in sorted({endpoint for endpoint, _ in self._question.pairs}):
            if record := self._question.records.get(endpoint):
                findings += _ttl_findings(record, self._options.dns.ttl)
        if self.pairs and self._no_ca:
            findings.append(_unusable("server_certificate", self._no_ca))
        if self.pairs and self._unusable:
            findings.append(_unusable("mqtt_probe", self._unusable))
        elif self.pairs and not all(self._own):
            findings.append(_no_probe(self._missing))
        return findings

    def pairs_to_probe(self) -> list[tuple[str, str]]:
        """(endpoint, region) of every server certificate to read: of the targets, and of the sources for comparison."""
        if self._no_ca:
            return []
        moving = {endpoint for endpoint, _ in self.pairs}
        sources = {(endpoint, self._question.sources.get(endpoint, "")) for endpoint in moving}
        return sorted({*self.pairs, *(source for source in sources if source[1] in self._living)})

    def probe(self, endpoint: str, region: str, port: int) -> ProbeResult:
        checks = self._options.checks
        shown = port if len(checks.mqtt_ports) > 1 else 0
        try:
            host = probe.locate(self._question.hosts[region], self._options.dns.resolvers)
            certificate = probe.handshake(host, port, endpoint, checks.ca_file, *self._own)
        except ProbeError as error:
            return ProbeResult(endpoint, region, error, port=shown)
        file, key = self._own
        refusal = None
        if file and key and (endpoint, region) in self.pairs:
            try:
                probe.connect(host, port, endpoint, checks.ca_file, file, key)
            except ProbeError as error:
                refusal = error
        return ProbeResult(endpoint, region, certificate, refusal, shown)

    def _routes(self) -> list[Route]:
        routes: dict[tuple[str, str], set[str]] = {}
        for endpoint, target in self.pairs:
            source = self._question.sources.get(endpoint)
            if source in self._living and source != target:
                routes.setdefault((source, target), set()).add(plain(endpoint))
        return [Route(source, target, frozenset(endpoints)) for (source, target), endpoints in routes.items()]

    def _left(self) -> dict[str, set[str]]:
        """`{region: endpoints that leave it}`, of regions that answer."""
        left: dict[str, set[str]] = {}
        for route in self._routes():
            left.setdefault(route.source, set()).update(route.endpoints)
        return left

    def _domains(self, region: str) -> list[Finding]:
        coming = {plain(endpoint) for endpoint, target in self.pairs if target == region}
        self._describe(region, coming | self._left().get(region, set()))
        advice = f"run setup.yml --limit {region}, at least an hour before the move"
        findings = []
        for endpoint in sorted(coming):
            if described := self.configured.get((endpoint, region)):
                findings += _domain_findings(region, endpoint, described)
            else:
                found = "no domain configuration of this name"
                findings.append(_blocking("domain_configuration", region, endpoint, found, "", advice))
        return findings

    def _domains_left(self, region: str) -> list[Finding]:
        """Read those of a region that endpoints only leave, for comparison; a refusal does not block the move."""
        try:
            self._describe(region, self._left()[region])
        except AwsError as error:
            return [replace(unanswered("domain_configuration", region, error), blocking=False)]
        return []

    def _describe(self, region: str, wanted: Collection[str]) -> None:
        """Read the domain configurations of these names."""
        iot, missing = ControlPlane(self._aws.iot[region]), set(wanted)
        pages = iot.pages("ListDomainConfigurations", "domainConfigurations", ("nextMarker", "marker"))
        for name in [each["domainConfigurationName"] for page in pages for each in page]:
            # AWS's own domain configurations.
            if not missing or name.lower().startswith("iot:"):
                continue
            described = iot.call("DescribeDomainConfiguration", domainConfigurationName=name)
            domain = plain(described.get("domainName", ""))
            if domain in missing:
                missing.remove(domain)
                self.configured[domain, region] = described

    def differing_domains(self) -> list[Finding]:
        """Compare the domain configurations of the target regions with those of the regions that endpoints leave."""
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
        present = self._options.source.count(self._aws.iot[region]) if coming else None
        if present is None:
            return []
        unread: list[Finding] = []
        try:
            allowed = quotas.asked(self._aws, region).connections
        except AwsError as error:
            allowed = quotas.defaults(region).connections
            found = f"{error.operation}: {error.code} ({error.text})"
            advice = f"AWS's defaults are used; {error.advice}"
            unread = [Finding("quota", False, region, "", found, "", advice)]
        if present + coming <= allowed:
            return unread
        found = f"{present} connected and {coming} to come"
        expected = f"{allowed} at most, the quota of concurrent connections"
        advice = "request an increase, or move fewer endpoints"
        return [*unread, _blocking("quota", region, "", found, expected, advice)]

    def _connection_api(self, region: str) -> list[Finding]:
        """Whether the region answers DeleteConnection and GetConnection, which a move depends on."""
        data, operations = self._aws.data[region], ("GetConnection", "DeleteConnection")
        refusals = [_unknown_client(data, operation) for operation in operations]
        return [_unexpected_answer(region, error, region in self._target_regions) for error in refusals if error]


def _guarded(name: str, region: str, job: Job) -> list[Finding]:
    try:
        return list(job())
    except AwsError as error:
        return [unanswered(name, region, error)]


def _unknown_client(data: AwsClient, operation: str) -> AwsError | None:
    """Call an operation for a client ID that does not exist; None where the region answers that it does not.

    A request that is forbidden, fails or is throttled is repeated.
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


_SAME = "make both the same, or devices that connect there will be refused here"


def _unexpected_answer(region: str, error: AwsError, target: bool) -> Finding:
    """The finding for a region that does not answer that it knows no such client."""
    if error.denied or error.unreadable:
        return _of_limited_clients(unanswered("permission", region, error))
    # Landing has to be proven in the target; a region that half works may be the very reason for the move.
    blocking = not error.temporary or (target and error.operation == "GetConnection")
    found = f"{error.operation}: {error.code} ({error.text})"
    expected = "ResourceNotFoundException for a client ID that nobody has"
    advice = "check what answers there in AWS's place (AWS_ENDPOINT_URL, proxies), or the AWS Health Dashboard"
    return Finding("connection_api", blocking, region, "", found, expected, advice)


def _of_limited_clients(finding: Finding) -> Finding:
    """A caller may have the permission for the fleet's clients, but not for the client ID of the check."""
    if "Connection denied" not in finding.found:
        return finding
    advice = (
        f"allow it in IAM for the clients and for client/{probe.CLIENT_ID_PREFIX}*, which the check uses; "
        "playbooks/iam_policies.yml writes the policy"
    )
    return replace(finding, advice=advice)


def _blocking(name: str, region: str, endpoint: str, found: str, expected: str, advice: str) -> Finding:
    return Finding(name, True, region, endpoint, found, expected, advice)


def _dead(region: str) -> Finding:
    return _blocking(
        "region_api", region, "", "its API does not answer", "", "see the AWS Health Dashboard, or choose another mode"
    )


def _no_probe(missing: Sequence[str]) -> Finding:
    """A probe that is not configured is a note; one whose files are missing blocks the move."""
    found = f"no file {', '.join(missing)}" if missing else "no certificate for a probe"
    advice = (
        "run setup.yml, which creates one, and name it in failover_probe_certificate and failover_probe_private_key"
    )
    return Finding("mqtt_probe", bool(missing), "", "", found, "", advice)


def _unusable(check: str, problem: ProbeFileError) -> Finding:
    """The finding for a file on the controller."""
    advice = f"correct the file that {problem.option} names: this user has to be able to read it, without a passphrase"
    return _blocking(check, "", "", problem.problem, "", advice)


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
        advice = "enable it there; setup.yml does not change what somebody disabled"
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


def _probe_findings(
    results: Sequence[ProbeResult],
    pairs: Collection[tuple[str, str]],
    options: PreflightOptions,
    now: float,
    configured: Mapping[tuple[str, str], Mapping[str, object]],
) -> list[Finding]:
    findings = []
    for result in results:
        if (result.endpoint, result.region) in pairs:
            described = configured.get((plain(result.endpoint), result.region), {})
            # A certificate that AWS calls invalid will not be served later either.
            age = None if _invalid(described) else serving.age(described, now)
            findings += _target_findings(result, options.checks, now, age)
    for endpoint in sorted({result.endpoint for result in results}):
        findings += _differing([result for result in results if result.endpoint == endpoint])
    return findings


def _target_findings(result: ProbeResult, checks: CheckOptions, now: float, age: float | None) -> list[Finding]:
    """Judge a target's answers; `age`: seconds since its domain configuration changed, None where unknown."""
    region, endpoint, certificate = result.region, result.endpoint, result.certificate
    if isinstance(certificate, ProbeError):
        if certificate.untrusted and age is not None and age < serving.MAY_TAKE:
            return [_not_served_yet(region, endpoint, certificate.problem, age)]
        ca = checks.ca_file or "none, so those that the system trusts"
        advice = f"correct the certificate in ACM, the domain configuration or the CA (failover_ca_file: {ca})"
        return [_blocking("server_certificate", region, endpoint, f"{certificate.problem}{result.place}", "", advice)]
    findings = []
    if (left := (certificate.not_after - now) / DAY) < checks.certificate_days:
        expected = f"{checks.certificate_days:g} days or more"
        found = f"a certificate that expires in {left:.1f} days{result.place}"
        advice = (
            "run setup.yml, which renews those that it created; renew your own under its ARN in ACM, in every region"
        )
        findings.append(_blocking("server_certificate", region, endpoint, found, expected, advice))
    if result.refusal:
        advice = (
            f"check that the probe's certificate is ACTIVE in {region} and its policy allows {probe.CLIENT_ID_PREFIX}*"
        )
        found = f"{result.refusal.problem}{result.place}"
        findings.append(_blocking("mqtt_probe", region, endpoint, found, "", advice))
    return findings


def _not_served_yet(region: str, endpoint: str, problem: str, age: float) -> Finding:
    found = f"{serving.since(age)}, and still {problem}"
    minutes = serving.MAY_TAKE // 60
    again = max(1, round((serving.MAY_TAKE - age) / 60))
    advice = f"AWS may take {minutes} minutes to serve its certificate; check again in {again} minutes at the latest"
    return _blocking("server_certificate", region, endpoint, found, "", advice)


def _differing(results: Sequence[ProbeResult]) -> list[Finding]:
    """Devices that know one region's certificate, or its issuer, may refuse another's."""
    shown = {each.region: each.certificate for each in results if isinstance(each.certificate, ServerCertificate)}
    if len({certificate.fingerprint for certificate in shown.values()}) < 2:
        return []
    found = "different certificates: " + "; ".join(
        f"{region}: {certificate.fingerprint[:12]}… of {certificate.issuer}" for region, certificate in shown.items()
    )
    advice = "check that devices trust each issuer"
    return [Finding("server_certificate_differs", False, "", results[0].endpoint, found, "", advice)]
