"""Route 53 of the stand-in, through boto3."""

from __future__ import annotations

import time
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.modules.conftest import HOSTED_ZONE_ID, NAME_SERVERS, AwsApi

NAME, OLD, NEW = "mqtt1.example.com.", "old.amazonaws.com", "new.amazonaws.com"


@pytest.fixture
def route53(aws_api: AwsApi) -> Any:
    return boto3.client("route53")


def _change(action: str, value: str, name: str = NAME, ttl: int = 0) -> dict[str, Any]:
    record = {"Name": name, "Type": "CNAME", "TTL": ttl, "ResourceRecords": [{"Value": value}]}
    return {"Action": action, "ResourceRecordSet": record}


def _batch(route53: Any, *changes: dict[str, Any]) -> Any:
    return route53.change_resource_record_sets(HostedZoneId=HOSTED_ZONE_ID, ChangeBatch={"Changes": list(changes)})


def _records(route53: Any) -> dict[str, Any]:
    listed = route53.list_resource_record_sets(HostedZoneId=HOSTED_ZONE_ID)["ResourceRecordSets"]
    return {item["Name"]: item for item in listed if item["Type"] == "CNAME"}


def test_change_is_pending_before_it_is_in_sync(aws_api: AwsApi, route53: Any) -> None:
    aws_api.settings(insync_delay_seconds=3600)
    change = _batch(route53, _change("CREATE", OLD))["ChangeInfo"]
    assert change["Status"] == "PENDING"
    assert route53.get_change(Id=change["Id"])["ChangeInfo"]["Status"] == "PENDING"
    aws_api.settings(insync_delay_seconds=0)
    assert route53.get_change(Id=change["Id"])["ChangeInfo"]["Status"] == "INSYNC"


def test_batch_is_refused_while_another_one_of_the_zone_is_pending(aws_api: AwsApi, route53: Any) -> None:
    aws_api.settings(insync_delay_seconds=3600, one_change_at_a_time=True)
    _batch(route53, _change("CREATE", OLD))
    once = boto3.client("route53", config=Config(retries={"total_max_attempts": 1}))
    with pytest.raises(ClientError, match="PriorRequestNotComplete") as caught:
        _batch(once, _change("CREATE", OLD, name="mqtt2.example.com."))
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400

    aws_api.settings(insync_delay_seconds=0)
    _batch(route53, _change("CREATE", OLD, name="mqtt2.example.com."))


def test_delete_and_create_in_one_batch_move_a_record(route53: Any) -> None:
    _batch(route53, _change("CREATE", OLD))
    _batch(route53, _change("DELETE", OLD, name=NAME.rstrip(".")), _change("CREATE", NEW))
    [record] = _records(route53).values()
    assert record["ResourceRecords"] == [{"Value": NEW}]
    assert record["TTL"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_change("DELETE", NEW), "but the values provided do not match the current values"),
        (_change("DELETE", OLD, ttl=60), "but the values provided do not match the current values"),
        (_change("DELETE", OLD, name="mqtt9.example.com."), "but it was not found"),
        (_change("CREATE", NEW), "but it already exists"),
        (_change("CREATE", NEW, name="mqtt1.example.org."), "is not permitted in zone example.com."),
    ],
)
def test_refused_change_refuses_its_whole_batch(route53: Any, change: dict[str, Any], message: str) -> None:
    _batch(route53, _change("CREATE", OLD))
    with pytest.raises(ClientError, match=message) as caught:
        _batch(route53, _change("CREATE", NEW, name="mqtt2.example.com."), change)
    assert caught.value.response["Error"]["Code"] == "InvalidChangeBatch"
    assert list(_records(route53)) == [NAME]


def test_unknown_change_and_zone(route53: Any) -> None:
    with pytest.raises(ClientError) as caught:
        route53.get_change(Id="/change/CNONE")
    assert caught.value.response["Error"]["Code"] == "NoSuchChange"
    with pytest.raises(ClientError) as caught:
        route53.list_resource_record_sets(HostedZoneId="ZNONE")
    assert caught.value.response["Error"]["Code"] == "NoSuchHostedZone"


