"""What IoT Core takes as a policy, and as the attributes of a thing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

# https://docs.aws.amazon.com/iot/latest/apireference/API_CreatePolicy.html: without white space.
POLICY_CHARACTERS = 2048
# https://docs.aws.amazon.com/general/latest/gr/iot-core.html: policies attached to a certificate.
POLICIES_OF_TARGET = 10
# https://docs.aws.amazon.com/iot/latest/developerguide/iot-policy-actions.html, and those of the data plane's
# operations on connections (https://docs.aws.amazon.com/iot/latest/developerguide/mqtt.html).
ACTIONS = (
    "iot:AssumeRoleWithCertificate", "iot:Connect", "iot:DeleteConnection", "iot:DeleteThingShadow",
    "iot:GetConnection", "iot:GetRetainedMessage", "iot:GetThingShadow", "iot:ListNamedShadowsForThing",
    "iot:ListRetainedMessages", "iot:ListSubscriptions", "iot:Publish", "iot:Receive", "iot:RetainPublish",
    "iot:SendDirectMessage", "iot:Subscribe", "iot:UpdateThingShadow", "iotjobsdata:DescribeJobExecution",
    "iotjobsdata:GetPendingJobExecutions", "iotjobsdata:StartNextPendingJobExecution",
    "iotjobsdata:UpdateJobExecution",
)  # fmt: skip
VERSIONS = ("2012-10-17", "2008-10-17")
# https://docs.aws.amazon.com/general/latest/gr/iot-core.html: attributes of a thing without, and with, a thing type.
ATTRIBUTES, ATTRIBUTES_OF_TYPE = 3, 50
ATTRIBUTES_BYTES = 47 * 1024
# https://docs.aws.amazon.com/iot/latest/apireference/API_AttributePayload.html
_NAME, _VALUE = re.compile(r"[a-zA-Z0-9_.,@/:#-]{1,128}"), re.compile(r"[a-zA-Z0-9_.,@/:#=\[\]-]{0,800}")
# https://docs.aws.amazon.com/iot/latest/apireference/API_CreateThing.html, API_CreatePolicy.html
_THING, _POLICY = re.compile(r"[a-zA-Z0-9:_-]{1,128}"), re.compile(r"[\w+=,.@-]{1,128}")


def thing_name_problem(name: str) -> str | None:
    """Return what is wrong with the name of a thing, or None."""
    return None if _THING.fullmatch(name) else f"thingName {name!r}: expected 1 to 128 letters, digits, and : _ -"


def policy_name_problem(name: str) -> str | None:
    """Return what is wrong with the name of a policy, or None."""
    return (
        None if _POLICY.fullmatch(name) else f"policyName {name!r}: expected 1 to 128 letters, digits, and + = , . @ -"
    )


def attributes_problem(attributes: Mapping[str, object], *, typed: bool) -> str | None:
    """Return what is wrong with a thing's attributes, or None; `typed`: the thing has a thing type."""
    for name, value in attributes.items():
        if not _NAME.fullmatch(name):
            return f"attribute name {name!r}: expected 1 to 128 letters, digits, and _ . , @ / : # -"
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            return f"value of attribute {name}: expected 800 letters, digits, and _ . , @ / : # = [ ] - at most"
    limit = ATTRIBUTES_OF_TYPE if typed else ATTRIBUTES
    if len(attributes) > limit:
        return f"{len(attributes)} attributes, expected {limit} at most {'with' if typed else 'without'} a thing type"
    if sum(len(name) + len(str(value)) for name, value in attributes.items()) > ATTRIBUTES_BYTES:
        return f"attributes: expected {ATTRIBUTES_BYTES} bytes at most"
    return None


def policy_problem(text: str) -> str | None:
    """Return what is wrong with a policy document, or None."""
    size = len("".join(text.split()))
    if not 1 <= size <= POLICY_CHARACTERS:
        return f"{size} characters without white space, expected 1 to {POLICY_CHARACTERS}"
    try:
        document = json.loads(text)
    except ValueError as error:
        return f"not JSON ({error})"
    if not isinstance(document, dict):
        return "not a JSON object"
    if document.get("Version") not in VERSIONS:
        return f"Version {document.get('Version')!r}: expected {VERSIONS[0]}"
    statements = document.get("Statement")
    statements = statements if isinstance(statements, list) else [statements]
    if not statements:
        return "no Statement"
    return next((problem for each in statements if (problem := _statement_problem(each))), None)


def _statement_problem(statement: object) -> str | None:
    if not isinstance(statement, dict):
        return "a Statement that is no object"
    if statement.get("Effect") not in ("Allow", "Deny"):
        return f"Effect {statement.get('Effect')!r}: expected Allow or Deny"
    actions = _texts(statement.get("Action"))
    if not actions or not _texts(statement.get("Resource")):
        return "a Statement without Action or Resource"
    for action in actions:
        if not any(fnmatchcase(known.lower(), action.lower()) for known in ACTIONS):
            return f"unknown Action {action!r}"
    return None


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str)] if all(isinstance(each, str) for each in values) else []


def listed(value: object) -> list[Any]:
    """Return a policy's element, which may be a list, one value or absent, as a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
