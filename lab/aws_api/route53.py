"""Route 53 as documented where moto is too kind: exact deletes, all-or-nothing batches, PENDING before INSYNC."""

from __future__ import annotations

import secrets
import string
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult
from moto.route53.models import DelegationSet, FakeZone, RecordSet
from moto.route53.responses import Route53

from lab.aws_api.errors import AwsError, InvalidChangeBatchError

if TYPE_CHECKING:
    from lab.aws_api.stand_in import StandIn

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
    """Say what Change Guardrails refuse in a batch. ACTIVE_RECORD_CHECK takes every record for one that is asked for.

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


def _kept(record: Record) -> RecordSet:
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


def _protected(key: tuple[str, str]) -> str:
    return f"protection of [name='{key[0]}', type='{key[1]}']"


class Route53Response(Route53):  # type: ignore[misc]
    """moto's Route 53 with changes that take time and are refused as AWS refuses them."""

    def __init__(self, stand_in: StandIn) -> None:
        super().__init__()
        self._stand_in = stand_in

    def create_hosted_zone(self) -> ActionResult:
        """Create a zone with name servers of its own: zones of one name never share any.

        Source: https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/zone-public-considerations.html; those of a
        private one are reserved, and nobody is told of them
        (https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/hosted-zone-private-considerations.html).
        """
        answer = super().create_hosted_zone()
        zone = answer.result["HostedZone"]
        del self.backend.zones[zone.resource_id]
        zone.resource_id = new_zone_id()
        self.backend.zones[zone.resource_id] = zone
        answer.result["Location"] = f"https://route53.amazonaws.com/2013-04-01{zone.id}"
        servers = PRIVATE_NAME_SERVERS if zone.private_zone else self._stand_in.next_name_servers()
        zone.delegation_set = DelegationSet(zone.caller_reference, servers, None)
        zone.delegation_set.id = ""
        zone.rrsets = apex_records(zone.name, servers)
        answer.result["DelegationSet"] = None if zone.private_zone else zone.delegation_set
        return answer

    def get_hosted_zone(self) -> ActionResult:
        """Tell of a zone with its Change Guardrails.

        Source: https://docs.aws.amazon.com/Route53/latest/APIReference/API_GetHostedZone.html, Features.
        """
        answer = super().get_hosted_zone()
        if on := self._stand_in.settings.change_guardrails:
            listed = [{"Name": name, "Status": "ENABLED" if name in on else "DISABLED"} for name in GUARDRAILS]
            answer.result["HostedZone"].features = {"ChangeGuardrails": listed}
        return answer

    def change_resource_record_sets(self) -> ActionResult | tuple[str, dict[str, Any]]:
        try:
            return self._change_record_sets()
        except InvalidChangeBatchError as error:
            if self._stand_in.settings.invalid_change_batch == error.code:
                return error.by_its_name(), {"status": 400, "content-type": "text/xml"}
            raise

    def _change_record_sets(self) -> ActionResult:
        zone = self.backend.get_hosted_zone(self._get_param("HostedZoneId"))
        self._refuse_while_busy(zone.id)
        before = records_of(zone)
        changes = self._get_param("ChangeBatch.Changes")
        after = apply_batch(before, changes, zone.name, self._protections(zone.id))
        if refused := guarded(before, after, changes, self._stand_in.settings.change_guardrails):
            raise InvalidChangeBatchError(refused)
        zone.rrsets = [_kept(record) for record in after.values()]
        # The name servers of the lab have the zones that are delegated to them, and no others of their names.
        served = zone.resource_id in self._stand_in.configuration.hosted_zones
        change = self._stand_in.zones.publish(zone.name, before, after, served)
        self._stand_in.last_changes[zone.id] = change
        return ActionResult({"ChangeInfo": self._info(change)})

    def _refuse_while_busy(self, zone_id: str) -> None:
        """Refuse a batch while another one of the zone is worked on.

        Source: https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html, Errors.
        """
        last = self._stand_in.last_changes.get(zone_id)
        if self._stand_in.settings.one_change_at_a_time and last and self._info(last)["Status"] == "PENDING":
            raise AwsError(
                "PriorRequestNotComplete",
                "The request was rejected because Route 53 was still processing a prior request.",
            )

    def get_change(self) -> ActionResult:
        change_id = self._get_param("Id").removeprefix("/change/")
        change = self._stand_in.zones.changes.get(change_id)
        if change is None:
            raise AwsError("NoSuchChange", f"Could not find resource with ID: {change_id}")
        return ActionResult({"ChangeInfo": self._info(change)})

    def create_resource_record_set_protections(self) -> ActionResult:
        protections, wanted = self._protection_batch()
        known = [key for key in wanted if key in protections]
        if known and len(known) == len(wanted):
            raise AwsError("ProtectionAlreadyExists", f"[{', '.join(map(_protected, known))} already exists]")
        if known:
            raise self._refused_protections(known, "already exists")
        protections |= wanted
        return ActionResult({})

    def delete_resource_record_set_protections(self) -> ActionResult:
        protections, wanted = self._protection_batch()
        unknown = [key for key in wanted if key not in protections]
        if unknown:
            raise self._refused_protections(unknown, "does not exist")
        for key in wanted:
            del protections[key]
        return ActionResult({})

    def list_resource_record_set_protections(self) -> ActionResult:
        """List all in one page."""
        zone = self.backend.get_hosted_zone(self._get_param("HostedZoneId"))
        name = self._get_param("StartRecordName")
        first = (full_name(name), self._get_param("StartRecordType") or "") if name else ("", "")
        listed = [
            {"RecordName": name, "RecordType": kind, "Comment": comment}
            for (name, kind), comment in sorted(self._protections(zone.id).items())
            if (name, kind) >= first
        ]
        return ActionResult({"ResourceRecordSetProtections": listed})

    def _protections(self, zone_id: str) -> Protections:
        return self._stand_in.protections.setdefault(zone_id, {})

    def _protection_batch(self) -> tuple[Protections, Protections]:
        """Return the zone's protections and those of the request."""
        zone = self.backend.get_hosted_zone(self._get_param("HostedZoneId"))
        items = self._get_param("Protections")
        if len(items) > MAX_PROTECTIONS:
            raise AwsError("InvalidInput", f"Protections: {len(items)}, expected {MAX_PROTECTIONS} at most")
        wanted = {(full_name(item["RecordName"]), item["RecordType"]): item.get("Comment") for item in items}
        foreign = [key for key in wanted if not ("." + key[0]).endswith("." + full_name(zone.name))]
        if foreign:
            raise self._refused_protections(foreign, f"is not in zone {full_name(zone.name)}")
        return self._protections(zone.id), wanted

    @staticmethod
    def _refused_protections(keys: list[tuple[str, str]], reason: str) -> AwsError:
        said = ", ".join(f"{_protected(key)} {reason}" for key in keys)
        return AwsError("InvalidResourceRecordSetProtectionBatch", f"[{said}]")

    def _info(self, change: Change) -> dict[str, Any]:
        settings = self._stand_in.settings
        status = change.status(datetime.now(UTC), settings.insync_delay_seconds, settings.insync_ignores)
        return {"Id": f"/change/{change.id}", "Status": status, "SubmittedAt": change.submitted_at}
