"""The calls of Service Quotas, with those of IoT Core, which moto does not know."""

from __future__ import annotations

import json

from moto.servicequotas.responses import ServiceQuotasResponse

from lab.aws_api import paging
from lab.aws_api.answers import Answers
from lab.aws_api.service_quotas import DEFAULTS, SERVICE, quota


class QuotasResponse(Answers, ServiceQuotasResponse):  # type: ignore[misc]
    """moto's Service Quotas with those of IoT Core."""

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
        largest = self._stand_in.settings.page_size
        return json.dumps(paging.page(paging.SERVICE_QUOTAS, quotas, "ListServiceQuotas", request.get, largest))
