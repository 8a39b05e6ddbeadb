"""An account's quotas: the applied ones where they are known, else AWS's defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.region_switch.aws.clients import AwsClient
from ansible.module_utils.region_switch.aws.quotas import Quotas, applied, defaults, read
from ansible.module_utils.region_switch.model.options import PaceOptions
from ansible.module_utils.region_switch.move.pace import pace

from .fakes import FakeAws, aws_error

LARGE, SELECT = "us-east-1", "eu-north-1"


class ServiceQuotas(FakeAws):
    def pages(self, *args: Any, **more: Any) -> Iterator[Any]:
        return AwsClient.pages(self, *args, **more)


def account(answer: Callable[..., Any]) -> Any:
    return SimpleNamespace(service_quotas={LARGE: ServiceQuotas(answer, LARGE)})


def test_defaults_are_lower_in_select_regions() -> None:
    low, usual = defaults(SELECT), defaults(LARGE)

    assert usual == Quotas(100, 100, 3000, 3000, 10, 15, 500_000)
    assert low == replace(usual, connect=100, subscribe=200, connections=100_000)


@pytest.mark.parametrize(
    ("subscriptions", "most"),
    [(0.0, 100.0), (1.0, 100.0), (3.0, 200 / 3), (10.0, 20.0)],
    ids=["CONNECT limits", "CONNECT limits still", "subscriptions limit", "many subscriptions limit"],
)
def test_clients_come_no_faster_than_the_region_takes_connects_and_subscriptions(
    subscriptions: float, most: float
) -> None:
    """The quotas of a select region: 100 CONNECTs and 200 subscriptions a second."""
    options = PaceOptions(subscriptions_per_client=subscriptions)
    found = pace({LARGE: defaults(LARGE), SELECT: defaults(SELECT)}, options)

    assert found.leaving[LARGE] == 100.0
    assert 0.8 * most < found.arriving[SELECT] < most
    assert found.arriving[LARGE] > found.arriving[SELECT]


def test_applied_values_of_all_pages_are_in_the_place_of_defaults() -> None:
    pages = {
        None: {
            "Quotas": [{"QuotaCode": "L-6F708547", "QuotaName": "DeleteConnection API TPS", "Value": 250.0}],
            "NextToken": "more",
        },
        "more": {
            "Quotas": [
                {"QuotaCode": "L-75CAB723", "Value": 700_000.0},
                {"QuotaCode": "L-00000000", "QuotaName": "GetConnection API TPS", "Value": 300.0},
            ]
        },
    }

    def answer(operation: str, ServiceCode: str, MaxResults: int, NextToken: str | None = None) -> Any:  # noqa: N803
        assert (operation, ServiceCode, MaxResults) == ("ListServiceQuotas", "iotcore", 100)
        return pages[NextToken]

    expected = replace(defaults(LARGE), delete_connection=250, get_connection=300, connections=700_000)
    assert read(account(answer), LARGE) == expected


@pytest.mark.parametrize("error", [aws_error("AccessDeniedException", 403), aws_error("NoAnswer", 0)])
def test_defaults_hold_where_service_quotas_does_not_answer(error: Any) -> None:
    assert read(account(lambda *_, **__: error), LARGE) == defaults(LARGE)


@pytest.mark.parametrize("value", [None, "100", 0, -1, float("nan"), float("inf")])
def test_value_that_is_no_quota_is_passed_over(value: object) -> None:
    assert applied([{"QuotaCode": "L-AEA1E176", "Value": value}], LARGE) == defaults(LARGE)
