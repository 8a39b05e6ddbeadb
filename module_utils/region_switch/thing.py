"""AWS IoT things."""

from __future__ import annotations

from typing import Any

from .aws import AwsClient
from .module import Result, changes


def ensure_thing(iot: AwsClient, parameters: dict[str, Any], check_mode: bool) -> Result:
    """Make the thing present with the given attributes among its own, or absent."""
    name = parameters["name"]
    current = iot.find("DescribeThing", thingName=name)
    before = _state(current) if current else {}
    if parameters["state"] == "absent":
        if current and not check_mode:
            iot.call("DeleteThing", thingName=name)
        return _result(name, None, before, {})
    given = {key: str(value) for key, value in (parameters["attributes"] or {}).items()}
    merged = {**before.get("attributes", {}), **given}
    after = {
        # AWS removes an attribute that is set to nothing
        # (https://docs.aws.amazon.com/iot/latest/developerguide/thing-registry.html).
        "attributes": {key: value for key, value in merged.items() if value},
        "thing_type": parameters["thing_type"] or before.get("thing_type"),
    }
    answer = current or {}
    if not check_mode and before != after:
        if current is None:
            answer = iot.call("CreateThing", thingName=name, **_request(after))
        else:
            iot.call("UpdateThing", thingName=name, **_request(changes(before, {**after, "attributes": given})))
    return _result(name, answer.get("thingArn"), before, after)


def _state(thing: dict[str, Any]) -> dict[str, Any]:
    return {"attributes": dict(thing.get("attributes", {})), "thing_type": thing.get("thingTypeName")}


def _request(state: dict[str, Any]) -> dict[str, Any]:
    request: dict[str, Any] = {}
    if state.get("attributes"):
        # Without merge AWS would drop the attributes that are not named here.
        request["attributePayload"] = {"attributes": state["attributes"], "merge": True}
    if state.get("thing_type"):
        request["thingTypeName"] = state["thing_type"]
    return request


def _result(name: str, arn: str | None, before: dict[str, Any], after: dict[str, Any]) -> Result:
    return {
        "changed": before != after,
        "name": name,
        "arn": arn,
        "attributes": after.get("attributes", {}),
        "diff": {"before": before, "after": after},
    }
