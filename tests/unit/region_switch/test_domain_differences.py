"""Two domain configurations of one name: what a device that one admits is refused for by the other."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.region_switch.checks.domain_differences import Difference, compare

POLICY = "IoTSecurityPolicy_TLS"
USUAL: dict[str, Any] = {
    "authenticationType": "AWS_X509",
    "applicationProtocol": "SECURE_MQTT",
    "tlsConfig": {"securityPolicy": f"{POLICY}13_1_2_2022_10"},
}


def tls(policy: str) -> dict[str, Any]:
    return {"tlsConfig": {"securityPolicy": POLICY + policy}}


def authorizer(name: str, override: bool = False) -> dict[str, Any]:
    return {"authorizerConfig": {"defaultAuthorizerName": name, "allowAuthorizerOverride": override}}


def test_the_same_is_no_difference() -> None:
    assert compare(USUAL, dict(USUAL)) == []
    assert compare({"authenticationType": "DEFAULT"}, {"authorizerConfig": {}, "tlsConfig": None}) == []


@pytest.mark.parametrize("key", ["authenticationType", "applicationProtocol"])
def test_another_way_to_connect_is_a_reason(key: str) -> None:
    assert compare(USUAL, {**USUAL, key: "DEFAULT"}) == [Difference(True, f"{key} DEFAULT", USUAL[key])]
    assert [each.blocking for each in compare({**USUAL, key: None}, USUAL)] == [True]


@pytest.mark.parametrize(
    ("left", "target", "blocking"),
    [
        ({}, authorizer("mine"), True),
        (authorizer("mine"), {}, True),
        (authorizer("mine", override=True), authorizer("mine"), True),
        # Authorizers are regional, and so are their names.
        (authorizer("mine"), authorizer("yours"), False),
    ],
)
def test_another_authorizer(left: dict[str, Any], target: dict[str, Any], blocking: bool) -> None:
    assert [each.blocking for each in compare({**USUAL, **left}, {**USUAL, **target})] == [blocking]


@pytest.mark.parametrize(
    ("left", "target", "blocking"),
    [
        # The same, under the Region's name for it.
        ("12_1_0_2015_01", "12_1_0_2016_01", []),
        # The target speaks all that devices may.
        ("13_1_3_2022_10", "13_1_2_2022_10", [False]),
        ("12_1_2_2022_10", "13_1_2_2022_10", [False]),
        # It does not.
        ("13_1_2_2022_10", "13_1_3_2022_10", [True]),
        ("12_1_0_2016_01", "12_1_2_2022_10", [True]),
        ("13_1_2_2022_10", "12_1_2_2022_10", [True]),
        ("13_1_2_2022_10", "_of_next_year", [True]),
    ],
)
def test_another_tls_policy(left: str, target: str, blocking: list[bool]) -> None:
    assert [each.blocking for each in compare({**USUAL, **tls(left)}, {**USUAL, **tls(target)})] == blocking
