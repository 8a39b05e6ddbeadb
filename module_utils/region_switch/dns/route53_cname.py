"""The DNS method `route53_cname`: one simple CNAME per endpoint, all changed in one batch of a hosted zone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..aws.clients import Aws
from ..aws.paced import retried
from ..model.cname import Record
from ..model.errors import AwsError, RecordsChangedError
from ..model.findings import Finding
from ..model.names import plain
from . import route53, route53_checks
from .method import Change, Clock, Sleep, UnusableRecordError, Zone

# Of reads that a switch depends on: 10 seconds, in addition to botocore's own attempts.
READ_ATTEMPTS = 5

# The fields of a record set without a routing policy, alias or traffic policy
# (https://docs.aws.amazon.com/Route53/latest/APIReference/API_ResourceRecordSet.html).
_SIMPLE = {"Name", "Type", "TTL", "ResourceRecords", "HealthCheckId"}


class Route53Cname:
    """The CNAMEs of a hosted zone. A raw record is a ResourceRecordSet; the ID of a change is the one for GetChange."""

    needs = ("Route 53's control plane (us-east-1)",)
    # A batch has at most 1,000 values, and each replaced record has two changes of one value
    # (https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DNSLimitations.html#limits-api-requests-changeresourcerecordsets);
    # 32,000 characters of values, of which a host name of an endpoint has 63 at most.
    max_records = 250

    def __init__(self, aws: Aws, hosted_zone_id: str, clock: Clock = time.monotonic, sleep: Sleep = time.sleep) -> None:
        self._aws, self._id = aws, hosted_zone_id
        self._clock, self._sleep = clock, sleep

    def read(self, names: Iterable[str], patiently: bool = False) -> dict[str, Record | None]:
        wanted = list(names)
        return retried(
            lambda: {name: self._read(name) for name in wanted},
            lambda error: READ_ATTEMPTS if patiently and error.temporary else 1,
            self._sleep,
        )

    def _read(self, name: str) -> Record | None:
        found = route53.record_sets_of(self._aws.route53, self._id, name)
        if not found:
            return None
        record = self.kept(found[0]) if len(found) == 1 else None
        if record is None:
            raise _unusable(name, {str(each.get("Type")) for each in found}, len(found))
        return record

    def kept(self, raw: Mapping[str, Any]) -> Record | None:
        match raw:
            case {"Name": str(name), "Type": "CNAME", "TTL": int(ttl), "ResourceRecords": [{"Value": str(value)}]}:
                return Record(plain(name), plain(value), ttl, raw) if raw.keys() <= _SIMPLE else None
        return None

    def record(self, name: str, value: str, ttl: int, read: Record | None = None) -> Record:
        # Keep the record's other settings, such as a health check.
        raw = {**(read.raw if read else {}), **record_set(name, value, ttl)}
        return Record(plain(name), plain(value), ttl, raw)

    def swap(self, changes: Sequence[Change], comment: str, or_others: bool = False) -> str | None:
        """One batch is all or none, and its DELETE fails unless every value matches
        (https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html)."""
        batch = [part for change in changes for part in _parts(change)]
        # A repeated batch would hide whether the change is the caller's own.
        client = self._aws.route53 if or_others else self._aws.route53_writer
        try:
            return route53.change(client, self._id, batch, comment, self._sleep)
        except AwsError as error:
            # A request without an answer may have been carried out; its repetition then fails.
            if error.code != "InvalidChangeBatch" and not error.uncertain:
                raise
            self._verify(changes, error, or_others)
            return None

    def _verify(self, changes: Sequence[Change], error: AwsError, or_others: bool) -> None:
        """Read the records after a batch that was refused or not answered; return if they are as wanted."""
        found = self.read([change.after.name for change in changes], patiently=True)
        # Whole records are compared: a batch may change TTLs only.
        wrong = [change for change in changes if found[change.after.name] != change.after]
        # A refused batch was not carried out: if the records are as wanted, somebody else wrote them.
        if not wrong and (or_others or error.code != "InvalidChangeBatch"):
            return
        changed = [change.after.name for change in changes if _raw(found[change.after.name]) != _raw(change.before)]
        if error.code != "InvalidChangeBatch" or not changed:
            raise error
        shown = ", ".join(f"{name} = {_shown(found[name])}" for name in changed)
        raise RecordsChangedError(
            f"records changed by someone else since they were read: found {shown}; expected them unchanged, nothing "
            "was overwritten: find out who moves them, then run again",
            {name: record.value if record else None for name, record in found.items()},
        ) from error

    def wait(self, change: str, timeout: float, look: Callable[[], None] = lambda: None) -> None:
        route53.wait_insync(self._aws.route53, change, timeout, self._clock, self._sleep, look)

    def zone(self, names: Iterable[str]) -> Zone:
        return route53.read_zone(self._aws.route53, self._id, names)

    def checks(self, records: Sequence[Record]) -> Mapping[str, Callable[[], list[Finding]]]:
        return route53_checks.checks(self._aws, self._id, records)


def _unusable(name: str, kinds: set[str], count: int) -> UnusableRecordError:
    shown = ", ".join(sorted(kinds))
    if "SOA" in kinds:
        what = f"the apex of the hosted zone ({shown}), where no CNAME is allowed"
        advice = "use a name below it as the endpoint"
    elif "NS" in kinds:
        what = f"{shown}, which delegates the name to other name servers"
        advice = f"name the zone of {name} in hosted_zone_id, or use another endpoint"
    elif "CNAME" in kinds:
        what = f"{count} record set(s) of type {shown} with alias, policy or several values"
        advice = "replace it by hand, then run again"
    else:
        what = f"{count} record set(s) of type {shown}"
        advice = "delete them if nothing needs them, and run setup.yml, or use another endpoint"
    return UnusableRecordError(name, what, "one simple CNAME", advice)


def record_set(name: str, value: str, ttl: int) -> dict[str, Any]:
    """A simple CNAME as ChangeResourceRecordSets takes it; `ttl` in seconds."""
    return {"Name": f"{plain(name)}.", "Type": "CNAME", "TTL": ttl, "ResourceRecords": [{"Value": plain(value)}]}


def _parts(change: Change) -> list[dict[str, Any]]:
    """The parts of a batch that fails if the record is no longer what was read, or exists now."""
    parts = [{"Action": "DELETE", "ResourceRecordSet": dict(change.before.raw)}] if change.before else []
    return [*parts, {"Action": "CREATE", "ResourceRecordSet": dict(change.after.raw)}]


def _shown(record: Record | None) -> str:
    return f"{record.value} (TTL {record.ttl})" if record else "no record"


def _raw(record: Record | None) -> Mapping[str, Any] | None:
    return record.raw if record else None
