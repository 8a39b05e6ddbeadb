"""Who may call the stand-in: each service refuses a caller with its own code, as botocore reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from ansible.module_utils.region_switch.aws.clients import AwsClient, DataClient
from ansible.module_utils.region_switch.model.errors import AwsError
from botocore.config import Config
from botocore.exceptions import ClientError

from .conftest import ACCESS_KEY, HOSTED_ZONE_ID, SECRET_KEY, AwsApi

ONCE = Config(retries={"total_max_attempts": 1})
ARN = "arn:aws:iam::123456789012:user/operator"
CALLS: dict[str, Callable[[Any], Any]] = {
    "iot": lambda client: client.describe_thing(thingName="pump-1"),
    "iot-data": lambda client: client.get_connection(clientId="pump-1"),
    "acm": lambda client: client.list_certificates(),
    "route53": lambda client: client.get_hosted_zone(Id=HOSTED_ZONE_ID),
    "sts": lambda client: client.get_caller_identity(),
    "service-quotas": lambda client: client.list_service_quotas(ServiceCode="iotcore"),
}
JSON_1_1 = {"acm", "service-quotas"}


def identity(aws_api: AwsApi, **details: object) -> None:
    """Let the stand-in know this caller and nobody else."""
    aws_api.settings(identities={ACCESS_KEY: {"secret": SECRET_KEY, "arn": ARN, **details}})


def refused(service: str) -> tuple[str, int, str]:
    """Code, status and message with which a service refuses."""
    with pytest.raises(ClientError) as caught:
        CALLS[service](boto3.client(service, config=ONCE))
    error, metadata = caught.value.response["Error"], caught.value.response["ResponseMetadata"]
    return str(error["Code"]), int(metadata["HTTPStatusCode"]), str(error["Message"])


@pytest.mark.parametrize(
    ("cause", "xml", "json"),
    [
        ("secret", "SignatureDoesNotMatch", "InvalidSignatureException"),
        ("clock", "SignatureDoesNotMatch", "InvalidSignatureException"),
        ("token", "InvalidClientTokenId", "UnrecognizedClientException"),
        ("expired", "ExpiredToken", "ExpiredTokenException"),
    ],
)
@pytest.mark.parametrize("service", CALLS)
def test_credentials_that_are_not_taken_are_refused_with_the_codes_of_the_protocol(
    aws_api: AwsApi, service: str, cause: str, xml: str, json: str
) -> None:
    match cause:
        case "secret":
            identity(aws_api, secret="another")
        case "clock":
            aws_api.settings(clock_offset_seconds=400)
        case "token":
            identity(aws_api, token="a-token")
        case _:
            identity(aws_api, expired=True)

    code, status, message = refused(service)

    assert code == (xml if service in ("route53", "sts") else json)
    assert status == (400 if service in JSON_1_1 else 403)
    assert message.startswith("Signature expired: ") == (cause == "clock")
    assert aws_api.requests()[-1]["status"] == status


def test_region_that_is_not_enabled_does_not_know_the_caller(aws_api: AwsApi) -> None:
    aws_api.settings(regions_not_enabled=["us-east-1"])

    assert refused("iot")[0] == "UnrecognizedClientException"
    boto3.client("iot", region_name="ap-northeast-1").list_things()
    CALLS["route53"](boto3.client("route53"))


@pytest.mark.parametrize(
    ("service", "action", "resource"),
    [
        ("iot", "iot:DescribeThing", "arn:aws:iot:us-east-1:123456789012:thing/pump-1"),
        ("acm", "acm:ListCertificates", "*"),
        ("route53", "route53:GetHostedZone", f"arn:aws:route53:::hostedzone/{HOSTED_ZONE_ID}"),
        ("service-quotas", "servicequotas:ListServiceQuotas", "*"),
    ],
)
def test_what_no_policy_allows_is_refused_with_awss_words(
    aws_api: AwsApi, service: str, action: str, resource: str
) -> None:
    identity(aws_api, policies=[])

    code, status, message = refused(service)

    assert code == ("AccessDenied" if service == "route53" else "AccessDeniedException")
    assert status == (400 if service in JSON_1_1 else 403)
    assert message == (
        f"User: {ARN} is not authorized to perform: {action} on resource: {resource} because no identity-based policy "
        f"allows the {action} action"
    )
    allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]}
    identity(aws_api, policies=[allowed])
    try:
        CALLS[service](boto3.client(service, config=ONCE))
    except ClientError as error:
        assert error.response["Error"]["Code"] == "ResourceNotFoundException"


def test_data_plane_does_not_say_what_is_not_allowed_and_the_engine_does(aws_api: AwsApi) -> None:
    identity(aws_api, policies=[])

    assert refused("iot-data") == ("ForbiddenException", 403, "Forbidden")
    with pytest.raises(AwsError, match="allow the caller iot:GetConnection in IAM"):
        DataClient("us-east-1").call("GetConnection", clientId="pump-2")


def test_who_calls_may_ask_who_it_is_whatever_is_denied(aws_api: AwsApi) -> None:
    deny = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
    identity(aws_api, policies=[deny])

    assert boto3.client("sts").get_caller_identity()["Arn"] == ARN


def test_records_of_other_names_are_not_changed_under_a_condition(aws_api: AwsApi) -> None:
    names = {"route53:ChangeResourceRecordSetsNormalizedRecordNames": ["mqtt1.example.com"]}
    statement = {
        "Effect": "Allow",
        "Action": "route53:ChangeResourceRecordSets",
        "Resource": "*",
        "Condition": {"ForAllValues:StringEquals": names},
    }
    identity(aws_api, policies=[{"Version": "2012-10-17", "Statement": [statement]}])
    client = boto3.client("route53", config=ONCE)

    def create(name: str) -> None:
        record = {"Name": name, "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": "a.example.net"}]}
        batch = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
        client.change_resource_record_sets(HostedZoneId=HOSTED_ZONE_ID, ChangeBatch=batch)

    create("MQTT1.example.com.")
    with pytest.raises(ClientError, match="not authorized to perform: route53:ChangeResourceRecordSets"):
        create("mqtt2.example.com")


@pytest.mark.parametrize("client_id", ["pump-1", "a/b", "%", "client/subscriptions", "ポンプ"])
def test_requests_that_the_engine_signs_itself_are_taken_and_looked_at(aws_api: AwsApi, client_id: str) -> None:
    aws_api.settings(quotas={"GetConnection": 1000})
    client = DataClient("us-east-1")
    aws_api.connect("us-east-1", client_id)
    aws_api.connect("us-east-1", "first")
    # The first is boto3's own, and a pattern of those to come.
    client.call("GetConnection", clientId="first")

    assert client.call("GetConnection", clientId=client_id)["clientId"] == client_id
    assert client._plane._patterns["GetConnection"] is not None
    identity(aws_api, secret="another")
    with pytest.raises(AwsError, match="check this machine's clock and the secret access key"):
        client.call("GetConnection", clientId="other")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"clock_offset_seconds": 3600}, "set this machine's clock, as NTP does, then run again"),
        ({"clock_offset_seconds": -3600}, "set this machine's clock, as NTP does, then run again"),
        ({"regions_not_enabled": ["af-south-1"]}, "enable af-south-1 for the account"),
    ],
)
def test_each_cause_has_its_own_advice(aws_api: AwsApi, settings: dict[str, Any], said: str) -> None:
    aws_api.settings(**settings)

    with pytest.raises(AwsError, match=said) as refusal:
        AwsClient("iot", "af-south-1").call("DescribeEndpoint", endpointType="iot:Data-ATS")

    assert "IAM" not in str(refusal.value)


def test_signatures_are_not_looked_at_where_that_is_set_so(aws_api: AwsApi) -> None:
    aws_api.settings(verify_signatures=False, clock_offset_seconds=3600)

    assert AwsClient("iot", "us-east-1").call("ListThings")["things"] == []


@pytest.mark.parametrize("identities", [{"k": {}}, {"k": {"secret": "s", "policies": [{"Version": "1"}]}}, "k"])
def test_identities_that_cannot_be_any_are_refused(aws_api: AwsApi, identities: object) -> None:
    with pytest.raises(Exception, match="400"):
        aws_api.settings(identities=identities)
