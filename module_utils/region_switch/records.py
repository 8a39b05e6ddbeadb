"""The CNAMEs of endpoints, made before the first move."""

from __future__ import annotations

from typing import Any

from .aws import AwsClient
from .module import Result
from .route53 import read_records, setup_changes, submit, wait_insync


def ensure_records(route53: AwsClient, parameters: dict[str, Any], check_mode: bool) -> Result:
    """Create missing CNAMEs and correct TTLs in one batch; never moves a name between regions."""
    zone, ttl = parameters["hosted_zone_id"], parameters["ttl"]
    wanted = {record["name"]: record["value"] for record in parameters["records"]}
    current = read_records(route53, zone, wanted)
    changes, after = setup_changes(current, wanted, parameters["keep_values"], ttl)
    if changes and not check_mode:
        change_id = submit(route53, zone, changes, current, after, "Create the CNAMEs of endpoints")
        if change_id:
            wait_insync(route53, change_id, parameters["timeout"])
    before = {name: {"value": record.value, "ttl": record.ttl} for name, record in current.items() if record}
    diff = {"before": before, "after": {name: {"value": value, "ttl": ttl} for name, value in after.items()}}
    return {"changed": bool(changes), "records": after, "diff": diff}
