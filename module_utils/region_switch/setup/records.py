"""The CNAMEs of endpoints, created before the first move."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..aws.clients import Aws, describe_data_endpoint
from ..dns import hosted_zone, methods
from ..dns.method import Change, DnsMethod
from ..model.cname import Record
from ..model.errors import RefusedError
from ..model.inventory import check
from ..model.modes import desired
from ..model.names import plain
from ..module import Result


def ensure_records(parameters: dict[str, Any], check_mode: bool) -> Result:
    """Create missing CNAMEs and correct TTLs in one batch; never moves a name between regions.

    Args:
        parameters: the options of the module route53_endpoint_records.

    Returns:
        `{"changed", "records": {name: target}, "diff"}`.

    Raises:
        RefusedError: the inventory is wrong, resolvers do not use the zone, or a record points at none of its regions.
        AwsError: AWS refused, or did not answer.
    """
    ttl = parameters["ttl"]
    modes = check(parameters["modes"], parameters["endpoints"], parameters["regions"], record_ttl=ttl)
    _, regions = desired(modes, parameters["mode"])
    aws = Aws(parameters["regions"])
    dns = methods.method(aws, parameters["hosted_zone_id"])
    data_endpoints = {region: describe_data_endpoint(aws.iot[region]) for region in aws.regions}
    wanted = {name: data_endpoints[region] for name, region in regions.items()}
    hosted_zone.refuse_unasked(dns.zone(wanted), parameters["resolvers"], parameters["waive"])
    current = dns.read(wanted)
    changes, after = setup_changes(dns, current, wanted, data_endpoints.values(), ttl)
    if changes and not check_mode:
        change_id = dns.swap(changes, "Create the CNAMEs of endpoints", or_others=True)
        if change_id:
            dns.wait(change_id, parameters["timeout"])
    before = {name: {"value": record.value, "ttl": record.ttl} for name, record in current.items() if record}
    diff = {"before": before, "after": {name: {"value": value, "ttl": ttl} for name, value in after.items()}}
    return {"changed": bool(changes), "records": after, "diff": diff}


def setup_changes(
    dns: DnsMethod, records: Mapping[str, Record | None], wanted: Mapping[str, str], keep: Collection[str], ttl: int
) -> tuple[list[Change], dict[str, str]]:
    """Return the changes that create what is missing and correct TTLs, and `{name: host}` after them.

    A record that points at one of `keep` stays there: moving it is a failover's business.

    Args:
        wanted: `{name: host}` for those that have no record.
        ttl: in seconds.

    Raises:
        RefusedError: a record that points anywhere else.
    """
    kept = {plain(host) for host in keep}
    changes: list[Change] = []
    hosts: dict[str, str] = {}
    for name, host in wanted.items():
        record = records[name]
        if record and record.value not in kept | {plain(host)}:
            raise RefusedError(
                f"record {name}: found {record.value}, expected {plain(host)} or another region's endpoint "
                f"({', '.join(sorted(kept)) or 'none known'}): delete it if it may go, then run again"
            )
        hosts[name] = record.value if record else plain(host)
        if record is None or record.ttl != ttl:
            changes.append(Change(record, dns.record(name, hosts[name], ttl, record)))
    return changes, hosts
