"""The modules that look at the inventory and at AWS before anything else does."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
import yaml
from ansible.module_utils.region_switch import account, caller
from ansible.module_utils.region_switch.aws import Aws
from ansible.module_utils.region_switch.errors import AwsError, RefusedError, SwitchError
from ansible.module_utils.region_switch.hosted_zone import Zone

from .conftest import HOSTED_ZONE_ID, NAME_SERVERS, REPOSITORY, AwsApi
from .modules import error_of, last_request, run_ok
from .test_setup_modules import ATS, upsert
from .zone_server import zone_server

REGION, OTHER = "us-east-1", "ap-northeast-1"
MODULE = "failover_inventory_info"
INVENTORY: dict[str, Any] = {
    "modes": {3: {"mqtt1.example.com": REGION}},
    "endpoints": ["mqtt1.example.com"],
    "regions": [REGION],
    "resolvers": ["192.0.2.53"],
    "record_ttl": "60",
}
ASKING = {**INVENTORY, "regions": [REGION, OTHER], "caller_hint": "Log in again."}


def test_first_region_that_answers_says_who_is_calling(aws_api: AwsApi) -> None:
    found = run_ok(MODULE, ASKING)

    assert found["changed"] is False
    assert (found["caller"]["account"], found["caller"]["region"]) == (aws_api.account_id, REGION)
    assert aws_api.operations().count("GetCallerIdentity") == 1


@pytest.mark.parametrize("fault", [{"kind": "hang"}, {"kind": "error", "status": 403, "code": "InvalidClientTokenId"}])
def test_region_that_is_gone_or_refuses_is_passed_over(
    aws_api: AwsApi, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    monkeypatch.setattr(caller, "TIMEOUT", 0.3)
    aws_api.faults({"operation": "GetCallerIdentity", "region": REGION, **fault})

    assert run_ok(MODULE, ASKING)["caller"]["region"] == OTHER


def test_aws_that_answers_nowhere_is_said_in_one_line(aws_api: AwsApi, monkeypatch: pytest.MonkeyPatch) -> None:
    aws_api.faults({"operation": "*", "kind": "error", "status": 403, "code": "AccessDenied"})

    error = error_of(MODULE, ASKING)

    assert error.startswith("AWS API: found no region that answers GetCallerIdentity (us-east-1: AccessDenied (")
    assert "; ap-northeast-1: AccessDenied (" in error
    assert error.endswith(", expected one: Log in again.")


def test_credentials_that_have_expired_are_said_once_with_what_to_do(aws_api: AwsApi) -> None:
    aws_api.faults({"operation": "*", "kind": "error", "status": 403, "code": "ExpiredToken"})

    error = error_of(MODULE, ASKING)

    assert error.startswith("GetCallerIdentity in us-east-1: found ExpiredToken (")
    assert error.endswith(", expected success: log in again (aws sso login, or what gave you these credentials), then "
                          "run again")  # fmt: skip


def test_address_of_aws_that_is_none_is_said_in_one_line(aws_api: AwsApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "stand-in")

    assert "AWS API: found no region that answers" in error_of(MODULE, ASKING)


def test_good_inventory_is_taken() -> None:
    assert run_ok(MODULE, INVENTORY)["modes"] == {"3": {"mqtt1.example.com": REGION}}


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("endpoints", {"mqtt1.example.com": REGION}, "endpoints: found {'mqtt1.example.com': 'us-east-1'}, expected"),
        ("regions", [], "regions: found none, expected at least one"),
        ("resolvers", ["resolver.example.com"], "resolver resolver.example.com: found no IP address, expected"),
        ("record_ttl", -1, "dns_record_ttl: found -1, expected"),
    ],
)
def test_wrong_inventory_is_refused_by_name(name: str, value: object, found: str) -> None:
    assert error_of(MODULE, {**INVENTORY, name: value}).startswith(found)


def test_nobody_is_asked_where_no_hint_is_given_or_the_inventory_is_wrong(aws_api: AwsApi) -> None:
    error_of(MODULE, {**ASKING, "regions": []})
    run_ok(MODULE, INVENTORY)

    assert "GetCallerIdentity" not in aws_api.operations()


SETUP: dict[str, Any] = {
    **{name: value for name, value in ASKING.items() if name != "resolvers"},
    "modes": {"1": {"mqtt1.example.com": REGION}, "2": {"mqtt1.example.com": OTHER}},
    "hosted_zone_id": HOSTED_ZONE_ID,
    "setup": {"initial_mode": "1", "issuing_region": REGION, "regions": [REGION, OTHER]},
}


def setup(**changes: Any) -> dict[str, Any]:
    """Options for a check before a setup; `endpoints` and `regions` also make the table."""
    endpoints, regions = changes.get("endpoints", SETUP["endpoints"]), changes.get("regions", SETUP["regions"])
    modes = {str(number): dict.fromkeys(endpoints, region) for number, region in enumerate(regions, 1)}
    asked = {"initial_mode": "1", "issuing_region": regions[0], "regions": regions}
    return {**SETUP, "modes": modes, "setup": asked, **changes}


def zone(name: str, private: bool = False) -> str:
    """Make a hosted zone."""
    more: dict[str, Any] = {"VPC": {"VPCRegion": REGION, "VPCId": "vpc-0f3a"}} if private else {}
    made = boto3.client("route53").create_hosted_zone(
        Name=name, CallerReference=name, HostedZoneConfig={"Comment": "", "PrivateZone": private}, **more
    )
    return str(made["HostedZone"]["Id"]).rpartition("/")[2]


def test_inventory_that_fits_the_account_is_taken_and_nothing_is_written(aws_api: AwsApi) -> None:
    after = last_request(aws_api)

    assert run_ok(MODULE, SETUP)["caller"]["account"] == aws_api.account_id
    upsert("mqtt1.example.com", ATS[OTHER])
    made = last_request(aws_api)
    run_ok(MODULE, setup(hosted_zone_id=f"/hostedzone/{HOSTED_ZONE_ID}"))

    assert aws_api.writes(after) == ["ChangeResourceRecordSets"]
    assert aws_api.writes(made) == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"hosted_zone_id": "Z0123456789EXAMPLE"}, "hosted_zone_id: found no hosted zone Z0123456789EXAMPLE in this"),
        (
            {"endpoints": ["mqtt1.example.org"]},
            f"endpoint mqtt1.example.org: found the hosted zone {HOSTED_ZONE_ID} of e",
        ),
        ({"endpoints": ["mqtt1.notexample.com"]}, "endpoint mqtt1.notexample.com: found the hosted zone"),
        (
            {"endpoints": ["example.com"]},
            f"endpoint example.com: found the apex of the hosted zone {HOSTED_ZONE_ID}, where",
        ),
        ({"endpoints": ["EXAMPLE.com"]}, "endpoint example.com: found the apex of the hosted zone"),
    ],
)
def test_inventory_that_does_not_fit_the_account_is_refused(
    aws_api: AwsApi, changes: dict[str, Any], found: str
) -> None:
    after = last_request(aws_api)

    assert error_of(MODULE, setup(**changes)).startswith(found)
    assert aws_api.writes(after) == []


@pytest.mark.parametrize("private", [True, False])
def test_zone_that_resolvers_do_not_ask_is_refused_before_anything_is_made(aws_api: AwsApi, private: bool) -> None:
    other = zone("example.com", private)
    after = last_request(aws_api)

    with zone_server() as resolver:
        error = error_of(MODULE, setup(hosted_zone_id=other, resolvers=[resolver]))
        waived = {**SETUP["setup"], "waive": ["hosted_zone"]}
        run_ok(MODULE, {**SETUP, "hosted_zone_id": other, "resolvers": [resolver], "setup": waived})
        run_ok(MODULE, {**SETUP, "resolvers": [resolver]})

    found = f"the private zone {other}" if private else f"{', '.join(NAME_SERVERS)} for the name servers of this zone"
    assert error.startswith(f"hosted_zone (example.com): found {found}")
    assert aws_api.writes(after) == []


def test_endpoint_below_a_delegation_is_refused_before_anything_is_made(aws_api: AwsApi) -> None:
    servers = [{"Value": "ns1.example.net."}]
    delegation = {"Name": "iot.example.com", "Type": "NS", "TTL": 60, "ResourceRecords": servers}
    boto3.client("route53").change_resource_record_sets(
        HostedZoneId=HOSTED_ZONE_ID, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": delegation}]}
    )
    after = last_request(aws_api)

    error = error_of(MODULE, setup(endpoints=["mqtt.a.iot.example.com", "mqtt1.example.com"]))

    assert error == (
        "hosted_zone (mqtt.a.iot.example.com): found iot.example.com delegated to other name servers, expected a zone "
        "that is asked for it: name the zone of iot.example.com in hosted_zone_id"
    )
    assert aws_api.writes(after) == []


def test_endpoints_are_names_in_the_zone() -> None:
    # The final dot and the case of names say nothing.
    account.check_endpoints(Zone("Z1", "example.com"), ["MQTT.example.com.", "a.b.example.com"])

    with pytest.raises(RefusedError, match="apex"):
        account.check_endpoints(Zone("Z1", "example.com"), ["example.com"])
    with pytest.raises(SwitchError, match="GetHostedZone: found"):
        account.check_endpoints(Zone("Z1", ""), ["example.com"])


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (
            {"Type": "CNAME", "ResourceRecords": [{"Value": "broker.example.net"}]},
            "record mqtt1.example.com: found broker",
        ),
        (
            {"Type": "A", "ResourceRecords": [{"Value": "192.0.2.1"}]},
            "record mqtt1.example.com: found 1 record set(s) of type A",
        ),
    ],
)
def test_record_that_is_not_ours_is_found_before_anything_is_made(
    aws_api: AwsApi, record: dict[str, Any], found: str
) -> None:
    changes = [{"Action": "CREATE", "ResourceRecordSet": {"Name": "mqtt1.example.com", "TTL": 0, **record}}]
    boto3.client("route53").change_resource_record_sets(HostedZoneId=HOSTED_ZONE_ID, ChangeBatch={"Changes": changes})

    assert error_of(MODULE, SETUP).startswith(found)


def test_region_that_does_not_answer_is_passed_over_and_one_that_refuses_is_named(aws_api: AwsApi) -> None:
    aws_api.faults({"operation": "DescribeEndpoint", "region": OTHER, "kind": "error", "status": 503})
    run_ok(MODULE, SETUP)

    denied = {"status": 403, "code": "UnrecognizedClientException"}
    aws_api.faults({"operation": "DescribeEndpoint", "region": OTHER, "kind": "error", **denied})
    assert error_of(MODULE, SETUP).startswith("region ap-northeast-1: found UnrecognizedClientException (")
    # Another region is set up.
    run_ok(MODULE, {**SETUP, "setup": {**SETUP["setup"], "regions": [REGION]}})


def test_region_that_there_is_not_is_named_with_the_one_that_is_meant(aws_api: AwsApi) -> None:
    aws_api.faults({"operation": "DescribeEndpoint", "region": "us-est-1", "kind": "error", "status": 503})

    error = error_of(MODULE, setup(regions=[REGION, "us-est-1"]))

    assert error.startswith(
        "region us-est-1: found none that AWS IoT is known to be in and no answer from it, expected"
    )
    assert "such as us-east-1 or us-west-1:" in error


def test_wrong_setting_of_a_setup_is_refused_before_aws_is_asked(aws_api: AwsApi) -> None:
    asked = {"initial_mode": "9", "issuing_region": REGION, "regions": [REGION]}

    assert error_of(MODULE, {**SETUP, "setup": asked}).startswith(
        "dns_records_initial_mode: found '9', expected one of"
    )
    assert aws_api.operations() == []


def test_calls_of_the_labs_inventory_go_past_a_proxy(aws_api: AwsApi, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = yaml.safe_load((REPOSITORY / "inventory" / "lab" / "group_vars" / "all" / "lab.yml").read_text())
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert "found no region that answers" in error_of(MODULE, ASKING)

    for name, value in variables["aws_environment"].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_api.url)

    run_ok(MODULE, ASKING)
    with pytest.raises(AwsError) as nobody:
        Aws([REGION]).data[REGION].call("GetConnection", clientId="nobody")
    assert nobody.value.not_found
