"""Quotas and faults."""

from __future__ import annotations

import threading

import pytest

from lab.aws_api.faults import Faults
from lab.aws_api.quotas import Quotas


def test_a_second_s_worth_passes_and_no_more() -> None:
    now = [0.0]
    quotas = Quotas(clock=lambda: now[0])

    def passed(count: int, offset: int) -> int:
        calls = (f"client_{offset + number}" for number in range(count))
        return sum(quotas.exceeded("iot-data", "DeleteConnection", "us-east-1", name) is None for name in calls)

    assert passed(150, 0) == 100
    assert quotas.exceeded("iot-data", "DeleteConnection", "ap-northeast-1", "client_0") is None
    assert quotas.exceeded("iot-data", "GetConnection", "us-east-1", "client_0") is None
    now[0] = 0.5
    assert passed(150, 1000) == 50


def test_one_client_once_a_second() -> None:
    now = [0.0]
    quotas = Quotas(clock=lambda: now[0])
    call = ("iot-data", "DeleteConnection", "us-east-1", "client_01")
    assert quotas.exceeded(*call) is None
    assert "one client ID" in str(quotas.exceeded(*call))
    now[0] = 1.0
    assert quotas.exceeded(*call) is None


@pytest.mark.parametrize("operation", [("iot", "CreateDomainConfiguration"), ("acm", "ImportCertificate")])
def test_control_plane_is_slower_than_loops(operation: tuple[str, str]) -> None:
    now = [0.0]
    quotas = Quotas(clock=lambda: now[0])
    assert quotas.exceeded(*operation, "us-east-1") is None
    now[0] = 0.9
    assert "Rate exceeded (1 requests per second in us-east-1)" in str(quotas.exceeded(*operation, "us-east-1"))
    assert quotas.exceeded(*operation, "ap-northeast-1") is None
    now[0] = 1.0
    assert quotas.exceeded(*operation, "us-east-1") is None


def test_fault_hits_as_often_as_said_and_where() -> None:
    faults = Faults()
    faults.replace([{"operation": "*", "kind": "throttle", "region": "us-east-1", "times": 2}])
    assert not faults.hitting("GetChange", "ap-northeast-1")
    assert [len(faults.hitting("GetChange", "us-east-1")) for _ in range(3)] == [1, 1, 0]


def hits(fault: dict[str, object], calls: int) -> list[int]:
    faults = Faults()
    faults.replace([{"operation": "DeleteConnection", "kind": "error", **fault}])
    return [len(faults.hitting("DeleteConnection", "us-east-1")) for _ in range(calls)]


def test_half_of_the_calls_is_every_other_one() -> None:
    assert hits({"share": 0.5}, 4) == [1, 0, 1, 0]
    assert sum(hits({"share": 0.3}, 100)) == 30
    assert hits({"share": 0}, 3) == [0, 0, 0]


def test_fault_means_what_a_request_contains() -> None:
    faults = Faults()
    faults.replace([{"operation": "*", "kind": "hold", "containing": "/connections/client_", "after": 1}])
    paths = ["/connections/probe", "/connections/client_01", "/connections/probe", "/connections/client_02"]
    assert [len(faults.hitting("DeleteConnection", None, path)) for path in paths] == [0, 0, 0, 1]


def test_fault_lets_the_first_calls_pass() -> None:
    assert hits({"after": 2, "times": 1}, 4) == [0, 0, 1, 0]


def test_region_that_is_gone_does_not_take_global_services_with_it() -> None:
    faults = Faults()
    faults.replace([{"operation": "*", "kind": "hang", "region": "us-east-1"}])
    assert faults.hitting("ListResourceRecordSets", None) == []
    assert faults.hitting("DescribeEndpoint", "us-east-1")


def test_call_is_held_until_its_fault_ends() -> None:
    faults = Faults()
    faults.replace([{"operation": "ChangeResourceRecordSets", "kind": "hold", "times": 1}])
    [hold] = faults.hitting("ChangeResourceRecordSets", None)
    held = threading.Thread(target=faults.wait_for_end, args=(hold, 30.0))
    held.start()
    assert [fault["hits"] for fault in faults.listed()] == [1]
    assert held.is_alive()
    assert faults.hitting("ChangeResourceRecordSets", None) == []

    faults.replace([])

    held.join(10)
    assert not held.is_alive()


def test_quota_that_is_not_aws_s_default() -> None:
    now = [0.0]
    quotas = Quotas(clock=lambda: now[0])

    def passed(count: int, allowed: float | None) -> int:
        names = (f"client_{number}" for number in range(count))
        calls = (quotas.exceeded("iot-data", "DeleteConnection", "us-east-1", name, allowed) for name in names)
        return sum(call is None for call in calls)

    assert passed(50, 20.0) == 20
    now[0] = 10.0
    assert passed(150, None) == 100


@pytest.mark.parametrize("fault", [{"kind": "explode"}, {"kind": "error", "share": 2}, {"kind": "error", "colour": 1}])
def test_fault_that_is_not_one(fault: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Faults().replace([{"operation": "*", **fault}])
