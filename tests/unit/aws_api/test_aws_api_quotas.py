"""Quotas and faults."""

from __future__ import annotations

import threading

import pytest

from lab.aws_api.faults import Faults
from lab.aws_api.quotas import Quotas, default_rate


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


@pytest.mark.parametrize(
    ("service", "operation", "rate", "in_select_regions"),
    [
        ("iot", "CreateThing", 100, 50),
        ("iot", "AttachThingPrincipal", 100, 50),
        ("iot", "DescribeThing", 350, 350),
        ("iot", "CreatePolicy", 10, 10),
        ("iot", "CreateCertificateFromCsr", 15, 15),
        ("iot", "ListThingPrincipals", 20, 20),
        ("iot", "UpdateIndexingConfiguration", 1, 1),
        ("acm", "ListCertificates", 8, 8),
        ("acm", "DescribeCertificate", 10, 10),
        ("service-quotas", "GetServiceQuota", 5, 5),
    ],
)
def test_each_operation_of_the_control_plane_has_its_quota(
    service: str, operation: str, rate: int, in_select_regions: int
) -> None:
    for region, allowed in (("us-east-1", rate), ("eu-west-3", in_select_regions)):
        quotas = Quotas(clock=lambda: 0.0)
        passed = [quotas.exceeded(service, operation, region) is None for _ in range(allowed + 1)]
        assert passed == [True] * allowed + [False]
        assert quotas.exceeded(service, operation, region, every=False) is None


def test_operations_that_setting_up_calls_have_quotas() -> None:
    """Of every service that the stand-in plays but those whose quotas are elsewhere."""
    for operation in ("GetIndexingConfiguration", "GetPolicy", "DescribeThing", "UpdateThing", "AttachPolicy"):
        assert default_rate("iot", operation, "us-east-1")
    for operation in ("ImportCertificate", "AddTagsToCertificate", "ListTagsForCertificate", "GetCertificate"):
        assert default_rate("acm", operation, "us-east-1")
