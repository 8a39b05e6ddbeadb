"""CNAME records in Route 53: read, and switched by compare-and-swap."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..aws.answers import OK
from ..aws.clients import AwsClient
from ..aws.paced import retried
from ..model.cname import Record
from ..model.errors import (
    UNREADABLE,
    AwsError,
    NotConvergedError,
    RecordsChangedError,
    RefusedError,
    SwitchError,
    one_line,
)
from ..model.names import plain

POLL_INTERVAL = 0.5
# Until a poll that failed, or was throttled, is repeated.
RETRY_INTERVAL = 2.0
# A batch has 1,000 values, each change counts one, and to replace a record takes two
# (https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DNSLimitations.html#limits-api-requests-changeresourcerecordsets);
# 32,000 characters of values, of which a host name of an endpoint has 63 at most.
MOST_REPLACED = 250
# Route 53 refuses a batch while it works on another one of the zone, and asks for waits that grow
# (https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DNSLimitations.html#limits-api-requests): 28 seconds.
BUSY_ATTEMPTS = 8
# Reads that have to succeed since a switch depends on them: 10 seconds, beside botocore's own attempts.
READ_ATTEMPTS = 5

# What a record set has that belongs to no routing policy, alias or traffic policy
# (https://docs.aws.amazon.com/Route53/latest/APIReference/API_ResourceRecordSet.html).
_SIMPLE = {"Name", "Type", "TTL", "ResourceRecords", "HealthCheckId"}


def read_records(route53: AwsClient, zone: str, names: Iterable[str]) -> dict[str, Record | None]:
    """Return the CNAME of each name, None where there is no record of any type.

    Raises:
        RefusedError: a name that has other than one plain CNAME.
        SwitchError: an answer that holds no list of record sets.
    """
    return {name: _read(route53, zone, name) for name in names}


def read_patiently(
    route53: AwsClient, zone: str, names: Iterable[str], sleep: Callable[[float], None] = time.sleep
) -> dict[str, Record | None]:
    """`read_records`, tried again while Route 53 fails for a moment: a switch that is under way may not end for that.

    Raises:
        AwsError: Route 53 refuses to be read, or failed every time.
        RefusedError, SwitchError: as `read_records`.
    """
    wanted = list(names)
    return retried(
        lambda: read_records(route53, zone, wanted), lambda error: READ_ATTEMPTS if error.temporary else 1, sleep
    )


def _read(route53: AwsClient, zone: str, name: str) -> Record | None:
    answer = route53.call("ListResourceRecordSets", HostedZoneId=zone, StartRecordName=name, MaxItems="10")
    found = [entry for entry in _record_sets(answer) if plain(entry["Name"]) == plain(name)]
    if not found:
        return None
    record = simple_cname(found[0]) if len(found) == 1 else None
    if record is None:
        raise NoCnameError(name, {str(each.get("Type")) for each in found}, len(found))
    return record


@dataclass(frozen=True)
class Differing:
    """Records that are not as somebody left them.

    Attributes:
        wrong: `{name: host name, or "no record"}`, of those alone.
        found: `{name: host name}` of all, None where there is no record.
    """

    wrong: Mapping[str, str]
    found: Mapping[str, str | None]


def differing(route53: AwsClient, zone: str, expected: Mapping[str, str]) -> Differing | None:
    """Compare records with `{name: host name}`; None where all are so, or Route 53 does not answer for now.

    Route 53 that does not answer says nothing against the records.

    Raises:
        NoCnameError: a name has other records.
        AwsError: Route 53 refuses to be read.
    """
    try:
        records = read_records(route53, zone, list(expected))
    except AwsError as error:
        if error.temporary:
            return None
        raise
    found = {name: record.value if record else None for name, record in records.items()}
    wrong = {name: value or "no record" for name, value in found.items() if value != plain(expected[name])}
    return Differing(wrong, found) if wrong else None


class NoCnameError(RefusedError):
    """A name that has other records than one simple CNAME.

    Attributes:
        what, advice: what it has, and what to do.
    """

    def __init__(self, name: str, kinds: set[str], count: int) -> None:
        shown = ", ".join(sorted(kinds))
        if "SOA" in kinds:
            self.what = f"the apex of the hosted zone ({shown}), where no CNAME may be"
            self.advice = "use a name below it as the endpoint"
        elif "NS" in kinds:
            self.what = f"{shown}, which delegates the name to other name servers"
            self.advice = f"name the zone of {name} in hosted_zone_id, or use another endpoint"
        elif "CNAME" in kinds:
            self.what = f"{count} record set(s) of type {shown} with alias, policy or several values"
            self.advice = "replace it by hand, then run again"
        else:
            self.what = f"{count} record set(s) of type {shown}"
            self.advice = "delete them if they may go, and run setup.yml, or use another endpoint"
        super().__init__(f"record {name}: found {self.what}, expected one simple CNAME: {self.advice}")


def _record_sets(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    entries = answer.get("ResourceRecordSets")
    if not isinstance(entries, list) or not all(
        isinstance(entry, Mapping) and isinstance(entry.get("Name"), str) for entry in entries
    ):
        raise unreadable("ListResourceRecordSets", answer, "record sets with names")
    return entries


def simple_cname(entry: Mapping[str, Any]) -> Record | None:
    """The record of a ResourceRecordSet, None where that is not one plain CNAME."""
    match entry:
        case {"Name": str(name), "Type": "CNAME", "TTL": int(ttl), "ResourceRecords": [{"Value": str(value)}]}:
            return Record(plain(name), plain(value), ttl, entry) if entry.keys() <= _SIMPLE else None
    return None


def unreadable(operation: str, answer: object, expected: str) -> SwitchError:
    return SwitchError(
        f"{operation}: found {one_line(answer)} answered, expected {expected}: check AWS_ENDPOINT_URL, then run again"
    )


def record_set(name: str, value: str, ttl: int) -> dict[str, Any]:
    """A simple CNAME as ChangeResourceRecordSets takes it; `ttl` in seconds."""
    return {"Name": f"{plain(name)}.", "Type": "CNAME", "TTL": ttl, "ResourceRecords": [{"Value": plain(value)}]}


def create(name: str, value: str, ttl: int) -> list[dict[str, Any]]:
    """The change that creates a record and fails where one exists."""
    return [{"Action": "CREATE", "ResourceRecordSet": record_set(name, value, ttl)}]


def compare_and_swap(record: Record, value: str, ttl: int) -> list[dict[str, Any]]:
    """The changes that replace a record only where it still is exactly what was read.

    One batch is all or none, and its DELETE fails unless every value matches
    (https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html).
    """
    # What else the record has, such as a health check, goes with it.
    return replace(record, {**record.raw, **record_set(record.name, value, ttl)})


def replace(record: Record, raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The changes that put a record set in the place of a record that still is exactly what was read."""
    return [
        {"Action": "DELETE", "ResourceRecordSet": dict(record.raw)},
        {"Action": "CREATE", "ResourceRecordSet": dict(raw)},
    ]


