"""What was approved is what is done, and nothing beyond the limits that an operator has set."""

from __future__ import annotations

import pytest
from ansible.module_utils.region_switch.approval import Bounds, check, guard, token
from ansible.module_utils.region_switch.errors import RefusedError

BASIS = {"desired": {"mqtt1.example.com": "ap-northeast-1"}, "records": {"mqtt1.example.com": {"TTL": 0}}}
PLAN = token(BASIS, "9c1e44d0", 1000)


def test_the_plan_that_was_approved_is_let_through() -> None:
    check(PLAN, token(dict(reversed(BASIS.items())), "9c1e44d0", 1000), drift=0)


@pytest.mark.parametrize(
    ("found", "drift", "what"),
    [
        (token(BASIS, "00000000", 1000), 0, "the clients"),
        (token(BASIS, "00000000", 1011), 1, "the clients (1000 then, 1011 now)"),
        (token({**BASIS, "records": {}}, "9c1e44d0", 1000), 0, "records, regions or options"),
        # Whatever the fleet may do, nothing else may have changed.
        (token({**BASIS, "records": {}}, "9c1e44d0", 1000), 50, "records, regions or options"),
    ],
)
def test_any_other_plan_is_refused_with_what_changed(found: str, drift: float, what: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check(PLAN, found, drift)
    assert what in str(refused.value)


@pytest.mark.parametrize("clients", [990, 1000, 1010])
def test_a_fleet_may_drift_where_that_is_allowed(clients: int) -> None:
    check(PLAN, token(BASIS, "00000000", clients), drift=1)


@pytest.mark.parametrize("approved", ["", None, "yes", PLAN[:-1], f"{PLAN}-1", "a-b-c"])
def test_what_is_no_token_approves_nothing(approved: str | None) -> None:
    with pytest.raises(RefusedError, match="approve: found"):
        check(approved, PLAN, drift=50)


@pytest.mark.parametrize(
    ("bounds", "beyond"),
    [
        (Bounds(0, 0, 0, 100), []),
        (Bounds(40, 1, 40, 40), []),
        (Bounds(39, 0, 0, 100), ["max_clients"]),
        (Bounds(39, 0, 41, 100), ["max_clients", "share"]),
        (Bounds(0, 0, 0, 39), ["share"]),
    ],
)
def test_a_plan_beyond_its_bounds_is_named(bounds: Bounds, beyond: list[str]) -> None:
    assert [finding.check for finding in guard(40, 100, 1, bounds)] == beyond


def test_endpoints_are_counted_too() -> None:
    assert [finding.check for finding in guard(0, 0, 2, Bounds(0, 1, 0, 100))] == ["max_endpoints"]
