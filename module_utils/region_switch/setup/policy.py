"""AWS IoT policies: the default version is the wanted document."""

from __future__ import annotations

import json
from typing import Any

from ..aws.clients import AwsClient
from ..model.errors import RefusedError
from ..module import Result, changed

# https://docs.aws.amazon.com/general/latest/gr/iot-core.html: versions per policy.
MAX_VERSIONS = 5
# Without white space: https://docs.aws.amazon.com/iot/latest/apireference/API_CreatePolicy.html.
MAX_CHARACTERS = 2048


def ensure_policy(iot: AwsClient, parameters: dict[str, Any], check_mode: bool) -> Result:
    """Make the policy present with the document as its default version, or absent."""
    name = parameters["name"]
    current = iot.find("GetPolicy", policyName=name)
    before = json.loads(current["policyDocument"]) if current else None
    if parameters["state"] == "absent":
        if current and not check_mode:
            _delete(iot, name)
        return changed(before or {}, {}, name=name, arn=None)
    wanted = parse_document(name, parameters["document"])
    answer = current or {}
    if before != wanted and not check_mode:
        text = json.dumps(wanted)
        if current is None:
            answer = iot.call("CreatePolicy", policyName=name, policyDocument=text)
        else:
            _make_room(iot, name)
            answer = iot.call("CreatePolicyVersion", policyName=name, policyDocument=text, setAsDefault=True)
    return changed(before or {}, wanted, name=name, arn=answer.get("policyArn"))


def parse_document(name: str, document: object) -> dict[str, Any]:
    """Return the policy document as a dict; it is given as a dict or as JSON text.

    Raises:
        RefusedError: it is no JSON object, or longer than AWS allows.
    """
    try:
        parsed = json.loads(document) if isinstance(document, str) else document
    except ValueError as error:
        raise RefusedError(f"policy {name}: the document is invalid JSON ({error}): correct it") from error
    if not isinstance(parsed, dict):
        raise RefusedError(
            f"policy {name}: found {type(parsed).__name__}, expected a policy document (dict): correct it"
        )
    if (size := len("".join(json.dumps(parsed).split()))) > MAX_CHARACTERS:
        raise RefusedError(
            f"policy {name}: found {size} characters without white space, expected {MAX_CHARACTERS} at most: shorten it"
        )
    return parsed


def _versions(iot: AwsClient, name: str) -> list[dict[str, Any]]:
    """The versions that are not the default, oldest first."""
    versions = iot.call("ListPolicyVersions", policyName=name)["policyVersions"]
    return sorted(
        (version for version in versions if not version["isDefaultVersion"]),
        key=lambda version: int(version["versionId"]),
    )


def _make_room(iot: AwsClient, name: str) -> None:
    others = _versions(iot, name)
    if len(others) + 1 >= MAX_VERSIONS:
        iot.call("DeletePolicyVersion", policyName=name, policyVersionId=others[0]["versionId"])


def _delete(iot: AwsClient, name: str) -> None:
    for version in _versions(iot, name):
        iot.call("DeletePolicyVersion", policyName=name, policyVersionId=version["versionId"])
    iot.call("DeletePolicy", policyName=name)
