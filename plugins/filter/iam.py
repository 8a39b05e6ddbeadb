"""IAM policies for one inventory, made from those in docs/."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

# A move tests its permission by disconnecting a client with such a name, which no client has
# (module_utils/region_switch/checks/probe.py).
PROBE = "region-switch-probe-*"
# Placeholders of docs/iam-*.json for an account's own values.
_ACCOUNT, _ZONE = "123456789012", "ZXXXXXXXXXXXXX"
# Clients, and the things of the registry, whose names are client IDs.
_EVERY_CLIENT, _EVERY_THING = ":client/*", ":thing/*"
_POLICIES = {":policy/mqtt-fleet-device": "device_policy", ":policy/mqtt-fleet-monitor": "monitor_policy"}
# The pattern of each setting, and the error for another value.
_FORMS = {
    "account": (r"\d{12}", "an account ID of twelve digits, as AWS returns it", "log in"),
    "partition": (r"aws(-[a-z-]+)?", "a partition such as aws, as AWS returns it", "log in"),
    "hosted_zone_id": (
        rf"(/hostedzone/)?(?!{_ZONE}$)Z[A-Z0-9]+",
        "the ID of your hosted zone",
        "set it in the inventory",
    ),
}
# Characters of a customer managed policy; white space does not count.
# Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
_MOST = 6144
_RECORDS = "route53:ChangeResourceRecordSetsNormalizedRecordNames"


def iam_policy(document: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a policy of docs/ for one account, hosted zone, and set of names.

    Args:
        document: the policy, as in docs/.
        settings: `account`; `partition` (`aws`); `hosted_zone_id`; `endpoints`; `client_ids`: patterns of the client
            IDs that may be set up and disconnected, with IAM's wildcards `*` and `?`; `clients`: those of the
            inventory; `device_policy`, `monitor_policy`: names.

    Raises:
        AnsibleFilterError: a setting that is still a placeholder, a pattern that cannot be one, a client that none of
            them matches, or more text than IAM allows.
    """
    for name, (form, expected, advice) in _FORMS.items():
        if not re.fullmatch(form, str(settings[name])):
            raise AnsibleFilterError(
                f"iam_policies_{name}: found {str(settings[name])!r}, expected {expected}: {advice}"
            )
    _check(settings["client_ids"], [client["client_id"] for client in settings["clients"]])
    made = {**document, "Statement": [_statement(each, settings) for each in document["Statement"]]}
    if (length := len("".join(json.dumps(made).split()))) > _MOST:
        raise AnsibleFilterError(
            f"iam_policies: found a policy of {length} characters, expected {_MOST} at most, IAM's limit: "
            "use fewer patterns in iam_policies_client_ids, or divide the endpoints among inventories"
        )
    return made


def _check(patterns: object, client_ids: Iterable[str]) -> None:
    if not isinstance(patterns, list) or not patterns or not all(isinstance(each, str) and each for each in patterns):
        raise AnsibleFilterError(
            f"iam_policies_client_ids: found {patterns!r}, expected a list of patterns such as device-*, in quotes: "
            "correct it"
        )
    expressions = [re.compile(_expression(pattern)) for pattern in patterns]
    missed = [each for each in client_ids if not any(expression.fullmatch(each) for expression in expressions)]
    if missed:
        more = f" and {len(missed) - 1} more" if len(missed) > 1 else ""
        raise AnsibleFilterError(
            f"iam_policies_client_ids: found no pattern for {missed[0]}{more}, expected one for every client of the "
            "inventory, which could be neither set up nor disconnected otherwise: add it"
        )


def _expression(pattern: str) -> str:
    """The regular expression of an IAM pattern, in which only `*` and `?` are special.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
    """
    return "".join({"*": ".*", "?": "."}.get(each, re.escape(each)) for each in pattern)


def _statement(statement: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(statement)
    listed = found["Resource"] if isinstance(found["Resource"], list) else [found["Resource"]]
    resources = [resource for each in listed for resource in _resources(each, settings)]
    found["Resource"] = resources if len(resources) > 1 else resources[0]
    if "Condition" in found:
        found["Condition"] = {
            operator: {key: _names(settings["endpoints"]) if key == _RECORDS else value for key, value in keys.items()}
            for operator, keys in found["Condition"].items()
        }
    return found


def _resources(resource: str, settings: Mapping[str, Any]) -> list[str]:
    own = resource.replace("arn:aws:", f"arn:{settings['partition']}:").replace(_ACCOUNT, settings["account"])
    own = own.replace(_ZONE, str(settings["hosted_zone_id"]).rpartition("/")[2])
    for ending, name in _POLICIES.items():
        if own.endswith(ending):
            return [own.replace(ending, f":policy/{settings[name]}")]
    if not own.endswith((_EVERY_CLIENT, _EVERY_THING)):
        return [own]
    prefix = own.removesuffix("*")
    # `*` includes the probe's name, which has no thing.
    probe = [] if own.endswith(_EVERY_THING) or "*" in settings["client_ids"] else [PROBE]
    return [prefix + pattern for pattern in dict.fromkeys([*settings["client_ids"], *probe])]


def _names(endpoints: Sequence[str]) -> list[str]:
    """Names as Route 53 compares them: in lower case, without the final dot.

    Source: https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/specifying-conditions-route53.html
    """
    return [endpoint.rstrip(".").lower() for endpoint in endpoints]


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"iam_policy": iam_policy}
