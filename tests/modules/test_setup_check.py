"""What `setup.yml --check` says is what the run then does; and a run limited to a region."""

from __future__ import annotations

import json
from pathlib import Path

import boto3
import pytest

from .conftest import HOSTED_ZONE_ID, AwsApi
from .modules import last_request
from .playbooks import DEVICE, ENDPOINT, Fleet, Run, add_request, make_fleet
from .zone_server import zone_server

REGION, OTHER = "us-east-1", "ap-northeast-1"
DENY = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}


def foretold(aws_api: AwsApi, fleet: Fleet) -> Run:
    """Assert that a check writes nothing, and says what the run then changes."""
    last, files = last_request(aws_api), fleet.files()
    check = fleet.play("setup.yml", "--check")
    assert check.returncode == 0, check.output
    assert aws_api.writes(last) == []
    assert fleet.files() == files

    run = fleet.play("setup.yml")

    assert run.returncode == 0, run.output
    assert check.changed == run.changed
    return run


def tasks(run: Run) -> set[str]:
    return {line.partition(" [")[0] for line in run.changed}


def drift(fleet: Fleet) -> None:
    """Change what a setup has made, by other hands: a policy, the index, a client, the record, files."""
    iot, route53 = boto3.client("iot", region_name=REGION), boto3.client("route53")
    iot.create_policy_version(policyName="mqtt-fleet-device", policyDocument=json.dumps(DENY), setAsDefault=True)
    iot.update_indexing_configuration(thingIndexingConfiguration={"thingIndexingMode": "OFF"})
    iot.update_thing(thingName=DEVICE, attributePayload={"attributes": {"mqtt_endpoint": "mqtt9.example.com"}})
    (record,) = [
        each
        for each in route53.list_resource_record_sets(HostedZoneId=HOSTED_ZONE_ID)["ResourceRecordSets"]
        if each["Type"] == "CNAME"
    ]
    changes = [{"Action": "UPSERT", "ResourceRecordSet": {**record, "TTL": 300}}]
    route53.change_resource_record_sets(HostedZoneId=HOSTED_ZONE_ID, ChangeBatch={"Changes": changes})
    (fleet.certificates / "clients" / "fleet-monitor.csr").unlink()
    (fleet.certificates / f"{ENDPOINT}.crt").unlink()


def test_check_says_what_the_run_changes_on_a_new_inventory_and_after_drift(aws_api: AwsApi, tmp_path: Path) -> None:
    with zone_server() as resolver:
        fleet = make_fleet(tmp_path, resolver, regions=[REGION])
        add_request(fleet)

        made = foretold(aws_api, fleet)
        assert {task.partition(" : ")[0] for task in tasks(made)} == {"pki", "iot_region", "dns_records"}

        drift(fleet)
        mended = foretold(aws_api, fleet)

    assert tasks(mended) == {
        "pki : Create the signing requests of the clients",
        "pki : Create the CA and the certificates of the servers",
        "iot_region : Index the connectivity of things",
        "iot_region : Import the server certificates",
        "iot_region : Create the policies",
        "iot_region : Issue the certificates of the clients, and register them",
        "dns_records : Create the records",
    }


@pytest.mark.parametrize("arguments", [[], ["--check"]], ids=["run", "check"])
def test_missing_proof_of_a_name_is_said_before_anything_is_written(
    aws_api: AwsApi, tmp_path: Path, arguments: list[str]
) -> None:
    with zone_server() as resolver:
        fleet = make_fleet(tmp_path, resolver)
        hosts = fleet.hosts()
        hosts["all"]["children"]["regions"]["hosts"][OTHER] = None
        fleet.write_hosts(hosts)

        run = fleet.play("setup.yml", *arguments)

    assert run.returncode == 2, run.output
    (line,) = run.errors
    assert line.startswith(f"{ENDPOINT} in {OTHER}: found a server certificate of a private CA, and none that proves")
    assert "\n" not in line
    assert aws_api.writes() == []
    assert fleet.files() == {}
