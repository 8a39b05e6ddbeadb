"""AWS calls: clients with bounded timeouts, and one error wrapper."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache, cached_property, partial
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ..model.errors import UNREADABLE, AwsError, SwitchError, unreadable
from . import answers, credentials, data_plane
from .answers import UnreadableError
from .limited_http import LimitedDataResponse, LimitedResponse, limit

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 15.0
ATTEMPTS = 4
# A region that is gone lets requests hang: whether one answers is asked with less patience. One that takes seconds to
# answer is slow, and a move may go on from it.
PROBE_CONNECT_TIMEOUT = 4.0
PROBE_TIMEOUT = 10.0
PROBE_ATTEMPTS = 2
# Connections that one client of the data plane keeps: as many requests may be under way.
DATA_CONNECTIONS = 256


# boto3 makes one client at a time (https://docs.aws.amazon.com/boto3/latest/guide/session.html).
_MAKING = threading.Lock()


@cache
def _session() -> boto3.session.Session:
    """One session: each reads the model of a service, some of them megabytes, once."""
    session = botocore.session.get_session()
    session.register_component("response_parser_factory", answers.Parsers())
    credentials.guard(session)
    return boto3.session.Session(botocore_session=session)


class AwsClient:
    """One AWS service in one region.

    Args:
        service: boto3's name, such as `iot-data`.
        region: AWS Region; None takes the one of the environment. Of Route 53, which is global, it says only the
            partition (aws, aws-cn, aws-us-gov).
        attempts: requests per call at most. 1 where the caller paces its requests to a quota:
            botocore's silent retries would count against it.
        connections: calls that may run at the same time.
        timeout: seconds that one request may take to be answered, and to connect unless `connect_timeout` says
            otherwise; None for the usual ones.

    Raises:
        AwsError: no region, or an AWS_ENDPOINT_URL that is no URL.
        CredentialsError: the credentials cannot be had.
        SwitchError: a boto3 whose answers cannot be limited in time and size.
    """

    # How answers are read.
    response: type[LimitedResponse] = LimitedResponse

    def __init__(
        self,
        service: str,
        region: str | None,
        *,
        attempts: int = ATTEMPTS,
        connections: int = 10,
        timeout: float | None = None,
        connect_timeout: float | None = None,
    ) -> None:
        config = Config(
            connect_timeout=connect_timeout or timeout or CONNECT_TIMEOUT,
            read_timeout=timeout or READ_TIMEOUT,
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=connections,
        )
        try:
            with _MAKING:
                self._client = _session().client(service, region_name=region, config=config)
        except credentials.ERRORS as error:
            raise credentials.explain(error) from error
        except (BotoCoreError, ValueError) as error:
            # botocore takes an AWS_ENDPOINT_URL that is no URL for a ValueError.
            raise AwsError(service, region or "no region", type(error).__name__, 0, str(error)) from error
        limit(self._client, self.response)
        self.region: str = self._client.meta.region_name

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Send one request, such as `call("DeleteConnection", clientId="a")`, and return the answer.

        Raises:
            AwsError: AWS refused it, or did not answer in time; UNREADABLE where something came that is no answer.
            CredentialsError: the credentials cannot be had, or not be renewed.
            SwitchError: this boto3 does not know the operation.
        """
        try:
            answer: dict[str, Any] = self._method(operation)(**parameters)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "Unknown"))
            text = str(error.response.get("Error", {}).get("Message") or error)
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            raise AwsError(operation, self.region, code, status, text) from error
        except credentials.ERRORS as error:
            raise credentials.explain(error) from error
        except BotoCoreError as error:
            raise _no_answer(operation, self.region, error) from error
        return answer

    def _method(self, operation: str) -> Callable[..., dict[str, Any]]:
        try:
            method: Callable[..., dict[str, Any]] = getattr(self._client, _snake_case(operation))
        except AttributeError as error:
            raise SwitchError(
                f"boto3: found {boto3.__version__}, which has no {operation}, expected a newer one: "
                "install requirements.txt"
            ) from error
        return method

    def find(self, operation: str, **parameters: Any) -> dict[str, Any] | None:
        """`call`, but None where AWS knows no such thing."""
        try:
            return self.call(operation, **parameters)
        except AwsError as error:
            if error.not_found:
                return None
            raise

    def pages(
        self, operation: str, items: str, cursor: tuple[str, str] = ("nextToken", "nextToken"), **parameters: Any
    ) -> Iterator[Any]:
        """Yield the elements of the list `items` over all pages of an answer.

        Args:
            items: name of the list in the answer.
            cursor: name of the next page's token in the answer, and in the request.

        Raises:
            AwsError: of `call`; UNREADABLE where there is no list, or a next page that was there before.
        """
        for page in answers.pages(self.call, self.region, operation, items, cursor, **parameters):
            yield from page


