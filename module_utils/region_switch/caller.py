"""Whether AWS answers at all, and as whom: asked in any region, since one that is gone must not keep a fleet in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .aws import AwsClient
from .errors import AwsError, SwitchError

# A region that is gone lets requests hang, and the next one is asked; one that takes seconds to answer is only slow.
CONNECT_TIMEOUT = 3.0
TIMEOUT = 10.0
ATTEMPTS = 2


@dataclass(frozen=True)
class Caller:
    """Who calls AWS.

    Attributes:
        account: the account's number.
        arn: of the user or role.
        region: the AWS Region that answered.
    """

    account: str
    arn: str
    region: str


def sts_client(region: str) -> AwsClient:
    return AwsClient("sts", region, attempts=ATTEMPTS, timeout=TIMEOUT, connect_timeout=CONNECT_TIMEOUT)


def identify(regions: Sequence[str], hint: str, client: Callable[[str], AwsClient] = sts_client) -> Caller:
    """Ask one region after the other who is calling; the first that answers is believed.

    A refusal is not the last word either: credentials that are good in one region may be unknown to another that the
    account has to opt in to (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_region-endpoints.html).

    Raises:
        SwitchError: what each region said, and the hint.
    """
    reasons, clocks = [], []
    for region in regions:
        try:
            answer = client(region).call("GetCallerIdentity")
        except AwsError as error:
            reasons.append(f"{region}: {error.code} ({error.text})")
            clocks += [error.advice] if error.wrong_clock else []
            continue
        account, arn = answer.get("Account"), answer.get("Arn")
        if account and arn:
            return Caller(account, arn, region)
        reasons.append(f"{region}: an answer without account or ARN")
    raise SwitchError(
        f"AWS API: found no region that answers GetCallerIdentity ({'; '.join(reasons)}), expected one: "
        f"{clocks[0] if len(clocks) == len(regions) else hint}"
    )
