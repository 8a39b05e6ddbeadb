"""An account's quotas in a region: the applied ones, or AWS's documented defaults."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from ..model.errors import AwsError
from .clients import Aws

SERVICE = "iotcore"
# https://docs.aws.amazon.com/general/latest/gr/iot-core.html: the regions with lower defaults.
SELECT_REGIONS = frozenset(
    {
        *("ap-east-1", "ap-southeast-5", "ca-central-1", "cn-northwest-1", "eu-north-1", "eu-south-2", "eu-west-3"),
        *("me-central-1", "me-south-1", "us-gov-east-1", "us-gov-west-1", "us-west-1"),
    }
)
# Quotas by code; GetConnection by name, since no page of AWS was found to give its code.
_FIELDS = {
    "L-6F708547": "delete_connection",
    "GetConnection API TPS": "get_connection",
    "L-AEA1E176": "connect",
    "L-589D5E1D": "subscribe",
    "L-57AAC135": "list_things",
    "L-75CAB723": "connections",
}


@dataclass(frozen=True)
class Quotas:
    """Quotas of one account in one region: requests per second; `connections` is a number of simultaneous ones.

    Attributes:
        connect: MQTT CONNECT.
        subscribe: topic filters in MQTT SUBSCRIBE.
        search: SearchIndex, which is a quota of AWS IoT Device Management.
    """

    delete_connection: float
    get_connection: float
    connect: float
    subscribe: float
    list_things: float
    search: float
    connections: int


def defaults(region: str) -> Quotas:
    """AWS's defaults.

    Sources: https://docs.aws.amazon.com/general/latest/gr/iot-core.html,
    https://docs.aws.amazon.com/general/latest/gr/iot_device_management.html
    """
    low = region in SELECT_REGIONS
    return Quotas(
        delete_connection=100.0,
        get_connection=100.0,
        connect=100.0 if low else 3000.0,
        subscribe=200.0 if low else 3000.0,
        list_things=10.0,
        search=15.0,
        connections=100_000 if low else 500_000,
    )


def read(aws: Aws, region: str) -> Quotas:
    """Return the applied quotas of a region; the defaults where Service Quotas refuses, or does not answer."""
    try:
        return asked(aws, region)
    except AwsError:
        return defaults(region)


def asked(aws: Aws, region: str) -> Quotas:
    """Return the applied quotas of a region.

    ListServiceQuotas omits quotas whose applied value it does not know
    (https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_ListServiceQuotas.html).

    Raises:
        AwsError: Service Quotas refuses, or does not answer.
    """
    pages = aws.service_quotas[region].pages(
        "ListServiceQuotas", "Quotas", ("NextToken", "NextToken"), ServiceCode=SERVICE, MaxResults=100
    )
    return applied(list(pages), region)


def applied(listed: Iterable[dict[str, Any]], region: str) -> Quotas:
    """The defaults of a region, replaced by the values of ListServiceQuotas that are above 0."""
    values = asdict(defaults(region))
    for quota in listed:
        field = _FIELDS.get(quota.get("QuotaCode", "")) or _FIELDS.get(quota.get("QuotaName", ""))
        value = quota.get("Value")
        if field and isinstance(value, int | float) and 0 < value < float("inf"):
            values[field] = float(value)
    values["connections"] = int(values["connections"])
    return Quotas(**values)