def _no_answer(operation: str, region: str, error: BotoCoreError) -> AwsError:
    # What the session raises while it reads comes inside of an error of botocore's.
    for each in (error, error.kwargs.get("error")):
        if isinstance(each, UnreadableError):
            return AwsError(operation, region, UNREADABLE, answers.OK, str(each))
    # Operation and region say more than the address that botocore puts behind a timeout.
    return AwsError(operation, region, "NoAnswer", 0, str(error).partition(" on endpoint URL: ")[0])


class DataClient(AwsClient):
    """`iot-data` in one region, for a call per client: without retries of its own, since callers pace their requests
    to quotas, and for as little CPU as `data_plane` takes."""

    response = LimitedDataResponse

    def __init__(self, region: str) -> None:
        super().__init__("iot-data", region, attempts=1, connections=DATA_CONNECTIONS)
        self._plane = data_plane.DataPlane(self._client, _session().get_credentials())

    def _method(self, operation: str) -> Callable[..., dict[str, Any]]:
        method = super()._method(operation)
        return partial(self._plane.call, operation, method) if operation in data_plane.OPERATIONS else method


@cache
def _snake_case(operation: str) -> str:
    """boto3's method of an operation: `CreateCertificateFromCsr` is `create_certificate_from_csr`."""
    words = re.sub(r"([a-z\d])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", operation))
    return words.lower()


def describe_data_endpoint(iot: AwsClient) -> str:
    """Return the host name of the region's `iot:Data-ATS` endpoint: what a custom domain's CNAME points at.

    Source: https://docs.aws.amazon.com/iot/latest/developerguide/iot-connect-devices.html

    Raises:
        AwsError: AWS refuses, or does not answer.
        SwitchError: an answer without an address, which is no sign of a region that is gone.
    """
    try:
        address = iot.call("DescribeEndpoint", endpointType="iot:Data-ATS").get("endpointAddress")
    except AwsError as error:
        if error.unreadable:
            raise SwitchError(str(error)) from error
        raise
    if not isinstance(address, str) or not address:
        raise unreadable(f"DescribeEndpoint in {iot.region}", address, "a host name")
    return address.lower()


class Aws:
    """The AWS clients of a run, each made when first used; mappings are by region."""

    def __init__(self, regions: Sequence[str]) -> None:
        self.regions = tuple(regions)

    @cached_property
    def iot(self) -> dict[str, AwsClient]:
        return {region: AwsClient("iot", region) for region in self.regions}

    @cached_property
    def probing(self) -> dict[str, AwsClient]:
        """IoT clients of little patience, to learn whether a region answers at all."""
        return {
            region: AwsClient(
                "iot", region, attempts=PROBE_ATTEMPTS, timeout=PROBE_TIMEOUT, connect_timeout=PROBE_CONNECT_TIMEOUT
            )
            for region in self.regions
        }

    @cached_property
    def data(self) -> dict[str, AwsClient]:
        return {region: DataClient(region) for region in self.regions}

    @cached_property
    def service_quotas(self) -> dict[str, AwsClient]:
        return {region: AwsClient("service-quotas", region) for region in self.regions}

    @cached_property
    def route53(self) -> AwsClient:
        return AwsClient("route53", self.regions[0])

    @cached_property
    def route53_writer(self) -> AwsClient:
        """One attempt: a batch that is repeated after it was carried out fails its own comparison."""
        return AwsClient("route53", self.regions[0], attempts=1)
