"""AWS by the names of its own endpoints: a wrong one shows, and the product asks the right ones."""

from __future__ import annotations

import http.client
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ProxyConnectionError, SSLError

from lab.aws_api.config import Region
from lab.aws_api.endpoints import Endpoint, endpoints

from .conftest import AwsApi
from .modules import run_ok
from .test_iot_region_switch import CLIENTS, NEW, OLD, options

__all__ = ["options"]
ONCE = Config(retries={"total_max_attempts": 1})
ATS = f"a2labrehearsal-ats.iot.{OLD}.amazonaws.com"


def client(service: str, region: str = OLD, host: str | None = None) -> Any:
    return boto3.client(service, region_name=region, endpoint_url=f"https://{host}" if host else None, config=ONCE)


@pytest.fixture
def names(aws_api: AwsApi, monkeypatch: pytest.MonkeyPatch) -> AwsApi:
    """The stand-in, to be found by AWS's names alone."""
    by_names(aws_api, monkeypatch)
    return aws_api


def by_names(aws_api: AwsApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    for name, value in aws_api.names.items():
        monkeypatch.setenv(name, value)


def test_every_service_is_found_by_the_name_that_botocore_knows(names: AwsApi) -> None:
    asked = [
        client("iot").describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"],
        client("sts").get_caller_identity()["Account"],
        client("acm", NEW).list_certificates()["CertificateSummaryList"],
        client("route53").list_hosted_zones()["HostedZones"][0]["Id"],
        client("service-quotas").get_service_quota(ServiceCode="iotcore", QuotaCode="L-6F708547")["Quota"]["Value"],
    ]
    assert asked == [ATS, names.account_id, [], f"/hostedzone/{names.hosted_zone_id}", 100.0]


@pytest.mark.parametrize("host", [None, ATS], ids=["the region's", "the account's"])
def test_data_plane_is_the_region_s_or_the_account_s(names: AwsApi, host: str | None) -> None:
    names.connect(OLD, "pump")
    assert client("iot-data", host=host).get_connection(clientId="pump")["connected"] is True


@pytest.mark.parametrize(
    ("service", "region", "host", "said"),
    [
        ("iot", NEW, f"iot.{OLD}.amazonaws.com", "valid region"),
        ("iot-data", NEW, ATS, "valid region"),
        ("iot-data", OLD, f"iot.{OLD}.amazonaws.com", "correct service"),
        ("acm", OLD, f"iot.{OLD}.amazonaws.com", "correct service"),
        ("route53", OLD, "sts.amazonaws.com", "correct service"),
    ],
)
def test_request_that_is_signed_for_another_endpoint_is_refused(
    names: AwsApi, service: str, region: str, host: str, said: str
) -> None:
    method = {
        "iot": lambda each: each.list_things(),
        "iot-data": lambda each: each.get_connection(clientId="pump"),
        "acm": lambda each: each.list_certificates(),
        "route53": lambda each: each.list_hosted_zones(),
    }[service]
    with pytest.raises(ClientError, match=said) as refused:
        method(client(service, region, host))
    xml = service == "route53"
    assert refused.value.response["Error"]["Code"] == ("SignatureDoesNotMatch" if xml else "InvalidSignatureException")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == (400 if service == "acm" else 403)


@pytest.mark.parametrize("host", ["iot.eu-west-1.amazonaws.com", f"iot-data.{OLD}.amazonaws.com", f"{ATS}:8443"])
def test_name_that_aws_does_not_have_leads_nowhere(names: AwsApi, host: str) -> None:
    with pytest.raises(ProxyConnectionError):
        client("iot", host=host).list_things()


def test_endpoints_are_of_the_lab_s_ca(names: AwsApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE")
    with pytest.raises(SSLError):
        client("sts").get_caller_identity()


def test_proxy_is_for_nothing_else(names: AwsApi) -> None:
    proxy = urlsplit(names.names["HTTPS_PROXY"])
    connection = http.client.HTTPConnection(str(proxy.hostname), proxy.port, timeout=10)
    connection.request("GET", f"http://iot.{OLD}.amazonaws.com/things")
    assert connection.getresponse().status == 405


def test_endpoints_of_an_account() -> None:
    found = endpoints([Region(OLD, ATS)])
    assert found[f"data-ats.iot.{OLD}.amazonaws.com"] == found[ATS] == Endpoint("iot-data", OLD)
    assert found["route53.amazonaws.com"] == Endpoint("route53", "us-east-1")
    assert not any("eu-west-1" in name for name in found)


def test_a_move_asks_the_right_endpoints(
    aws_api: AwsApi, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_names(aws_api, monkeypatch)
    done = run_ok("iot_region_switch", {**options, "mode": "3"})
    assert done["outcome"] == "moved"
    assert aws_api.connected(NEW) == set(CLIENTS)
