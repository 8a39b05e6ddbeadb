"""Who calls AWS, asked in any region that answers: a region that is down must not keep a fleet in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from ..model.errors import AwsError, CredentialsError, SwitchError
from .clients import AwsClient

# In a region that is down, requests hang; one that takes seconds to answer is only slow.
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
    """Ask one region after the other who is calling, until one answers.

    The next region is also asked after a refusal: valid credentials may be unknown to a region that the account has
    to opt in to (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_region-endpoints.html).

    Raises:
        CredentialsError: there are no credentials.
        SwitchError: no region answered: the reason of each, and the hint. Where all refuse the credentials, the error
            of the first.
    """
    reasons, refused = [], []
    for region in regions:
        try:
            answer = client(region).call("GetCallerIdentity")
        except CredentialsError:
            raise
        except AwsError as error:
            reasons.append(f"{region}: {error.code} ({error.text})")
            refused += [error] if error.credentials else []
            continue
        account, arn = answer.get("Account"), answer.get("Arn")
        if account and arn:
            return Caller(account, arn, region)
        reasons.append(f"{region}: an answer without account or ARN")
    if refused and len(refused) == len(reasons):
        raise refused[0]
    raise SwitchError(f"AWS API: no region answered GetCallerIdentity ({'; '.join(reasons)}): {hint}")


def arn(regions: Sequence[str], client: Callable[[str], AwsClient] = sts_client) -> str | None:
    """Return the caller's ARN, asked in all regions at once, so that one that is down costs no time; None where none
    answers: a run can do without."""
    pool = ThreadPoolExecutor(max_workers=max(len(regions), 1))
    try:
        # boto3 is not safe to make clients in several threads.
        clients = [client(region) for region in regions]
        for asked in as_completed([pool.submit(each.call, "GetCallerIdentity") for each in clients]):
            if asked.exception() is None and isinstance(found := asked.result().get("Arn"), str):
                return found
    except SwitchError:
        # The calls that follow report the error.
        return None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return None