def as_read(records: Iterable[Record]) -> list[dict[str, Any]]:
    """The changes that leave records as they are, in a batch that fails where one of them is not what was read.

    Two who move different names of a table at the same time would leave one together that neither asked for.
    """
    return [change for record in records for change in replace(record, record.raw)]


def submit(
    route53: AwsClient,
    zone: str,
    changes: list[dict[str, Any]],
    before: Mapping[str, Record | None],
    expected: Mapping[str, str],
    comment: str,
    sleep: Callable[[float], None] = time.sleep,
    or_others: bool = False,
) -> str | None:
    """Send one batch and return the change's ID; None when it proved to be applied although no answer said so.

    Args:
        or_others: whether it is as good that somebody else has written the very same meanwhile. Who may have to take
            the change back has to know that it is theirs.
        before: the records that the changes were made from.
        expected: `{name: value}` once the batch is applied.

    Raises:
        AwsError: Route 53 refuses the batch for what it says, such as a name that is not in the zone.
        RecordsChangedError: a record is not what it was read as; nothing was overwritten.
        SwitchError: an answer with other than record sets.
    """
    batch = {"Comment": comment, "Changes": changes}
    for attempt in range(1, BUSY_ATTEMPTS + 1):
        try:
            answer = route53.call("ChangeResourceRecordSets", HostedZoneId=zone, ChangeBatch=batch)
            return _change_id(answer, route53.region)
        except AwsError as error:
            # A request without an answer may have been carried out, and its repetition then fails.
            if error.code == "InvalidChangeBatch" or error.uncertain:
                _settle(route53, zone, changes, before, expected, error, or_others, sleep)
                return None
            if not error.throttled or attempt == BUSY_ATTEMPTS:
                raise
            sleep(attempt)
    raise AssertionError("unreachable")


