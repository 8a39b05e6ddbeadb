"""Check that a region would admit the devices of another: compare their certificates and policies in bulk."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from ..aws import answers
from ..aws.clients import Aws, AwsClient
from ..aws.paced import Paced
from ..model.errors import UNREADABLE, AwsError, one_line
from ..model.findings import Finding, unanswered

# https://docs.aws.amazon.com/general/latest/gr/iot-core.html: most requests of the control plane, each 10 per second.
CONTROL_RATE = 10.0
PAGE_SIZE = 250
# Of a request that AWS throttles, in addition to the SDK's own retries.
ATTEMPTS = 4
RETRY_INTERVAL = 1.0
# With more policies, a request or two for each would take too long.
MAX_POLICIES = 250
# Certificates per kind of problem whose things are looked up, two requests each; and how many are named.
EXAMINED = 20
NAMED = 5

_REGION = re.compile(r"arn:[^:]*:iot:([^:]*):")
_TABLES = """
CREATE TABLE certificate (region TEXT, id BLOB, active INTEGER, PRIMARY KEY (region, id)) WITHOUT ROWID;
CREATE TABLE attached (region TEXT, id BLOB, PRIMARY KEY (region, id)) WITHOUT ROWID;
"""
_JOIN = """
FROM certificate AS old
LEFT JOIN certificate AS new ON new.region = :target AND new.id = old.id
LEFT JOIN attached ON attached.region = :target AND attached.id = old.id
WHERE old.region = :source AND old.active AND
"""
# `{problem: its SQL condition}`.
_KINDS = {
    "not registered": "new.id IS NULL",
    "not ACTIVE": "new.id IS NOT NULL AND NOT new.active",
    "without policy": "new.active AND attached.id IS NULL",
}


class ControlPlane:
    """The control plane of one region, each operation within its quota."""

    def __init__(self, iot: AwsClient) -> None:
        self.region = iot.region
        self._iot = iot
        self._lock = threading.Lock()
        self._paced: dict[str, Paced] = {}

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """`AwsClient.call`, paced within the quota, and slower when others use it up."""
        with self._lock:
            paced = self._paced.setdefault(operation, Paced(self._iot, CONTROL_RATE, _attempts, RETRY_INTERVAL))
        return paced.call(operation, **parameters)

    def pages(self, operation: str, items: str, cursor: tuple[str, str], **parameters: Any) -> Iterator[list[Any]]:
        """Yield the list `items` of each page; `cursor` as for `AwsClient.pages`."""
        return answers.pages(self.call, self.region, operation, items, cursor, **parameters)


def _attempts(error: AwsError) -> int:
    return ATTEMPTS if error.throttled else 1


@dataclass(frozen=True)
class Route:
    """Devices of these endpoints are in the source region and shall be admitted in the target region."""

    source: str
    target: str
    endpoints: frozenset[str]


@dataclass(frozen=True)
class Policies:
    """The policies of a region that are attached to something.

    Attributes:
        count: how many policies the region has, attached or not.
        groups: whether one is attached to a thing group, whose things' certificates need none of their own.
        foreign: `{policy: regions}` whose ARNs name other regions only.
    """

    count: int
    groups: bool
    foreign: Mapping[str, Sequence[str]]

    @property
    def read(self) -> bool:
        return self.count <= MAX_POLICIES


class Admission:
    """Compares regions; the lists are kept on disk, so that memory does not grow with the fleet.

    Args:
        endpoint: the endpoint of a thing as DescribeThing answers; empty where it belongs to none.
    """

    def __init__(self, aws: Aws, endpoint: Callable[[Mapping[str, Any]], str]) -> None:
        self._regions = {region: ControlPlane(iot) for region, iot in aws.iot.items()}
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._prefixes: dict[str, str] = {}
        # An empty name is a temporary file of SQLite.
        self._table = sqlite3.connect("", check_same_thread=False)
        self._table.executescript(_TABLES)

    def check(self, routes: Sequence[Route]) -> list[Finding]:
        """Return the findings about the devices of these routes. Reads only; a refusal by AWS is a finding."""
        listed = sorted({region for route in routes for region in (route.source, route.target)})
        targets = sorted({route.target for route in routes})
        with ThreadPoolExecutor(max_workers=2 * len(self._regions)) as pool:
            loading = [pool.submit(self._try_certificates, region) for region in listed]
            reading = {region: pool.submit(self._try_policies, region) for region in targets}
            refused = [finding for job in loading for finding in job.result()]
            policies = {region: job.result() for region, job in reading.items()}
            unread = {finding.region for finding in refused}
            readable = [route for route in routes if not unread & {route.source, route.target}]
            compared = list(pool.map(lambda route: self._try_route(route, policies[route.target]), readable))
        self._table.close()
        return [*refused, *_policy_findings(policies), *(finding for each in compared for finding in each)]

    def _try_certificates(self, region: str) -> list[Finding]:
        try:
            self._load_certificates(region)
        except AwsError as error:
            return [unanswered("device_certificate", region, error)]
        return []

    def _try_policies(self, region: str) -> Policies | Finding:
        try:
            return self._read_policies(region)
        except AwsError as error:
            return unanswered("policy_region", region, error)

    def _try_route(self, route: Route, policies: Policies | Finding) -> list[Finding]:
        try:
            return self._compare(route, policies if isinstance(policies, Policies) else None)
        except AwsError as error:
            return [unanswered("device_certificate", route.source, error)]

    def _load_certificates(self, region: str) -> None:
        cursor = ("nextMarker", "marker")
        for page in self._regions[region].pages("ListCertificates", "certificates", cursor, pageSize=PAGE_SIZE):
            rows = [
                (region, _digest(each["certificateId"], "ListCertificates", region), each["status"] == "ACTIVE")
                for each in page
            ]
            with self._lock:
                self._table.executemany("INSERT OR REPLACE INTO certificate VALUES (?, ?, ?)", rows)
                for each in page[:1]:
                    self._prefixes[region] = each["certificateArn"].removesuffix(each["certificateId"])

    def _read_policies(self, region: str) -> Policies:
        iot, cursor = self._regions[region], ("nextMarker", "marker")
        pages = iot.pages("ListPolicies", "policies", cursor, pageSize=PAGE_SIZE)
        names = [policy["policyName"] for page in pages for policy in page]
        if len(names) > MAX_POLICIES:
            return Policies(len(names), False, {})
        groups, foreign = False, {}
        for name in names:
            attached = False
            for page in iot.pages("ListTargetsForPolicy", "targets", cursor, policyName=name, pageSize=PAGE_SIZE):
                attached = attached or bool(page)
                groups = groups or any(":thinggroup/" in target for target in page)
                self._note_attached(region, page)
            if attached and (regions := _foreign_regions(iot, name)):
                foreign[name] = regions
        return Policies(len(names), groups, foreign)

    def _note_attached(self, region: str, targets: Iterable[str]) -> None:
        identifiers = (target.rpartition(":cert/")[2] for target in targets if ":cert/" in target)
        with self._lock:
            rows = [(region, _digest(identifier, "ListTargetsForPolicy", region)) for identifier in identifiers]
            self._table.executemany("INSERT OR REPLACE INTO attached VALUES (?, ?)", rows)

    def _compare(self, route: Route, policies: Policies | None) -> list[Finding]:
        findings = []
        for kind, condition in _KINDS.items():
            if kind == "without policy" and (policies is None or not policies.read):
                continue
            count, some = self._problems(route, condition)
            if count:
                by_group = kind == "without policy" and policies is not None and policies.groups
                findings += self._explain(route, kind, count, some, by_group)
        return findings

    def _problems(self, route: Route, condition: str) -> tuple[int, list[str]]:
        """How many certificates of the source have this problem in the target, and the first of them."""
        values = {"source": route.source, "target": route.target, "examined": EXAMINED}
        with self._lock:
            (count,) = self._table.execute(f"SELECT count(*) {_JOIN} {condition}", values).fetchone()
            rows = self._table.execute(f"SELECT old.id {_JOIN} {condition} LIMIT :examined", values)
            return count, [identifier.hex() for (identifier,) in rows]

    def _explain(self, route: Route, kind: str, count: int, some: Sequence[str], by_group: bool) -> list[Finding]:
        moving: list[str] = []
        others: list[str] = []
        for identifier in some:
            for thing, endpoint in self._things(route.source, identifier):
                (moving if endpoint in route.endpoints else others).append(thing)
        unseen = count - len(some)
        findings = []
        if moving or unseen:
            found = f"{_names(moving, unseen)} {kind}"
            if by_group:
                found += " of their own (there are policies of thing groups, which were not checked)"
            findings.append(_certificate_finding(route, kind, found, blocking=not by_group))
        if others:
            found = f"{_names(others, 0)} of no endpoint that moves {kind}"
            findings.append(_certificate_finding(route, kind, found, blocking=False))
        return findings

    def _things(self, region: str, identifier: str) -> list[tuple[str, str]]:
        """The things of a certificate, each with its endpoint; the certificate itself where there is none."""
        iot = self._regions[region]
        arn = self._prefixes[region] + identifier
        names = [name for page in iot.pages("ListPrincipalThings", "things", ("nextToken", "nextToken"), principal=arn)
                 for name in page]  # fmt: skip
        described = (iot.call("DescribeThing", thingName=name) for name in names)
        things = [(each["thingName"], self._endpoint(each)) for each in described]
        return things or [(f"(no thing) {identifier[:12]}…", "")]


def _digest(identifier: str, operation: str, region: str) -> bytes:
    """A certificate's ID as stored: a SHA-256 digest.

    Source: https://docs.aws.amazon.com/iot/latest/apireference/API_CertificateDescription.html: hexadecimal digits.
    """
    try:
        return bytes.fromhex(identifier)
    except ValueError as error:
        text = f"{one_line(identifier)} is not a certificate ID"
        raise AwsError(operation, region, UNREADABLE, answers.OK, text) from error


def _foreign_regions(iot: ControlPlane, policy: str) -> list[str]:
    document = iot.call("GetPolicy", policyName=policy)["policyDocument"]
    try:
        return foreign_regions(document, iot.region)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        text = f"policy {policy} = {one_line(document)} is not a policy document"
        raise AwsError("GetPolicy", iot.region, UNREADABLE, answers.OK, text) from error


def foreign_regions(document: str, region: str) -> list[str]:
    """Return the regions that a policy's ARNs name when this region is not among them, else an empty list.

    A policy with another region's ARNs authorises nothing
    (https://docs.aws.amazon.com/iot/latest/developerguide/iot-action-resources.html).

    Args:
        document: the policy, JSON.
    """
    statements = json.loads(document).get("Statement", [])
    listed = statements if isinstance(statements, list) else [statements]
    allowing = [statement.get("Resource", []) for statement in listed if statement.get("Effect") == "Allow"]
    named = set(_REGION.findall(json.dumps(allowing)))
    return [] if any(fnmatchcase(region, pattern) for pattern in named) else sorted(named)


def _policy_findings(policies: Mapping[str, Policies | Finding]) -> list[Finding]:
    findings = []
    for region, found in policies.items():
        if isinstance(found, Finding):
            findings.append(found)
        elif not found.read:
            text = f"{found.count} policies: neither they nor the certificates without one were checked"
            advice = "check that each device has one"
            findings.append(Finding("policy_region", False, region, "", text, f"{MAX_POLICIES} at most", advice))
        else:
            findings += [_foreign(region, name, regions) for name, regions in found.foreign.items()]
    return findings


def _foreign(region: str, name: str, regions: Sequence[str]) -> Finding:
    found = f"policy {name} with ARNs of {', '.join(regions)} only"
    advice = f"run setup.yml --limit {region}, or correct the policy there"
    return Finding("policy_region", True, region, "", found, f"ARNs of {region}", advice)


_ADVICE = {
    "not registered": "run setup.yml --limit {region}, or register them there",
    # setup.yml does not activate what somebody turned off.
    "not ACTIVE": "make them ACTIVE there, or in no region",
    "without policy": "run setup.yml --limit {region}, which reports where it was detached, or attach one there",
}


def _names(things: Sequence[str], unseen: int) -> str:
    known = sorted(set(things))
    more = len(known) - NAMED
    parts = [*known[:NAMED], *([f"{more} more"] if more > 0 else [])]
    if unseen:
        parts.append(f"{unseen} certificates whose things were not looked up")
    return ", ".join(parts)


def _certificate_finding(route: Route, kind: str, found: str, blocking: bool) -> Finding:
    expected = f"each ACTIVE certificate of {route.source} registered, ACTIVE and with a policy"
    advice = _ADVICE[kind].format(region=route.target)
    return Finding("device_certificate", blocking, route.target, "", found, expected, advice)
