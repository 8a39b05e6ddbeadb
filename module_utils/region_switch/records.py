"""The CNAMEs of endpoints, made before the first move."""

from __future__ import annotations

from typing import Any

from . import dns_gate, hosted_zone
from .aws import Aws, describe_data_endpoint
from .errors import RefusedError
from .findings import in_force
from .inventory import check
from .modes import desired
from .module import Result
from .route53 import read_records, setup_changes, submit, wait_insync


def ensure_records(parameters: dict[str, Any], check_mode: bool) -> Result:
    """Create missing CNAMEs and correct TTLs in one batch; never moves a name between regions.

    Args:
        parameters: the options of the module route53_endpoint_records, as its documentation describes them.

    Returns:
        `{"changed", "records": {name: target}, "diff"}`.

    Raises:
        RefusedError: the inventory is wrong, or a record points at none of its regions.
        AwsError: AWS refused, or did not answer.
    """
    zone, ttl = parameters["hosted_zone_id"], parameters["ttl"]
    modes = check(parameters["modes"], parameters["endpoints"], parameters["regions"], record_ttl=ttl)
    _, regions = desired(modes, parameters["mode"])
    aws = Aws(parameters["regions"])
    targets = {region: describe_data_endpoint(aws.iot[region]) for region in aws.regions}
    wanted = {name: targets[region] for name, region in regions.items()}
    _refuse_unasked(aws, parameters, list(wanted))
    current = read_records(aws.route53, zone, wanted)
    changes, after = setup_changes(current, wanted, targets.values(), ttl)
    if changes and not check_mode:
        change_id = submit(aws.route53, zone, changes, current, after, "Create the CNAMEs of endpoints", or_others=True)
        if change_id:
            wait_insync(aws.route53, change_id, parameters["timeout"])
    before = {name: {"value": record.value, "ttl": record.ttl} for name, record in current.items() if record}
    diff = {"before": before, "after": {name: {"value": value, "ttl": ttl} for name, value in after.items()}}
    return {"changed": bool(changes), "records": after, "diff": diff}


def _refuse_unasked(aws: Aws, parameters: dict[str, Any], endpoints: list[str]) -> None:
    """Return where the zone is one that devices' resolvers ask, as far as is known.

    Raises:
        RefusedError: it is private, another zone of its name is delegated, or an endpoint is below a delegation.
    """
    zone = hosted_zone.read(aws.route53, parameters["hosted_zone_id"], endpoints)
    resolvers = parameters["resolvers"]
    servers = [] if resolvers is None else dns_gate.servers((), resolvers)
    found = hosted_zone.check(zone, servers, named=True)
    if reasons := in_force(found, parameters["waive"]):
        raise RefusedError("; ".join(finding.line() for finding in reasons))
