"""Which certificates a region admits: those whose policies let their client connect there.

Source: AWS IoT developer guide, "AWS IoT Core policies" and "Thing policy variables". HAProxy sees the certificate and
not the client ID, so a certificate is admitted when there is any client ID that it may connect as.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

CONNECT = "iot:Connect"
_THING_VARIABLE = "${iot:Connection.Thing."
_VARIABLE = re.compile(r"\$\{[^}]*\}")


def may_connect(documents: Iterable[Mapping[str, Any]], clients: str, things: Sequence[str]) -> bool:
    """Say whether policies let a certificate connect as some client.

    Args:
        documents: the default versions of the policies that are attached to the certificate.
        clients: ARN prefix of the region's clients, `arn:aws:iot:REGION:ACCOUNT:client/`.
        things: names of the things that the certificate is attached to.
    """
    statements = [statement for document in documents for statement in _list(document.get("Statement"))]
    allowed = any(each.get("Effect") == "Allow" and _concerns(each, clients, things) for each in statements)
    return allowed and not any(each.get("Effect") == "Deny" and _concerns(each, clients, things) for each in statements)


def _concerns(statement: Mapping[str, Any], clients: str, things: Sequence[str]) -> bool:
    if not any(fnmatchcase(CONNECT.lower(), str(action).lower()) for action in _list(statement.get("Action"))):
        return False
    attached = statement.get("Condition", {}).get("Bool", {}).get("iot:Connection.Thing.IsAttached")
    if attached is not None and str(attached).lower() != str(bool(things)).lower():
        return False
    resources = [str(resource) for resource in _list(statement.get("Resource"))]
    return any(_reaches(resource, clients, things, every=statement.get("Effect") == "Deny") for resource in resources)


def _reaches(resource: str, clients: str, things: Sequence[str], *, every: bool) -> bool:
    """Say whether a resource is some client of the region or, where `every`, whether it is each of them."""
    if _THING_VARIABLE in resource and not things:
        return False
    # fnmatch takes [ for the beginning of a set, IAM for itself.
    pattern = _VARIABLE.sub("*", resource).replace("[", "[[]")
    head, separator, client = pattern.partition(":client/")
    if not separator:
        return fnmatchcase(clients, pattern)
    return fnmatchcase(clients, f"{head}{separator}") and (client == "*" or not every)


def _list(value: object) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
