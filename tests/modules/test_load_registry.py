"""The load's clients in the account: registered once, and gone without a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest

from lab.errors import LabError
from lab.load import registry
from tests.modules.conftest import REGIONS, AwsApi


def things(region: str) -> dict[str, Any]:
    found = boto3.client("iot", region_name=region).list_things()["things"]
    return {thing["thingName"]: thing["attributes"] for thing in found}


def test_clients_are_registered_in_both_regions_under_one_certificate(aws_api: AwsApi, tmp_path: Path) -> None:
    registry.register(3, REGIONS, tmp_path)
    for region in REGIONS:
        assert things(region) == {
            "load-0001": {"mqtt_endpoint": "mqtt1.example.com"},
            "load-0002": {"mqtt_endpoint": "mqtt2.example.com"},
            "load-0003": {"mqtt_endpoint": "mqtt1.example.com"},
        }
        iot = boto3.client("iot", region_name=region)
        (certificate,) = iot.list_certificates()["certificates"]
        assert certificate["status"] == "ACTIVE"
        (policy,) = iot.list_attached_policies(target=certificate["certificateArn"])["policies"]
        assert f"arn:aws:iot:{region}:" in iot.get_policy(policyName=policy["policyName"])["policyDocument"]
    assert (tmp_path / "load.key").stat().st_mode & 0o777 == 0o600


def test_a_second_registration_changes_nothing_and_a_smaller_one_takes_away(aws_api: AwsApi, tmp_path: Path) -> None:
    registry.register(3, REGIONS, tmp_path)
    last = aws_api.requests()[-1]["n"]
    registry.register(3, REGIONS, tmp_path)
    assert aws_api.writes(last) == []
    registry.register(1, REGIONS, tmp_path)
    assert aws_api.writes(last) == ["DeleteThing"] * 4
    assert [set(things(region)) for region in REGIONS] == [{"load-0001"}] * 2


def test_an_account_that_forgot_the_certificate_is_told_it_again(aws_api: AwsApi, tmp_path: Path) -> None:
    registry.register(1, REGIONS, tmp_path)
    before = (tmp_path / "load.crt").read_bytes()
    aws_api.reset()
    registry.register(1, REGIONS, tmp_path)
    assert (tmp_path / "load.crt").read_bytes() == before
    assert "CreateCertificateFromCsr" not in aws_api.operations()


def test_removal_takes_all_of_the_load_and_nothing_else(aws_api: AwsApi, tmp_path: Path) -> None:
    boto3.client("iot").create_thing(thingName="client_01")
    registry.register(2, REGIONS, tmp_path)
    for _ in range(2):
        registry.remove(REGIONS, tmp_path)
        for region in REGIONS:
            iot = boto3.client("iot", region_name=region)
            assert set(things(region)) == ({"client_01"} if region == REGIONS[0] else set())
            assert iot.list_certificates()["certificates"] == []
            assert iot.list_policies()["policies"] == []


def test_what_aws_refuses_is_one_line(aws_api: AwsApi, tmp_path: Path) -> None:
    aws_api.faults(
        {"operation": "CreateThing", "kind": "error", "status": 403, "code": "AccessDeniedException", "times": None}
    )
    with pytest.raises(LabError, match="CreateThing") as refused:
        registry.register(1, REGIONS, tmp_path)
    assert "\n" not in str(refused.value)
