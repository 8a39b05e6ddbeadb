"""The record sets of hosted zones, batches of changes to them, and what refuses one."""

from __future__ import annotations

import secrets
import string
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from moto.route53.models import FakeZone, RecordSet

from lab.aws_api.errors import InvalidChangeBatchError

MAX_RECORDS = 1000
MAX_PROTECTIONS = 100
DELEGATION_TTL = 172800
PRIVATE_NAME_SERVERS = (
    "ns-0.awsdns-00.com",
    "ns-512.awsdns-00.net",
    "ns-1024.awsdns-00.org",
    "ns-1536.awsdns-00.co.uk",
)
GUARDRAILS = (
    *("NS_FORMAT_CHECK", "NS_DELEGATION_AUTHORITY_CHECK", "NS_OCCLUSION_CHECK"),
    *("ALIAS_TARGET_CHECK", "ACTIVE_RECORD_CHECK", "ACTIVE_DELEGATION_CHECK"),
)
_COMPARED_BY_NAME = ("CNAME", "NS", "PTR")

Key = tuple[str, str, str | None]
Record = dict[str, Any]
Records = dict[Key, Record]
# What nobody may change: name and type, with the comment that says why.
Protections = dict[tuple[str, str], str | None]
NOTHING_PROTECTED: Mapping[tuple[str, str], str | None] = MappingProxyType({})


@dataclass
class Change:
    """A change and the name servers that do not have it yet."""

    id: str
    submitted_at: datetime
    pending: set[str] = field(default_factory=set)

    def status(self, now: datetime, delay: float, ignored: Collection[str] = ()) -> str:
        """Return PENDING or INSYNC; `delay` in seconds since it was submitted, `ignored` servers not waited for."""
        waiting = self.pending.difference(ignored) or (now - self.submitted_at).total_seconds() < delay
        return "PENDING" if waiting else "INSYNC"


def new_change(servers: set[str]) -> Change:
    return Change("C" + secrets.token_hex(7).upper(), datetime.now(UTC), servers)


def new_zone_id() -> str:
    """Return an ID that with /hostedzone/ before it is as long as the model allows; moto's are longer."""
    return "Z" + "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(19))


def full_name(name: str) -> str:
    """Return a name as Route 53 keeps it: lower case, with a trailing dot."""
    return name.lower().rstrip(".") + "."


def key_of(record: Mapping[str, Any]) -> Key:
    return full_name(record["Name"]), record["Type"], record.get("SetIdentifier")


def _values(record: Mapping[str, Any]) -> list[str]:
    values = [item["Value"] if isinstance(item, Mapping) else item for item in record.get("ResourceRecords") or []]
    if record["Type"] in _COMPARED_BY_NAME:
        values = [full_name(value) for value in values]
    return sorted(values)


def _comparable(record: Mapping[str, Any]) -> Record:
    compared = {name: value for name, value in record.items() if value is not None}
    compared |= {"Name": full_name(record["Name"]), "ResourceRecords": _values(record)}
    if record.get("TTL") is not None:
        compared["TTL"] = int(record["TTL"])
    return compared


def apply_batch(
    records: Records,
    changes: list[dict[str, Any]],
    zone_name: str,
    protections: Mapping[tuple[str, str], str | None] = NOTHING_PROTECTED,
) -> Records:
    """Return the records after a batch, which is applied as a whole or not at all.

    Source: Route 53 API reference, ChangeResourceRecordSets and CreateResourceRecordSetProtections.

    Raises:
        AwsError: InvalidChangeBatch with one message for each change that cannot be made.
    """
    if sum(_weight(change) for change in changes) > MAX_RECORDS:
        raise InvalidChangeBatchError([f"Number of records limit of {MAX_RECORDS} exceeded."])
    after = dict(records)
    problems = []
    for change in changes:
        record = change["ResourceRecordSet"]
        problem = _protection(protections, record) or _problem(after, change["Action"], record, zone_name)
        if problem:
            problems.append(problem)
        elif change["Action"] == "DELETE":
            del after[key_of(record)]
        else:
            after[key_of(record)] = {**record, "Name": full_name(record["Name"])}
    problems += [] if problems else _conflicts(after, zone_name)
    if problems:
        raise InvalidChangeBatchError(problems)
    return after


def _weight(change: Mapping[str, Any]) -> int:
    count = len(change["ResourceRecordSet"].get("ResourceRecords") or [])
    return count * 2 if change["Action"] == "UPSERT" else count


