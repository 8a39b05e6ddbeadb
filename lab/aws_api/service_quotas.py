"""Service Quotas of IoT Core, which moto does not know."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from moto.servicequotas.responses import ServiceQuotasResponse

from lab.aws_api import paging
from lab.aws_api.errors import AwsError

if TYPE_CHECKING:
    from lab.aws_api.stand_in import StandIn

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


class QuotasResponse(ServiceQuotasResponse):  # type: ignore[misc]
    """moto's Service Quotas with those of IoT Core."""

    def __init__(self, stand_in: StandIn) -> None:
        super().__init__()
        self._stand_in = stand_in

    def get_service_quota(self) -> str:
        request = json.loads(self.body)
        if request.get("ServiceCode") != SERVICE:
            return str(super().get_service_quota())
        found = quota(request.get("QuotaCode", ""), self.region, self._stand_in.configuration.account_id)
        return json.dumps({"Quota": found})

    def list_service_quotas(self) -> str:
        request = json.loads(self.body)
        account_id = self._stand_in.configuration.account_id
        listed = request.get("ServiceCode") == SERVICE
        quotas = [quota(code, self.region, account_id) for code in DEFAULTS] if listed else []
        listing, largest = paging.SERVICE_QUOTAS, self._stand_in.settings.page_size
        try:
            size, token = paging.given(listing, request)
            return json.dumps(paging.page(listing, quotas, "ListServiceQuotas", size, token, largest))
        except paging.PageError as error:
            raise AwsError(listing.error, str(error)) from error
