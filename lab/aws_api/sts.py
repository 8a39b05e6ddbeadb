"""Who is calling, and temporary credentials.

The stand-in knows these from then on, and they are allowed what the given policy allows.
"""

from __future__ import annotations

import json
import secrets
import string
from typing import Any

from moto.core.responses import ActionResult
from moto.sts.responses import TokenResponse

from lab.aws_api.answers import Answers
from lab.aws_api.identities import Identity

_LETTERS = string.ascii_uppercase + string.digits


class StsResponse(Answers, TokenResponse):  # type: ignore[misc]
    """AWS Security Token Service."""

    def get_caller_identity(self) -> ActionResult:
        """moto returns the same user whoever calls."""
        key = self.get_access_key()
        account = self._stand_in.configuration.account_id
        return ActionResult({"Arn": self._stand_in.arn(key), "UserId": key, "Account": account})

    def get_federation_token(self) -> ActionResult:
        """Without a policy nothing is allowed; at AWS only what the user may, whose policies are not asked here.

        Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetFederationToken.html
        """
        result = super().get_federation_token()
        answer: dict[str, Any] = result._result
        document = self._get_param("Policy")
        # Begins as those of temporary credentials do.
        access_key = "ASIA" + "".join(secrets.choice(_LETTERS) for _ in range(16))
        secret, token = secrets.token_hex(20), secrets.token_hex(32)
        answer["Credentials"] |= {"AccessKeyId": access_key, "SecretAccessKey": secret, "SessionToken": token}
        policies = [json.loads(document)] if document else []
        self._stand_in.settings.identities[access_key] = Identity(
            secret, answer["FederatedUser"]["Arn"], token, policies=policies
        )
        return result