def test_zone_is_delegated_to_the_name_servers(route53: Any) -> None:
    zone = route53.get_hosted_zone(Id=HOSTED_ZONE_ID)
    assert zone["HostedZone"]["Name"] == "example.com."
    assert zone["DelegationSet"]["NameServers"] == list(NAME_SERVERS)


def test_zones_of_one_name_have_other_name_servers_and_no_private_one_has_any(aws_api: AwsApi, route53: Any) -> None:
    twins = [route53.create_hosted_zone(Name="example.com", CallerReference=str(number)) for number in range(2)]
    private = route53.create_hosted_zone(
        Name="example.com", CallerReference="private", HostedZoneConfig={"PrivateZone": True, "Comment": ""},
        VPC={"VPCRegion": "us-east-1", "VPCId": "vpc-12345678"},
    )  # fmt: skip

    servers = {name for twin in twins for name in twin["DelegationSet"]["NameServers"]}
    assert len(servers) == 8
    assert not servers & set(NAME_SERVERS)
    zone = route53.get_hosted_zone(Id=private["HostedZone"]["Id"])
    assert (zone["HostedZone"]["Config"]["PrivateZone"], "DelegationSet" in zone) == (True, False)
    for twin in twins:
        found = route53.get_hosted_zone(Id=twin["HostedZone"]["Id"])
        assert found["DelegationSet"]["NameServers"] == twin["DelegationSet"]["NameServers"]
        sets = route53.list_resource_record_sets(HostedZoneId=twin["HostedZone"]["Id"])["ResourceRecordSets"]
        assert {each["Value"].rstrip(".") for each in sets[0]["ResourceRecords"]} == {
            *found["DelegationSet"]["NameServers"]
        }


def test_in_sync_comes_by_itself(aws_api: AwsApi, route53: Any) -> None:
    aws_api.settings(insync_delay_seconds=0.2)
    change = _batch(route53, _change("CREATE", OLD))["ChangeInfo"]
    deadline = time.monotonic() + 30
    while route53.get_change(Id=change["Id"])["ChangeInfo"]["Status"] != "INSYNC":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _protection(name: str = NAME, **more: str) -> dict[str, str]:
    return {"RecordName": name, "RecordType": "CNAME", **more}


def _protections(route53: Any) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = route53.list_resource_record_set_protections(HostedZoneId=HOSTED_ZONE_ID)[
        "ResourceRecordSetProtections"
    ]
    return listed


def test_protected_record_stays_until_its_protection_is_deleted(route53: Any) -> None:
    _batch(route53, _change("CREATE", OLD))
    route53.create_resource_record_set_protections(
        HostedZoneId=HOSTED_ZONE_ID, Protections=[_protection(NAME.rstrip("."), Comment="ask first")]
    )
    assert _protections(route53) == [_protection(Comment="ask first")]
    with pytest.raises(ClientError, match="is protected: ask first") as caught:
        _batch(route53, _change("DELETE", OLD), _change("CREATE", NEW))
    assert caught.value.response["Error"]["Code"] == "InvalidChangeBatch"

    route53.delete_resource_record_set_protections(HostedZoneId=HOSTED_ZONE_ID, Protections=[_protection()])

    assert _protections(route53) == []
    _batch(route53, _change("DELETE", OLD), _change("CREATE", NEW))


def test_protections_are_created_and_deleted_all_or_none(route53: Any) -> None:
    other = _protection("mqtt2.example.com.")
    route53.create_resource_record_set_protections(HostedZoneId=HOSTED_ZONE_ID, Protections=[_protection()])

    def refused(call: Any, *protections: dict[str, str]) -> str:
        with pytest.raises(ClientError) as caught:
            call(HostedZoneId=HOSTED_ZONE_ID, Protections=list(protections))
        return str(caught.value.response["Error"]["Code"])

    create, delete = route53.create_resource_record_set_protections, route53.delete_resource_record_set_protections
    assert refused(create, _protection()) == "ProtectionAlreadyExists"
    assert refused(create, _protection(), other) == "InvalidResourceRecordSetProtectionBatch"
    assert refused(create, _protection("mqtt1.example.org.")) == "InvalidResourceRecordSetProtectionBatch"
    assert refused(delete, _protection(), other) == "InvalidResourceRecordSetProtectionBatch"
    assert _protections(route53) == [_protection()]
