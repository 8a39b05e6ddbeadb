"""The modules that look at the inventory and at AWS before anything else does."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.region_switch import caller

from .conftest import AwsApi
from .modules import error_of, run_ok

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
