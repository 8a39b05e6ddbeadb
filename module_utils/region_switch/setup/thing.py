"""AWS IoT things."""

from __future__ import annotations

import re
from typing import Any

from ..aws.clients import AwsClient
from ..model.errors import RefusedError, one_line
from ..module import Result, changed, changes

# Of a thing without, and with, a thing type (https://docs.aws.amazon.com/general/latest/gr/iot-core.html).
ATTRIBUTES, ATTRIBUTES_OF_TYPE = 3, 50
# https://docs.aws.amazon.com/iot/latest/apireference/API_AttributePayload.html
_NAME, _VALUE = re.compile(r"[a-zA-Z0-9_.,@/:#-]{1,128}"), re.compile(r"[a-zA-Z0-9_.,@/:#=\[\]-]{0,800}")


def ensure_thing(iot: AwsClient, parameters: dict[str, Any], check_mode: bool) -> Result:
    """Make the thing present with the given attributes beside its others, or absent.

    Raises:
        RefusedError: AWS does not accept the attributes; nothing is written.
    """
    name = parameters["name"]
    current = iot.find("DescribeThing", thingName=name)
    before = _state(current) if current else {}
    if parameters["state"] == "absent":
        if current and not check_mode:
            iot.call("DeleteThing", thingName=name)
        return changed(before, {}, name=name, arn=None, attributes={})
    given = {key: str(value) for key, value in (parameters["attributes"] or {}).items()}
    merged = {**before.get("attributes", {}), **given}
    after: dict[str, Any] = {
        # AWS removes an attribute with an empty value
        # (https://docs.aws.amazon.com/iot/latest/developerguide/thing-registry.html).
        "attributes": {key: value for key, value in merged.items() if value},
        "thing_type": parameters["thing_type"] or before.get("thing_type"),
    }
    if before != after:
        _refuse_attributes(name, after["attributes"], typed=bool(after["thing_type"]))
    answer = current or {}
    if not check_mode and before != after:
        if current is None:
            answer = iot.call("CreateThing", thingName=name, **_request(after))
        else:
            difference = changes(before, {**after, "attributes": given})
            iot.call("UpdateThing", thingName=name, **_request(difference, merge=True))
    return changed(before, after, name=name, arn=answer.get("thingArn"), attributes=after["attributes"])


def _state(thing: dict[str, Any]) -> dict[str, Any]:
    return {"attributes": dict(thing.get("attributes", {})), "thing_type": thing.get("thingTypeName")}


def _refuse_attributes(name: str, attributes: dict[str, str], *, typed: bool) -> None:
    for key, value in attributes.items():
        if not _NAME.fullmatch(key) or not _VALUE.fullmatch(value):
            raise RefusedError(
                f"thing {name}: found attribute {one_line(key)} = {one_line(value)}, expected a name of 1 to 128 and a "
                "value of up to 800 letters, digits, and _ . , @ / : # - (in values also = [ ]): correct it"
            )
    limit = ATTRIBUTES_OF_TYPE if typed else ATTRIBUTES
    if len(attributes) > limit:
        raise RefusedError(
            f"thing {name}: found {len(attributes)} attributes ({', '.join(sorted(attributes))}), expected "
            f"{limit} at most {'with' if typed else 'without'} a thing type: "
            f"remove one{'' if typed else ', or give the thing a type'}"
        )


def _request(state: dict[str, Any], *, merge: bool = False) -> dict[str, Any]:
    request: dict[str, Any] = {}
    if state.get("attributes"):
        # Without merge AWS would remove the attributes that are not named here. Only UpdateThing accepts it
        # (https://docs.aws.amazon.com/iot/latest/apireference/API_AttributePayload.html).
        request["attributePayload"] = {"attributes": state["attributes"], **({"merge": True} if merge else {})}
    if state.get("thing_type"):
        request["thingTypeName"] = state["thing_type"]
    return request