def _change_id(answer: Mapping[str, Any], region: str) -> str:
    match answer:
        case {"ChangeInfo": {"Id": str(change_id)}}:
            return change_id
    # The batch may have been carried out.
    raise AwsError("ChangeResourceRecordSets", region, UNREADABLE, OK, f"no ID of the change in {one_line(answer)}")


def _settle(
    route53: AwsClient,
    zone: str,
    changes: Iterable[Mapping[str, Any]],
    before: Mapping[str, Record | None],
    expected: Mapping[str, str],
    error: AwsError,
    or_others: bool,
    sleep: Callable[[float], None],
) -> None:
    """Read again after a batch that was refused or not answered; return when the records are as wanted."""
    found = read_patiently(route53, zone, expected, sleep)
    created = [change["ResourceRecordSet"] for change in changes if change["Action"] == "CREATE"]
    # A batch may change nothing but TTLs: then the values say nothing about whether it was carried out.
    ttls = {plain(entry["Name"]): entry["TTL"] for entry in created}
    wrong = [
        name
        for name, value in expected.items()
        if (record := found[name]) is None
        or record.value != plain(value)
        or record.ttl != ttls.get(plain(name), record.ttl)
    ]
    # A batch that was refused was not carried out: what is as wanted now, somebody else has written.
    if not wrong and (or_others or error.code != "InvalidChangeBatch"):
        return
    changed = [name for name in expected if _raw(found[name]) != _raw(before.get(name))]
    if error.code != "InvalidChangeBatch" or not changed:
        raise error
    shown = ", ".join(f"{name} = {_shown(found[name])}" for name in changed)
    raise RecordsChangedError(
        f"records changed by someone else since they were read: found {shown}; expected them unchanged, nothing was "
        "overwritten: find out who moves them, then run again",
        {name: record.value if record else None for name, record in found.items()},
    ) from error


def _shown(record: Record | None) -> str:
    return f"{record.value} (TTL {record.ttl})" if record else "no record"


def _raw(record: Record | None) -> Mapping[str, Any] | None:
    return record.raw if record else None


def wait_insync(
    route53: AwsClient,
    change_id: str,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    look: Callable[[], None] = lambda: None,
) -> None:
    """Poll GetChange until INSYNC: every Route 53 server has the change. A poll that fails for a moment is repeated.

    Args:
        look: called between two polls; what it raises ends them.

    Raises:
        NotConvergedError: still PENDING after `timeout` seconds.
        AwsError: Route 53 refuses to be asked, or still fails then.
    """
    deadline = clock() + timeout
    while True:
        pause = POLL_INTERVAL
        try:
            status = _status(route53.call("GetChange", Id=change_id))
        except AwsError as error:
            if not error.temporary or clock() >= deadline:
                raise
            status, pause = error.code, RETRY_INTERVAL
        if status == "INSYNC":
            return
        if clock() >= deadline:
            raise NotConvergedError(
                f"Route 53 change {change_id}: found {status} after {timeout:.0f} s, expected INSYNC: "
                "nobody was disconnected; run again"
            )
        look()
        sleep(pause)


def _status(answer: Mapping[str, Any]) -> str:
    match answer:
        case {"ChangeInfo": {"Status": str(status)}}:
            return status
    raise unreadable("GetChange", answer, "the status of the change")


@dataclass(frozen=True)
class HostedZone:
    """What GetHostedZone says of a zone: its name (empty where it does not), its delegation set, which a private zone
    does not have, and the names of the Change Guardrails that are turned on
    (https://docs.aws.amazon.com/Route53/latest/APIReference/API_GetHostedZone.html)."""

    name: str
    private: bool
    name_servers: list[str]
    guardrails: tuple[str, ...] = ()


