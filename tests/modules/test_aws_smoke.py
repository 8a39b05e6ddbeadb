"""The smoke run for an account, against the stand-in: what it makes is removed, what it keeps is nobody's."""

from __future__ import annotations

import json
from pathlib import Path

import boto3
import pytest

from lab.aws_api.operations import Models
from tests.aws_smoke.__main__ import main
from tests.aws_smoke.recorder import PREFIX, differences, load

from .conftest import ACCOUNT_ID, HOSTED_ZONE_ID, REGIONS, AwsApi

RECORD = {"Name": "kept.example.com", "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": "a.example.net"}]}
FREE = 5
NOTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "iot:*", "Resource": "*"}]}


@pytest.fixture
def record(aws_api: AwsApi) -> None:
    change = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": RECORD}]}
    boto3.client("route53").change_resource_record_sets(HostedZoneId=HOSTED_ZONE_ID, ChangeBatch=change)


def smoke(folder: Path, *arguments: str) -> int:
    return main(["--answers", str(folder), "--zone-id", HOSTED_ZONE_ID, *arguments])


def made(region: str) -> dict[str, list[str]]:
    """What there is in a region that a run could have made."""
    iot, acm = boto3.client("iot", region_name=region), boto3.client("acm", region_name=region)
    keys = {"Includes": {"keyTypes": ["RSA_2048", "EC_prime256v1"]}}
    return {
        "things": [each["thingName"] for each in iot.list_things()["things"]],
        "policies": [each["policyName"] for each in iot.list_policies()["policies"]],
        "certificates": [each["certificateId"] for each in iot.list_certificates()["certificates"]],
        "domains": [
            each["domainConfigurationName"] for each in iot.list_domain_configurations()["domainConfigurations"]
        ],
        "acm": [each["CertificateArn"] for each in acm.list_certificates(**keys)["CertificateSummaryList"]],
    }


def test_without_credentials_it_says_what_it_would_do(
    aws_api: AwsApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    assert main([]) == 0

    said = capsys.readouterr().out
    assert "DeleteConnection" not in aws_api.operations()
    assert aws_api.operations() == []
    assert said.count("costs:") == FREE + 1
    assert "only with --with-costs" in said


def test_everything_made_is_removed(
    aws_api: AwsApi, record: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {region: made(region) for region in REGIONS}

    code = smoke(tmp_path / "answers")

    said = capsys.readouterr().out
    assert (code, "OTHERWISE" in said) == (0, False), said
    assert {region: made(region) for region in REGIONS} == before
    assert {"CreateThing", "CreatePolicy", "CreateCertificateFromCsr"} <= set(aws_api.writes())
    assert "UpdateIndexingConfiguration" not in aws_api.operations()
    assert "ImportCertificate" not in aws_api.operations()


def test_connections_are_asked_for_at_both_endpoints_and_in_both_ways(
    aws_api: AwsApi, record: None, tmp_path: Path
) -> None:
    smoke(tmp_path / "answers")

    names = [answer.operation for _, answer in load(tmp_path / "answers") if answer.service == "iot-data"]
    # Two endpoints, two ways, four client IDs.
    assert (names.count("GetConnection"), names.count("DeleteConnection")) == (16, 16)


def test_connection_that_somebody_has_is_not_deleted(
    aws_api: AwsApi, record: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    aws_api.faults({"operation": "GetConnection", "kind": "error", "status": 403, "code": "ForbiddenException"})

    assert smoke(tmp_path / "answers") == 1

    assert "DeleteConnection" not in aws_api.operations()
    assert "found ForbiddenException, expected ResourceNotFoundException" in capsys.readouterr().out


def test_refused_batches_leave_the_zone_as_it_was(aws_api: AwsApi, record: None, tmp_path: Path) -> None:
    route53 = boto3.client("route53")
    before = route53.list_resource_record_sets(HostedZoneId=HOSTED_ZONE_ID)["ResourceRecordSets"]

    smoke(tmp_path / "answers")

    refused = [each for _, each in load(tmp_path / "answers") if each.operation == "ChangeResourceRecordSets"]
    assert [each.status for each in refused] == [400, 400, 400]
    assert all(each.body.startswith("<") for each in refused)
    assert route53.list_resource_record_sets(HostedZoneId=HOSTED_ZONE_ID)["ResourceRecordSets"] == before


def test_what_cannot_be_removed_is_named(
    aws_api: AwsApi, record: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    aws_api.faults({"operation": "DeletePolicy", "kind": "error", "status": 409, "code": "DeleteConflictException"})

    assert smoke(tmp_path / "answers") == 1

    (policy,) = made(REGIONS[0])["policies"]
    assert f"LEFT OVER: policy {policy} in {REGIONS[0]}: remove it by hand" in capsys.readouterr().out
    assert made(REGIONS[0])["things"] == []


def test_what_costs_is_undone_too(
    aws_api: AwsApi, record: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = made(REGIONS[0])

    smoke(tmp_path / "answers", "--with-costs", "--domain", "smoke.example.com")

    assert made(REGIONS[0]) == before
    assert "LEFT OVER" not in capsys.readouterr().out
    assert {"UpdateIndexingConfiguration", "ImportCertificate"} <= set(aws_api.writes())
    configuration = boto3.client("iot").get_indexing_configuration()["thingIndexingConfiguration"]
    assert configuration["thingIndexingMode"] == "OFF"


def test_kept_answers_are_nobodys_and_conform(aws_api: AwsApi, record: None, tmp_path: Path) -> None:
    iot = boto3.client("iot", region_name=REGIONS[0])
    iot.create_thing(thingName="ours-17", attributePayload={"attributes": {"place": "Cellar"}})
    iot.create_policy(policyName="ours-18", policyDocument=json.dumps(NOTHING))

    smoke(tmp_path / "answers")

    answers = load(tmp_path / "answers")
    text = "".join(path.read_text() for path in (tmp_path / "answers").iterdir())
    for secret in ("ours-1", "Cellar", HOSTED_ZONE_ID, "kept.example.com", "a.example.net", "AKIA", "SessionToken"):
        assert secret not in text
    assert PREFIX in text
    models = Models()
    assert [(name, line) for name, answer in answers for line in differences(models, answer)] == []
    assert main(["--check", str(tmp_path / "answers")]) == 0


def test_answer_that_is_not_as_the_models_say_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"service": "iot", "operation": "ListThings", "status": 200, "headers": {}, "body": '{"things": {}}'}
    (tmp_path / "001.json").write_text(json.dumps(answer))

    assert main(["--check", str(tmp_path)]) == 1

    assert "001.json: things: found {}, the model says a list" in capsys.readouterr().out


def test_answers_of_an_account_conform() -> None:
    """Those that somebody with an account has handed in."""
    answers = load(Path(__file__).parent.parent / "aws_smoke" / "answers")
    if not answers:
        pytest.skip("nobody with an account has handed in answers of AWS yet")
    models = Models()

    assert [(name, line) for name, answer in answers for line in differences(models, answer)] == []


def test_account_number_is_replaced(aws_api: AwsApi, record: None, tmp_path: Path) -> None:
    smoke(tmp_path / "answers")

    (identity,) = [each for _, each in load(tmp_path / "answers") if each.operation == "GetCallerIdentity"]
    assert ACCOUNT_ID in identity.body
    assert "moto" not in identity.body
