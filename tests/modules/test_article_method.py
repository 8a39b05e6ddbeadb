"""The article's switcher, which the bench compares with: it does what the article says, and no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import boto3

from tests.bench import sweeps
from tests.modules.conftest import REPOSITORY, AwsApi

OLD, NEW = "us-east-1", "ap-northeast-1"
HOSTS = {region: f"a2labrehearsal-ats.iot.{region}.amazonaws.com" for region in (OLD, NEW)}


def environment(api: AwsApi, clients: Path) -> dict[str, str]:
    return {
        **os.environ,
        "AWS_ENDPOINT_URL": api.url,
        "AWS_ACCESS_KEY_ID": "lab",
        "AWS_SECRET_ACCESS_KEY": "lab",
        "AWS_DEFAULT_REGION": OLD,
        "HOSTED_ZONE_ID": api.hosted_zone_id,
        "REGION_ENDPOINTS": json.dumps(HOSTS),
        "CLIENTS": str(clients),
    }


def test_it_upserts_each_record_and_disconnects_everybody_in_both_regions(aws_api: AwsApi, tmp_path: Path) -> None:
    clients = tmp_path / "clients.txt"
    clients.write_text("client_01\nclient_02\n")
    # One that is to move, and one that belongs where it is.
    aws_api.connect(OLD, "client_01")
    aws_api.connect(NEW, "client_02")
    command = [sys.executable, str(REPOSITORY / "tests/bench/article/dr.py"), "mode=3"]

    subprocess.run(command, env=environment(aws_api, clients), check=True, capture_output=True)

    assert aws_api.operations() == ["ChangeResourceRecordSets"] * 2 + ["DeleteConnection"] * 4
    calls = [each for each in aws_api.requests() if each["operation"] == "DeleteConnection"]
    assert [each["region"] for each in calls] == [OLD, OLD, NEW, NEW]
    assert [each["status"] for each in calls] == [200, 404, 404, 200]
    route53 = boto3.client(
        "route53", OLD, endpoint_url=aws_api.url, aws_access_key_id="lab", aws_secret_access_key="lab"
    )
    listed = route53.list_resource_record_sets(HostedZoneId=aws_api.hosted_zone_id)["ResourceRecordSets"]
    assert {each["Name"]: each["ResourceRecords"][0]["Value"] for each in listed if each["Type"] == "CNAME"} == {
        "mqtt1.example.com.": HOSTS[NEW],
        "mqtt2.example.com.": HOSTS[NEW],
    }


def test_other_sweeps_leave_what_the_quota_refuses_or_try_it_again(aws_api: AwsApi, tmp_path: Path) -> None:
    clients = tmp_path / "clients.txt"
    names = [f"client_{number:02}" for number in range(40)]
    clients.write_text("\n".join(names))
    aws_api.settings(quotas={"DeleteConnection": 10.0})
    seen = {}
    for method in sweeps.METHODS:
        for name in names:
            aws_api.connect(OLD, name)
        after = len(aws_api.requests())
        command = [sys.executable, "-m", "tests.bench.sweeps", method, OLD]
        done = subprocess.run(
            command, cwd=REPOSITORY, env=environment(aws_api, clients), check=True, capture_output=True, text=True
        )
        statuses = Counter(each["status"] for each in aws_api.requests()[after:])
        seen[method] = (statuses, done.stdout.count("ThrottlingException"))

    unpaced, refused = seen["pool"]
    assert sum(unpaced.values()) == len(names)
    assert unpaced[429] == refused > 0
    for method in ("loop", "pool with retries"):
        statuses, given_up = seen[method]
        assert statuses[200] == len(names) - given_up
        assert sum(statuses.values()) > len(names)
