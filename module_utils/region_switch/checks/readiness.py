"""Check that every region could serve every endpoint that a mode gives it, without a planned move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ..aws.clients import Aws, describe_data_endpoint
from ..dns import gate, hosted_zone
from ..dns.method import DnsMethod, UnusableRecordError
from ..fleet.source import FleetSource
from ..model.cname import Record
from ..model.errors import AwsError, RefusedError
from ..model.findings import Finding, unanswered
from ..model.modes import Modes
from ..model.names import region_of
from . import preflight
from .preflight import PreflightOptions, Question


@dataclass
class _Seen:
    """The current state as far as it could be read, and findings about the rest."""

    hosts: dict[str, str] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    clients: dict[str, int] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def assess(
    aws: Aws, dns: DnsMethod, options: PreflightOptions, modes: Modes, name_servers: Sequence[str]
) -> list[Finding]:
    """Return all findings about the modes of the table: preflight's, and those about records and DNS servers.

    Args:
        name_servers: those to ask instead of the hosted zone's own; none: the zone's.
    """
    endpoints = sorted({endpoint for targets in modes.values() for endpoint in targets})
    seen = _Seen()
    with ThreadPoolExecutor(max_workers=len(aws.regions) + len(endpoints)) as pool:
        regions = [(region, pool.submit(_read_region, aws, region, options.source)) for region in aws.regions]
        reading = [pool.submit(_read_record, dns, name) for name in endpoints]
        for region, read in regions:
            _note_region(seen, region, read.result())
        for found in (each.result() for each in reading):
            if isinstance(found, Record):
                seen.records[found.name] = found
            else:
                seen.findings.append(found)
    pairs = sorted({pair for targets in modes.values() for pair in targets.items()})
    everyone = sum(seen.clients.values())
    question = Question(
        pairs=pairs,
        hosts=seen.hosts,
        sources=_sources(seen),
        dead=seen.dead,
        records=seen.records,
        clients={region: everyone - present for region, present in seen.clients.items()},
    )
    return [
        *seen.findings,
        *preflight.check(aws, dns, options, question),
        *_dns_findings(dns, options, seen, endpoints, name_servers),
    ]


def _read_region(aws: Aws, region: str, source: FleetSource) -> tuple[str, int] | AwsError:
    """The host name of the region's data endpoint, and the number of its clients."""
    try:
        host = describe_data_endpoint(aws.probing[region])
    except AwsError as error:
        return error
    try:
        return host, source.count(aws.iot[region]) or 0
    except AwsError:
        # Without a count the quota of connections is not checked; a check of the source reports the reason.
        return host, 0


def _note_region(seen: _Seen, region: str, answer: tuple[str, int] | AwsError) -> None:
    if not isinstance(answer, AwsError):
        seen.hosts[region], seen.clients[region] = answer
        return
    seen.dead.add(region)
    if not answer.temporary:
        seen.findings.append(unanswered("region_api", region, answer))


def _read_record(dns: DnsMethod, name: str) -> Record | Finding:
    try:
        record = dns.read([name])[name]
    except AwsError as error:
        return unanswered("record", "", error)
    except UnusableRecordError as error:
        return Finding("record", True, "", name, error.what, error.expected, error.advice)
    return record or Finding("record", True, "", name, "no record", "", "run setup.yml")


def _sources(seen: _Seen) -> dict[str, str]:
    """The region of each record; adds a finding for each that belongs to none."""
    regions = {host: region for region, host in seen.hosts.items()}
    sources: dict[str, str] = {}
    for name, record in seen.records.items():
        region = regions.get(record.value) or region_of(record.value)
        if region in seen.hosts or region in seen.dead:
            sources[name] = str(region)
        else:
            expected = f"the endpoint of a region of the inventory ({', '.join(seen.hosts.values()) or 'none answers'})"
            advice = "add its region to the inventory, or correct the record"
            seen.findings.append(Finding("record", True, "", name, record.value, expected, advice))
    return sources


def _dns_findings(
    dns: DnsMethod, options: PreflightOptions, seen: _Seen, endpoints: Sequence[str], name_servers: Sequence[str]
) -> list[Finding]:
    current: Mapping[str, str] = {name: record.value for name, record in seen.records.items()}
    try:
        zone = dns.zone(endpoints)
        servers = gate.servers(name_servers or zone.name_servers, options.dns.resolvers)
        found = hosted_zone.check(zone, servers, bool(name_servers))
        return [*found, *zone.obstacles, *gate.check(servers, current)]
    except AwsError as error:
        return [unanswered("dns_server", "", error)]
    except RefusedError as error:
        return [Finding("dns_server", True, "", "", str(error), "", "")]
