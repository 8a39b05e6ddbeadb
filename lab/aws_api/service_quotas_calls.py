"""The calls of Service Quotas, with those of IoT Core, which moto does not know."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from moto.servicequotas.responses import ServiceQuotasResponse

from lab.aws_api import paging
from lab.aws_api.errors import AwsError
from lab.aws_api.service_quotas import DEFAULTS, SERVICE, quota

if TYPE_CHECKING:
    from lab.aws_api.stand_in import StandIn


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
