"""The CNAMEs of endpoints, made before the first move."""

from __future__ import annotations

from typing import Any

from ..aws.clients import Aws, describe_data_endpoint
from ..dns import hosted_zone
from ..dns.route53 import read_records, setup_changes, submit, wait_insync
from ..model.inventory import check
from ..model.modes import desired
from ..module import Result


def ensure_records(parameters: dict[str, Any], check_mode: bool) -> Result:
    """Create missing CNAMEs and correct TTLs in one batch; never moves a name between regions.

    Args:
        parameters: the options of the module route53_endpoint_records, as its documentation describes them.

    Returns:
        `{"changed", "records": {name: target}, "diff"}`.

    Raises:
        RefusedError: the inventory is wrong, resolvers do not ask the zone, or a record points at none of its regions.
        AwsError: AWS refused, or did not answer.
    """
    zone, ttl = parameters["hosted_zone_id"], parameters["ttl"]
    modes = check(parameters["modes"], parameters["endpoints"], parameters["regions"], record_ttl=ttl)
    _, regions = desired(modes, parameters["mode"])
    aws = Aws(parameters["regions"])
    targets = {region: describe_data_endpoint(aws.iot[region]) for region in aws.regions}
    wanted = {name: targets[region] for name, region in regions.items()}
    found = hosted_zone.read(aws.route53, zone, wanted)
    hosted_zone.refuse_unasked(found, parameters["resolvers"], parameters["waive"])
    current = read_records(aws.route53, zone, wanted)
    changes, after = setup_changes(current, wanted, targets.values(), ttl)
    if changes and not check_mode:
        change_id = submit(aws.route53, zone, changes, current, after, "Create the CNAMEs of endpoints", or_others=True)
        if change_id:
            wait_insync(aws.route53, change_id, parameters["timeout"])
    before = {name: {"value": record.value, "ttl": record.ttl} for name, record in current.items() if record}
    diff = {"before": before, "after": {name: {"value": value, "ttl": ttl} for name, value in after.items()}}
    return {"changed": bool(changes), "records": after, "diff": diff}
