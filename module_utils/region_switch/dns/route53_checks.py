"""Check that Route 53 would accept a change of the records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from ..aws.clients import Aws
from ..aws.refusals import denied
from ..model.cname import Record
from ..model.errors import SwitchError
from ..model.findings import Finding
from ..model.names import plain


def checks(aws: Aws, zone: str, records: Sequence[Record]) -> Mapping[str, Callable[[], list[Finding]]]:
    """`DnsMethod.checks` for CNAMEs of a hosted zone."""
    return {
        "record_protection": partial(_protections, aws, zone, {record.name for record in records}),
        "permission": partial(_may_change, aws, zone, records),
    }


def _may_change(aws: Aws, zone: str, records: Sequence[Record]) -> list[Finding]:
    """Send a batch that creates records that exist: Route 53 refuses it, and it would change nothing otherwise."""
    sets = [dict(record.raw) for record in records]
    changes = [{"Action": action, "ResourceRecordSet": each} for each in sets for action in ("CREATE", "DELETE")]
    batch, writer = {"Comment": "permission check", "Changes": changes}, aws.route53_writer
    return denied("", lambda: writer.call("ChangeResourceRecordSets", HostedZoneId=zone, ChangeBatch=batch))


def _protections(aws: Aws, zone: str, names: Collection[str]) -> list[Finding]:
    items, cursor = "ResourceRecordSetProtections", ("NextToken", "NextToken")
    try:
        pages = aws.route53.pages("ListResourceRecordSetProtections", items, cursor, HostedZoneId=zone)
        protected = [each for each in pages if each["RecordType"] == "CNAME" and plain(each["RecordName"]) in names]
    except SwitchError as error:
        # Not blocking: few zones have protected records.
        found = f"protected records could not be listed ({error})"
        return [Finding("record_protection", False, "", "", found, "", "check in Route 53 that no endpoint has one")]
    return [_protected(plain(each["RecordName"]), each.get("Comment") or "no comment") for each in protected]


def _protected(name: str, comment: str) -> Finding:
    advice = "remove the protection (DeleteResourceRecordSetProtections) for the move"
    return Finding("record_protection", True, "", name, f"the record is protected ({comment})", "", advice)
