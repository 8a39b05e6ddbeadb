"""Which action and resources a request needs to be allowed.

Source: Service Authorization Reference, "Actions, resources, and condition keys" for AWS IoT, Amazon Route 53, AWS
Certificate Manager and Service Quotas. An action without a resource type is evaluated on `*`, and so is one that this
table does not know, which only a policy for every resource allows. `AttachThingPrincipal` and `ListPrincipalThings` had
no resource type and now have an optional one, the certificate: `*` is what holds under both.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import botocore.session

INDEX = "AWS_Things"
# botocore's services by IAM's prefix, where it is another.
PREFIXES = {"iot-data": "iot", "service-quotas": "servicequotas"}
# Asked without permission, and even against a Deny: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
NEEDS_NOTHING = {("sts", "GetCallerIdentity")}


@dataclass(frozen=True)
class Needed:
    """What has to be allowed.

    Attributes:
        resources: each of them; `*` of an action without a resource type.
        context: condition keys of the request.
    """

    action: str
    resources: tuple[str, ...]
    context: Mapping[str, tuple[str, ...]]


def _iot(kind: str, parameter: str) -> Callable[[Mapping[str, Any]], list[str]]:
    return lambda given: [f"{kind}/{given.get(parameter, '')}"]


def _thing_and_group(given: Mapping[str, Any]) -> list[str]:
    group = given.get("billingGroupName")
    return [f"thing/{given.get('thingName', '')}", *([f"billinggroup/{group}"] if group else [])]


_DOMAIN = _iot("domainconfiguration", "domainConfigurationName")
# Of IoT: the parts of ARNs that come after the account.
_IOT: dict[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "AttachPolicy": lambda given: [str(given.get("target", "")).split(":", 5)[-1]],
    "CreateDomainConfiguration": _DOMAIN,
    "CreatePolicy": _iot("policy", "policyName"),
    "CreatePolicyVersion": _iot("policy", "policyName"),
    "CreateThing": _thing_and_group,
    "DeleteConnection": _iot("client", "clientId"),
    "DeletePolicyVersion": _iot("policy", "policyName"),
    "DescribeCertificate": _iot("cert", "certificateId"),
    "DescribeDomainConfiguration": _DOMAIN,
    "DescribeIndex": _iot("index", "indexName"),
    "DescribeThing": _iot("thing", "thingName"),
    "GetConnection": _iot("client", "clientId"),
    "GetPolicy": _iot("policy", "policyName"),
    "GetStatistics": lambda given: [f"index/{given.get('indexName') or INDEX}"],
    "ListPolicyVersions": _iot("policy", "policyName"),
    "ListTargetsForPolicy": _iot("policy", "policyName"),
    "ListThingPrincipals": _iot("thing", "thingName"),
    "SearchIndex": lambda given: [f"index/{given.get('indexName') or INDEX}"],
    "UpdateCertificate": _iot("cert", "certificateId"),
    "UpdateDomainConfiguration": _DOMAIN,
    "UpdateThing": _iot("thing", "thingName"),
}
_ACM = (
    *("AddTagsToCertificate", "DescribeCertificate", "GetCertificate", "ImportCertificate", "ListTagsForCertificate"),
)
_ZONE = (*("ChangeResourceRecordSets", "GetHostedZone", "ListResourceRecordSets", "ListResourceRecordSetProtections"),)


def needed(service: str, operation: str, region: str, account: str, target: str, body: bytes) -> list[Needed]:
    """Return what a request needs to be allowed, each of it.

    Args:
        service: botocore's name.
        target: path and query, percent-encoded.
    """
    if (service, operation) in NEEDS_NOTHING:
        return []
    given = _given(service, operation, target, body)
    context = {"aws:RequestedRegion": (region,), "aws:PrincipalAccount": (account,), **_context(operation, given, body)}
    resources = _resources(service, operation, region, account, given)
    prefix = PREFIXES.get(service, service)
    # Tags that come with an import are a tagging, too.
    also = ["AddTagsToCertificate"] if (service, operation) == ("acm", "ImportCertificate") and "Tags" in given else []
    return [Needed(f"{prefix}:{each}", resources, context) for each in (operation, *also)]


def _resources(service: str, operation: str, region: str, account: str, given: Mapping[str, Any]) -> tuple[str, ...]:
    if service in ("iot", "iot-data") and operation in _IOT:
        prefix = f"arn:aws:iot:{region}:{account}:"
        # The ID at the end of a domain configuration's ARN is AWS's to choose.
        ending = "/lab" if _IOT[operation] is _DOMAIN else ""
        return tuple(f"{prefix}{name}{ending}" for name in _IOT[operation](given))
    if service == "acm" and operation in _ACM:
        # A certificate that is imported for the first time has no ARN yet.
        return (given.get("CertificateArn") or f"arn:aws:acm:{region}:{account}:certificate/*",)
    if service == "route53" and operation in _ZONE:
        return (f"arn:aws:route53:::hostedzone/{given.get('Id', given.get('HostedZoneId', ''))}",)
    if service == "route53" and operation == "GetChange":
        return (f"arn:aws:route53:::change/{given.get('Id', '')}",)
    return ("*",)


def _given(service: str, operation: str, target: str, body: bytes) -> dict[str, Any]:
    """The parameters in a request's path, and those of a JSON body."""
    expression = _path(service, operation)
    found = expression.fullmatch(target.partition("?")[0]) if expression else None
    given: dict[str, Any] = {name: unquote(value) for name, value in (found.groupdict() if found else {}).items()}
    if body[:1] == b"{":
        try:
            given |= json.loads(body)
        except json.JSONDecodeError:
            return given
    return given


@functools.cache
def _path(service: str, operation: str) -> re.Pattern[str] | None:
    """An operation's path, whose parameters are groups."""
    model = botocore.session.get_session().get_service_model(service)
    if operation not in model.operation_names:
        return None
    template = model.operation_model(operation).http["requestUri"].partition("?")[0].rstrip("/")
    parts = re.split(r"\{(\w+)\+?\}", template)
    # Every other part is a parameter's name.
    expression = "".join(f"(?P<{part}>[^/]+)" if number % 2 else re.escape(part) for number, part in enumerate(parts))
    return re.compile(f"{expression}/?")


def _context(operation: str, given: Mapping[str, Any], body: bytes) -> dict[str, tuple[str, ...]]:
    if operation == "ChangeResourceRecordSets":
        return _changes(body)
    if operation == "CreateDomainConfiguration" and given.get("domainName"):
        return {"iot:DomainName": (str(given["domainName"]),)}
    if tags := given.get("Tags"):
        values = {f"aws:RequestTag/{tag['Key']}": (str(tag.get("Value", "")),) for tag in tags}
        return {**values, "aws:TagKeys": tuple(str(tag["Key"]) for tag in tags)}
    return {}


def _changes(body: bytes) -> dict[str, tuple[str, ...]]:
    """The condition keys of a batch of changes.

    Source: https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/specifying-conditions-route53.html
    """
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - the lab's own callers
    except ElementTree.ParseError:
        return {}
    changes = root.findall(".//{*}Change")
    return {
        "route53:ChangeResourceRecordSetsNormalizedRecordNames": tuple(
            (each.findtext(".//{*}ResourceRecordSet/{*}Name") or "").lower().rstrip(".") for each in changes
        ),
        "route53:ChangeResourceRecordSetsRecordTypes": tuple(
            each.findtext(".//{*}ResourceRecordSet/{*}Type") or "" for each in changes
        ),
        "route53:ChangeResourceRecordSetsActions": tuple(each.findtext("{*}Action") or "" for each in changes),
    }
