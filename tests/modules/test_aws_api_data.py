"""The connection API and the fleet index, through boto3."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ReadTimeoutError

from tests.modules.conftest import AwsApi

ONCE = Config(retries={"total_max_attempts": 1})
REGION = "us-east-1"


@pytest.fixture
def data(aws_api: AwsApi) -> Any:
    return boto3.client("iot-data", region_name=REGION, config=ONCE)


@pytest.fixture
def iot(aws_api: AwsApi) -> Any:
    return boto3.client("iot", region_name=REGION, config=ONCE)


def _error(call: Any, **arguments: object) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


@pytest.mark.parametrize("client_id", ["client_01", "a/b c", "ü+#?&=%2F"])
def test_deleted_client_is_disconnected_by_the_api(aws_api: AwsApi, data: Any, client_id: str) -> None:
    aws_api.connect(REGION, client_id, connected_since=1000)
    answer = data.delete_connection(clientId=client_id, preventWillMessage=True)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    connection = data.get_connection(clientId=client_id)
    assert connection["connected"] is False
    assert connection["disconnectReason"] == "API_INITIATED_DISCONNECT"
    assert connection["clientId"] == client_id
    assert connection["connectedSince"] == 1000


def test_unknown_client_is_not_found(data: Any) -> None:
    assert _error(data.delete_connection, clientId="nobody") == (404, "ResourceNotFoundException")
    assert _error(data.get_connection, clientId="nobody") == (404, "ResourceNotFoundException")


@pytest.mark.deviates("DeleteConnection clientId")
@pytest.mark.parametrize("client_id", ["$x", "x" * 129])
def test_client_id_that_aws_does_not_allow(data: Any, client_id: str) -> None:
    assert _error(data.delete_connection, clientId=client_id) == (400, "InvalidRequestException")


def test_persistent_session_outlives_the_connection_until_cleaned(aws_api: AwsApi, data: Any) -> None:
    aws_api.connect(REGION, "client_01", clean_session=False)
    aws_api.disconnect(REGION, "client_01")
    data.delete_connection(clientId="client_01", cleanSession=True)
    aws_api.connect(REGION, "client_02", clean_session=True)
    aws_api.disconnect(REGION, "client_02")
    assert _error(data.delete_connection, clientId="client_02") == (404, "ResourceNotFoundException")


def test_one_call_a_second_for_one_client(aws_api: AwsApi, data: Any) -> None:
    aws_api.connect(REGION, "client_01")
    data.delete_connection(clientId="client_01")
    assert _error(data.delete_connection, clientId="client_01") == (429, "ThrottlingException")


def test_deleted_client_appears_where_it_is_said_to(aws_api: AwsApi, data: Any) -> None:
    aws_api.connect(REGION, "client_01")
    aws_api.reconnect({"client_01": "ap-northeast-1"})
    data.delete_connection(clientId="client_01")
    assert aws_api.connected("ap-northeast-1") == {"client_01"}
    assert aws_api.connected(REGION) == set()


def test_faults_hit_the_named_operation_as_often_as_said(aws_api: AwsApi, data: Any) -> None:
    aws_api.connect(REGION, "client_01")
    aws_api.faults(
        {"operation": "GetConnection", "kind": "error", "status": 403, "code": "ForbiddenException", "times": 1}
    )
    assert _error(data.get_connection, clientId="client_01") == (403, "ForbiddenException")
    assert data.get_connection(clientId="client_01")["connected"] is True


def test_every_call_is_recorded(aws_api: AwsApi, data: Any) -> None:
    aws_api.connect(REGION, "a/b")
    data.get_connection(clientId="a/b")
    data.delete_connection(clientId="a/b")
    calls = [(call["service"], call["operation"], call["region"], call["write"]) for call in aws_api.requests()]
    assert calls == [("iot-data", "GetConnection", REGION, False), ("iot-data", "DeleteConnection", REGION, True)]


def _index(iot: Any, connectivity: str = "STATUS") -> None:
    iot.update_indexing_configuration(
        thingIndexingConfiguration={"thingIndexingMode": "REGISTRY", "thingConnectivityIndexingMode": connectivity}
    )


def test_search_needs_the_index(iot: Any) -> None:
    assert _error(iot.search_index, queryString="*") == (400, "IndexNotReadyException")
    _index(iot, "OFF")
    assert _error(iot.search_index, queryString="connectivity.connected:true") == (400, "InvalidQueryException")


def test_search_finds_connected_things_by_attribute(aws_api: AwsApi, iot: Any) -> None:
    _index(iot)
    for number, endpoint in enumerate(["mqtt1.example.com", "mqtt2.example.com", "mqtt1.example.com"]):
        iot.create_thing(thingName=f"client_{number}", attributePayload={"attributes": {"mqtt_endpoint": endpoint}})
    aws_api.connect(REGION, "client_0", connected_since=5000)
    aws_api.connect(REGION, "client_1")
    aws_api.connect(REGION, "no_thing")
    query = "connectivity.connected:true AND attributes.mqtt_endpoint:mqtt1.example.com"
    [thing] = iot.search_index(queryString=query)["things"]
    assert thing["thingName"] == "client_0"
    assert thing["attributes"] == {"mqtt_endpoint": "mqtt1.example.com"}
    assert thing["connectivity"]["connected"] is True
    assert thing["connectivity"]["timestamp"] == 5000
    [absent] = iot.search_index(queryString="connectivity.connected:false")["things"]
    assert absent["thingName"] == "client_2"
    assert iot.get_statistics(queryString="connectivity.connected:true")["statistics"]["count"] == 2


def test_search_comes_in_pages(iot: Any) -> None:
    _index(iot)
    names = [f"client_{number:03}" for number in range(7)]
    for name in names:
        iot.create_thing(thingName=name)
    found, token = [], ""
    while token is not None:
        more = {"nextToken": token} if token else {}
        page = iot.search_index(queryString="thingName:client_*", maxResults=3, **more)
        found.append([thing["thingName"] for thing in page["things"]])
        token = page.get("nextToken")
    assert found == [names[:3], names[3:6], names[6:]]


def test_changed_index_answers_nothing_until_it_is_built(aws_api: AwsApi, iot: Any) -> None:
    aws_api.settings(index_building_seconds=600)
    _index(iot)
    assert iot.describe_index(indexName="AWS_Things")["indexStatus"] == "BUILDING"
    for call in (iot.search_index, iot.get_statistics):
        assert _error(call, queryString="connectivity.connected:true") == (400, "IndexNotReadyException")

    aws_api.settings(index_building_seconds=0)
    assert iot.describe_index(indexName="AWS_Things")["indexStatus"] == "ACTIVE"
    assert iot.search_index(queryString="connectivity.connected:true")["things"] == []

    aws_api.settings(index_building_seconds=600)
    aws_api.reset()
    aws_api.settings(index_building_seconds=600)
    assert _error(iot.describe_index, indexName="AWS_Things") == (404, "ResourceNotFoundException")


def test_index_answers_what_was_a_while_ago(aws_api: AwsApi, iot: Any, data: Any) -> None:
    _index(iot)
    iot.create_thing(thingName="client_01")
    query = "connectivity.connected:true"
    aws_api.settings(index_lag_seconds=250)
    aws_api.connect(REGION, "client_01")
    assert iot.search_index(queryString=query)["things"] == []
    assert iot.get_statistics(queryString=query)["statistics"]["count"] == 0
    assert data.get_connection(clientId="client_01")["connected"] is True
    aws_api.settings(index_lag_seconds=0)
    assert [thing["thingName"] for thing in iot.search_index(queryString=query)["things"]] == ["client_01"]


@pytest.mark.parametrize("service", ["iot", "iot-data", "acm", "service-quotas", "sts"])
def test_region_that_hangs_takes_every_service_of_it(aws_api: AwsApi, service: str) -> None:
    impatient = Config(retries={"total_max_attempts": 1}, read_timeout=0.5)
    aws_api.faults({"operation": "*", "region": REGION, "kind": "hang"})
    ask = {
        "iot": ("describe_endpoint", {}),
        "iot-data": ("get_connection", {"clientId": "client_01"}),
        "acm": ("list_certificates", {}),
        "service-quotas": ("list_service_quotas", {"ServiceCode": "iotcore"}),
        "sts": ("get_caller_identity", {}),
    }
    method, arguments = ask[service]
    with pytest.raises(ReadTimeoutError):
        getattr(boto3.client(service, region_name=REGION, config=impatient), method)(**arguments)
    # Route 53 is signed for us-east-1 too, and other regions are none of its business.
    assert boto3.client("route53", region_name=REGION).list_hosted_zones()["HostedZones"]
    assert boto3.client("iot", region_name="ap-northeast-1").describe_endpoint(endpointType="iot:Data-ATS")


def test_call_that_is_held_is_carried_out_when_it_is_let_go(aws_api: AwsApi, data: Any) -> None:
    for client_id in ("client_01", "client_02"):
        aws_api.connect(REGION, client_id)
    aws_api.faults({"operation": "DeleteConnection", "kind": "hold", "containing": "client_02"})
    data.delete_connection(clientId="client_01")
    with ThreadPoolExecutor() as pool:
        held = pool.submit(data.delete_connection, clientId="client_02")
        while not aws_api.call("GET", "faults")[0]["hits"]:
            assert not held.done()
        assert aws_api.connected(REGION) == {"client_02"}
        aws_api.faults()
        held.result(timeout=30)
    assert aws_api.connected(REGION) == set()


def test_quota_may_be_lower_than_service_quotas_tells(aws_api: AwsApi, data: Any) -> None:
    aws_api.settings(quotas={"GetConnection": 1})
    aws_api.connect(REGION, "client_01")
    aws_api.connect(REGION, "client_02")
    assert data.get_connection(clientId="client_01")
    assert _error(data.get_connection, clientId="client_02") == (429, "ThrottlingException")