def get_hosted_zone(route53: AwsClient, zone: str) -> HostedZone:
    """Read a hosted zone.

    Raises:
        AwsError: AWS refuses to be read, or does not answer.
        SwitchError: an answer that is none.
    """
    answer = route53.call("GetHostedZone", Id=zone)
    match answer:
        case {"DelegationSet": {"NameServers": [*names]}} if all(isinstance(name, str) for name in names):
            servers = [plain(name) for name in names]
        case {"DelegationSet": _}:
            raise unreadable("GetHostedZone", answer, "the zone's name servers")
        case _:
            servers = []
    match answer.get("HostedZone"):
        case {"Name": str(name), **rest}:
            config = rest.get("Config")
            private = isinstance(config, Mapping) and config.get("PrivateZone") is True
            return HostedZone(plain(name), private, servers, _guardrails(rest.get("Features")))
    return HostedZone("", False, servers)


def _guardrails(features: object) -> tuple[str, ...]:
    """The Change Guardrails that are turned on, as far as this botocore knows of them.

    Source: https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeGuardrail.html
    """
    listed = features.get("ChangeGuardrails") if isinstance(features, Mapping) else None
    found = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    return tuple(str(each.get("Name")) for each in found if each.get("Status") == "ENABLED")


def aliases_to(route53: AwsClient, zone: str, names: Collection[str]) -> dict[str, str]:
    """`{name: a record set that is an alias of it}`, of those names that have one; reads the whole zone.

    Raises:
        AwsError: Route 53 refuses to be read, or does not answer.
        SwitchError: an answer that holds no list of record sets.
    """
    wanted, found = {plain(name) for name in names}, dict[str, str]()
    start: dict[str, Any] = {}
    while True:
        answer = route53.call("ListResourceRecordSets", HostedZoneId=zone, **start)
        for entry in _record_sets(answer):
            target = entry.get("AliasTarget")
            name = plain(str(target.get("DNSName", ""))) if isinstance(target, Mapping) else ""
            if name in wanted:
                found.setdefault(name, f"{plain(entry['Name'])} ({entry.get('Type')})")
        keys = {f"StartRecord{part}": answer.get(f"NextRecord{part}") for part in ("Name", "Type", "Identifier")}
        following = {key: value for key, value in keys.items() if value}
        if not answer.get("IsTruncated") or not following or following == start:
            return found
        start = following


def name_servers(route53: AwsClient, zone: str) -> list[str]:
    """Host names of the zone's own name servers (its delegation set)."""
    return get_hosted_zone(route53, zone).name_servers


def has_name_servers(route53: AwsClient, zone: str, name: str) -> bool:
    """Whether a zone has an NS record set of this name: below its apex, a delegation to other name servers."""
    where = {"StartRecordName": name, "StartRecordType": "NS"}
    answer = route53.call("ListResourceRecordSets", HostedZoneId=zone, **where, MaxItems="1")
    return any(entry.get("Type") == "NS" and plain(entry["Name"]) == plain(name) for entry in _record_sets(answer))


def setup_changes(
    records: Mapping[str, Record | None], wanted: Mapping[str, str], keep_values: Collection[str], ttl: int
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the changes that create what is missing and correct TTLs, and `{name: value}` after them.

    A record that points at one of `keep_values` keeps its value: moving it is a failover's business.

    Raises:
        RefusedError: a record that points anywhere else.
    """
    kept = {plain(value) for value in keep_values}
    changes: list[dict[str, Any]] = []
    values: dict[str, str] = {}
    for name, value in wanted.items():
        record = records[name]
        if record is None:
            changes += create(name, value, ttl)
            values[name] = plain(value)
            continue
        if record.value not in kept | {plain(value)}:
            raise RefusedError(
                f"record {name}: found {record.value}, expected {plain(value)} or another region's endpoint "
                f"({', '.join(sorted(kept)) or 'none known'}): delete it if it may go, then run again"
            )
        values[name] = record.value
        if record.ttl != ttl:
            changes += compare_and_swap(record, record.value, ttl)
    return changes, values