def _problem(records: Records, action: str, record: Mapping[str, Any], zone_name: str) -> str | None:
    name, kind, _ = key_of(record)
    if not ("." + name).endswith("." + full_name(zone_name)):
        return f"RRSet with DNS name {name} is not permitted in zone {full_name(zone_name)}"
    current = records.get(key_of(record))
    subject = f"resource record set [name='{name}', type='{kind}']"
    if action == "CREATE" and current is not None:
        return f"Tried to create {subject} but it already exists"
    if action == "DELETE" and current is None:
        return f"Tried to delete {subject} but it was not found"
    if action == "DELETE" and current is not None and _comparable(current) != _comparable(record):
        return f"Tried to delete {subject} but the values provided do not match the current values"
    return None


def _protection(protections: Mapping[tuple[str, str], str | None], record: Mapping[str, Any]) -> str | None:
    name, kind, _ = key_of(record)
    if (name, kind) not in protections:
        return None
    comment = protections[name, kind]
    because = f": {comment}" if comment else ""
    return f"The resource record set [name='{name}', type='{kind}'] is protected{because}"


def _conflicts(records: Records, zone_name: str) -> list[str]:
    types: dict[str, set[str]] = {}
    for name, kind, _ in records:
        types.setdefault(name, set()).add(kind)
    return [
        f"RRSet of type CNAME with DNS name {name} is not permitted as it conflicts with other records"
        f" with the same DNS name in zone {full_name(zone_name)}"
        for name, kinds in sorted(types.items())
        if "CNAME" in kinds and len(kinds) > 1
    ]


def guarded(
    before: Mapping[Key, Record], after: Mapping[Key, Record], changes: Sequence[Mapping[str, Any]], on: Collection[str]
) -> list[str]:
    """Return what Change Guardrails refuse in a batch. ACTIVE_RECORD_CHECK treats every record as one in use.

    Source: https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeGuardrail.html
    """
    deleted = {key_of(change["ResourceRecordSet"]) for change in changes if change["Action"] == "DELETE"}
    targets = {
        full_name(each["AliasTarget"]["DNSName"]): key for key, each in before.items() if each.get("AliasTarget")
    }
    said = []
    for name, kind, _ in sorted(deleted, key=str):
        subject = f"resource record set [name='{name}', type='{kind}']"
        if "ALIAS_TARGET_CHECK" in on and name in targets:
            said.append(f"ALIAS_TARGET_CHECK: tried to delete {subject} that alias {targets[name][0]} points to")
        if "ACTIVE_RECORD_CHECK" in on and not any(key[:2] == (name, kind) for key in after):
            said.append(f"ACTIVE_RECORD_CHECK: tried to delete {subject} that still receives DNS queries")
    return said


def records_of(zone: FakeZone) -> Records:
    """Return a zone's records as moto keeps them."""
    records = [_record(item) for item in zone.rrsets]
    return {key_of(record): record for record in records}


def _record(item: RecordSet) -> Record:
    names = {
        "Name": item.name,
        "Type": item.type,
        "TTL": item.ttl,
        "ResourceRecords": item.records,
        "SetIdentifier": item.set_identifier,
        "Weight": item.weight,
        "Region": item.region,
        "HealthCheckId": item.health_check_id,
        "AliasTarget": item.alias_target,
        "Failover": item.failover,
        "GeoLocation": item.geo_location,
        "MultiValueAnswer": item.multi_value_answer,
    }
    return {name: value for name, value in names.items() if value is not None}


def kept(record: Record) -> RecordSet:
    values = [item["Value"] if isinstance(item, Mapping) else item for item in record.get("ResourceRecords") or []]
    return RecordSet({**record, "ResourceRecords": values})


def apex_records(zone_name: str, servers: Sequence[str]) -> list[RecordSet]:
    """Return the NS and SOA record sets that a zone is made with; host names with or without their last dot."""
    names = [full_name(server) for server in servers]
    soa = f"{names[0]} awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400"
    common = {"Name": full_name(zone_name)}
    return [
        RecordSet({**common, "Type": "NS", "TTL": DELEGATION_TTL, "ResourceRecords": names}),
        RecordSet({**common, "Type": "SOA", "TTL": 900, "ResourceRecords": [soa]}),
    ]


def protected(key: tuple[str, str]) -> str:
    return f"protection of [name='{key[0]}', type='{key[1]}']"
