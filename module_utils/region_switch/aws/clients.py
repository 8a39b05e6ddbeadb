"""AWS clients with bounded timeouts, whose errors are AwsError."""

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
# In a region that is down, requests hang: whether a region answers is asked with shorter timeouts. One that takes
# seconds to answer is only slow, and a move may leave it.
PROBE_CONNECT_TIMEOUT = 4.0
PROBE_TIMEOUT = 10.0
PROBE_ATTEMPTS = 2
# Connections that one client of the data plane keeps, which is also how many requests it can send at a time.
DATA_CONNECTIONS = 256


# boto3 makes one client at a time (https://docs.aws.amazon.com/boto3/latest/guide/session.html).
_MAKING = threading.Lock()


@cache
def _session() -> boto3.session.Session:
    """One session for all clients: each session parses the models of services, some of them megabytes."""
    session = botocore.session.get_session()
    session.register_component("response_parser_factory", answers.Parsers())
    credentials.guard(session)
    return boto3.session.Session(botocore_session=session)


class AwsClient:
    """One AWS service in one region.

    Args:
        service: boto3's name, such as `iot-data`.
        region: AWS Region; None means the one of the environment. For Route 53, which is global, it selects only the
            partition (aws, aws-cn, aws-us-gov).
        attempts: requests per call at most; 1 where the caller paces its requests to a quota, against which botocore's
            silent retries would count.
        connections: calls that may run at the same time.
        timeout: seconds for the answer to one request, and for connecting unless `connect_timeout` is given; None
            for READ_TIMEOUT and CONNECT_TIMEOUT.

    Raises:
        AwsError: no region, or an invalid AWS_ENDPOINT_URL.
        CredentialsError: the credentials cannot be obtained.
        SwitchError: this boto3 does not let answers be limited in time and size.
    """

    # The class that reads answers.
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
            # botocore raises ValueError for an invalid AWS_ENDPOINT_URL.
            raise AwsError(service, region or "no region", type(error).__name__, 0, str(error)) from error
        limit(self._client, self.response)
        self.region: str = self._client.meta.region_name

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Send one request, such as `call("DeleteConnection", clientId="a")`, and return the answer.

        Raises:
            AwsError: AWS refused it, or did not answer in time; UNREADABLE where the answer is invalid.
            CredentialsError: the credentials cannot be obtained or renewed.
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
                f"boto3: version {boto3.__version__} has no {operation}: install requirements.txt"
            ) from error
        return method

    def find(self, operation: str, **parameters: Any) -> dict[str, Any] | None:
        """As `call`, but None where the object does not exist."""
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
            AwsError: as `call`; UNREADABLE where there is no list, or a page repeats.
        """
        for page in answers.pages(self.call, self.region, operation, items, cursor, **parameters):
            yield from page


def _no_answer(operation: str, region: str, error: BotoCoreError) -> AwsError:
    # Errors of the session's parser come wrapped in an error of botocore's.
    for each in (error, error.kwargs.get("error")):
        if isinstance(each, UnreadableError):
            return AwsError(operation, region, UNREADABLE, answers.OK, str(each))
    # Operation and region say more than the URL that botocore appends to a timeout.
    return AwsError(operation, region, "NoAnswer", 0, str(error).partition(" on endpoint URL: ")[0])


class DataClient(AwsClient):
    """`iot-data` in one region, for a call per client: without retries, since callers pace their requests to quotas,
    and with the little CPU of `data_plane`."""

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
        SwitchError: an answer without an address, which does not mean that the region is down.
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
        """IoT clients with short timeouts, to learn whether a region answers."""
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
        """Without retries: a batch repeated after it was carried out would fail its own comparison."""
        return AwsClient("route53", self.regions[0], attempts=1)
