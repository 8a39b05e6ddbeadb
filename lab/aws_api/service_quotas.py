"""The quotas of IoT Core: AWS's defaults."""

from __future__ import annotations

from typing import Any

from lab.aws_api.errors import AwsError

SERVICE = "iotcore"
# Regions with the lower defaults: AWS General Reference, "AWS IoT Core endpoints and quotas".
SELECT_REGIONS = frozenset(
    {
        "eu-north-1",
        "me-south-1",
        "me-central-1",
        "eu-west-3",
        "ap-east-1",
        "us-gov-east-1",
        "us-gov-west-1",
        "us-west-1",
        "ca-central-1",
        "cn-northwest-1",
        "ap-southeast-5",
        "eu-south-2",
    }
)
CONNECT, SUBSCRIBE = "L-AEA1E176", "L-589D5E1D"
# Code: name, default, default in the select regions, adjustable.
DEFAULTS = {
    "L-6F708547": ("DeleteConnection API TPS", 100.0, 100.0, True),
    "L-AC33745E": ("DeleteConnection API requests per second per client ID", 1.0, 1.0, False),
    CONNECT: ("Connect requests per second per account", 3000.0, 100.0, True),
    SUBSCRIBE: ("Subscriptions per second per account", 3000.0, 200.0, True),
    "L-57AAC135": ("ListThings API TPS", 10.0, 10.0, True),
    "L-75CAB723": ("Maximum concurrent client connections per account", 500_000.0, 100_000.0, True),
}


def default(code: str, region: str) -> float:
    """Return AWS's default of a quota in a region."""
    _, value, select, _ = DEFAULTS[code]
    return select if region in SELECT_REGIONS else value


def quota(code: str, region: str, account_id: str) -> dict[str, Any]:
    """Return a quota as GetServiceQuota does.

    Raises:
        AwsError: NoSuchResourceException.
    """
    if code not in DEFAULTS:
        raise AwsError("NoSuchResourceException", f"No quota {code} of service {SERVICE}")
    name, _, _, adjustable = DEFAULTS[code]
    return {
        "ServiceCode": SERVICE,
        "ServiceName": "AWS IoT Core",
        "QuotaArn": f"arn:aws:servicequotas:{region}:{account_id}:{SERVICE}/{code}",
        "QuotaCode": code,
        "QuotaName": name,
        "Value": default(code, region),
        "Unit": "None",
        "Adjustable": adjustable,
        "GlobalQuota": False,
    }
