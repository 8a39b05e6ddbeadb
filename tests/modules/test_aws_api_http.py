"""The stand-in carries hundreds of calls a second: connections are kept, the record of calls is read from its end."""

from __future__ import annotations

from http.client import HTTPConnection
from urllib.parse import urlsplit

import boto3

from tests.modules.conftest import AwsApi


def test_connection_is_kept_between_calls(aws_api: AwsApi) -> None:
    connection = HTTPConnection(str(urlsplit(aws_api.url).netloc))
    connection.request("GET", "/_lab/health")
    connection.getresponse().read()
    kept = connection.sock
    connection.request("PUT", "/_lab/faults", b"[]")
    connection.getresponse().read()
    assert kept is not None
    assert connection.sock is kept
    connection.close()


def test_only_later_calls_are_told_even_after_a_reset(aws_api: AwsApi) -> None:
    iot = boto3.client("iot")
    iot.list_things()
    first = aws_api.requests()[-1]["n"]
    aws_api.reset()
    iot.list_policies()
    iot.list_certificates()
    assert [request["operation"] for request in aws_api.requests(first)] == ["ListPolicies", "ListCertificates"]
    assert [request["operation"] for request in aws_api.requests(first + 1)] == ["ListCertificates"]
