"""What was approved is what is done, and nothing beyond the limits that an operator has set."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from ansible.module_utils.region_switch.model.approval import (
    Difference,
    Leaving,
    check,
    differences,
    digest,
    guard,
    line,
    parts,
    token,
)
from ansible.module_utils.region_switch.model.errors import RefusedError
from ansible.module_utils.region_switch.model.options import ApprovalOptions

OLD, ONE, OTHER = "us-east-1", "ap-northeast-1", "eu-west-1"
BASIS = {"desired": {"mqtt1.example.com": ONE}, "records": {"mqtt1.example.com": {"TTL": 0}}}
CLIENTS: list[Leaving] = [(f"client_{number:04}", OLD, ONE if number < 900 else OTHER) for number in range(1000)]


def token_of(clients: list[Leaving], basis: dict[str, Any] = BASIS) -> str:
    return token(basis, digest(map(line, clients)), len(clients))


PLAN = token_of(CLIENTS)
MOVED_RECORDS = token_of(CLIENTS, {**BASIS, "records": {}})


def test_the_plan_that_was_approved_is_let_through() -> None:
    assert check(PLAN, token_of(CLIENTS, dict(reversed(BASIS.items()))), drift=0) == []


def test_clients_that_swap_their_targets_are_another_plan() -> None:
    swapped = [(client_id, region, OTHER if target == ONE else ONE) for client_id, region, target in CLIENTS]
    assert token_of(swapped) != PLAN


def test_the_clients_are_digested_by_sha_256() -> None:
    text = '["a", "us-east-1", "eu-west-1"]\n["b", "us-east-1", "eu-west-1"]\n'
    found = digest(map(line, [("a", OLD, OTHER), ("b", OLD, OTHER)]))
    assert found == hashlib.sha256(text.encode()).hexdigest()[:32]


@pytest.mark.parametrize(
    ("found", "drift", "what"),
    [
        (token_of(CLIENTS[1:]), 0, "the clients changed (1000 then, 999 now)"),
        (MOVED_RECORDS, 0, "records, regions or options"),
        # Whatever the fleet may do, nothing else may have changed.
        (MOVED_RECORDS, 50, "records, regions or options"),
        # Nobody knows by how much they differ.
        (token_of(CLIENTS[1:]), 50, "the list of those approved is not in the reports"),
    ],
)
def test_any_other_plan_is_refused_with_what_changed(found: str, drift: float, what: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check(PLAN, found, drift)
    assert what in str(refused.value)


def drifted(clients: list[Leaving], drift: float) -> list[str]:
    return check(PLAN, token_of(clients), drift, differences(CLIENTS, clients))


def test_a_fleet_may_drift_where_that_is_allowed_and_the_difference_is_shown() -> None:
    clients = sorted([*CLIENTS[3:], ("new", OLD, ONE)])
    assert drifted(clients, 1) == [
        "to ap-northeast-1: 1 more and 3 fewer than the 900 approved (client_0000, client_0001, client_0002, …)"
    ]


@pytest.mark.parametrize(
    "clients",
    [
        # 1 % of all, but 10 % of those to one target.
        CLIENTS[:990],
        # As many as before, but others.
        sorted([*CLIENTS[20:], *((f"new{number}", OLD, ONE) for number in range(20))]),
        # The very same clients, some to the other target.
        [(client_id, region, OTHER if client_id < "client_0005" else target) for client_id, region, target in CLIENTS],
    ],
)
def test_what_drifts_is_bounded_for_each_target(clients: list[Leaving]) -> None:
    said = r"more than 1 % of the clients \(and 3\) changed, to (eu-west-1|ap-northeast-1): "
    with pytest.raises(RefusedError, match=said):
        drifted(clients, 1)


def test_the_bound_itself_is_within() -> None:
    assert len(drifted(CLIENTS[9:], 1)) == 1
    with pytest.raises(RefusedError):
        drifted(CLIENTS[10:], 1)


@pytest.mark.parametrize(("gone", "let_through"), [(1, True), (3, True), (4, False)])
def test_a_small_fleet_lives_too(gone: int, let_through: bool) -> None:
    """5 % of 52 are no three devices, and one that is replaced counts twice."""
    few = CLIENTS[:52]
    found = differences(few, few[gone:])[ONE]
    assert found.within(5) is let_through
    assert not found.within(0)


@pytest.mark.parametrize(("others", "within"), [(100, True), (101, False)])
def test_drift_is_a_share_of_those_approved(others: int, within: bool) -> None:
    assert Difference(approved=1000, came=others - 1, gone=1).within(10) is within


def test_a_difference_names_everyone_where_they_are_few() -> None:
    assert Difference(5, 1, 1, ["a", "b"]).text(ONE) == f"to {ONE}: 1 more and 1 fewer than the 5 approved (a, b)"
    assert Difference(5).text(ONE) == f"to {ONE}: 0 more and 0 fewer than the 5 approved"


def test_a_token_has_the_plan_the_clients_and_their_number() -> None:
    assert parts(PLAN) == (PLAN[:32], digest(map(line, CLIENTS)), 1000)


@pytest.mark.parametrize("approved", ["", None, "yes", PLAN[:-1], f"{PLAN}-1", "a-b-c", f"../{PLAN}", PLAN.upper()])
def test_what_is_no_token_approves_nothing(approved: str | None) -> None:
    with pytest.raises(RefusedError, match=r"^approve: (found|this plan needs approval)"):
        check(approved, PLAN, drift=50)


@pytest.mark.parametrize("text", ["", "yes", PLAN[1:], f"../{PLAN}", f"{PLAN}/..", PLAN.replace("-", "_")])
def test_no_file_is_named_by_what_is_no_token(text: str) -> None:
    assert parts(text) is None


def bounded(*limits: float) -> ApprovalOptions:
    """Clients, endpoints, and the lowest and the highest share."""
    return ApprovalOptions(**dict(zip(("max_clients", "max_endpoints", "min_share", "max_share"), limits, strict=True)))


@pytest.mark.parametrize(
    ("bounds", "beyond"),
    [
        (bounded(0, 0, 0, 100), []),
        (bounded(40, 1, 40, 40), []),
        (bounded(39, 0, 0, 100), ["max_clients"]),
        (bounded(39, 0, 41, 100), ["max_clients", "share"]),
        (bounded(0, 0, 0, 39), ["share"]),
    ],
)
def test_a_plan_beyond_its_bounds_is_named(bounds: ApprovalOptions, beyond: list[str]) -> None:
    assert [finding.check for finding in guard(40, 100, 1, bounds)] == beyond


def test_what_is_beyond_the_bounds_stops_the_move() -> None:
    assert all(finding.blocking for finding in guard(40, 100, 2, bounded(39, 1, 41, 100)))


def test_of_nobody_no_share_is_moved() -> None:
    assert guard(0, 0, 1, bounded(0, 0, 0, 0.5)) == []


def test_endpoints_are_counted_too() -> None:
    assert [finding.check for finding in guard(0, 0, 2, bounded(0, 1, 0, 100))] == ["max_endpoints"]


@pytest.mark.parametrize(
    ("count", "said"), [(1, ["1 client to", "1 endpoint to"]), (2, ["2 clients to", "2 endpoints to"])]
)
def test_one_client_and_one_endpoint_are_said_as_one(count: int, said: list[str]) -> None:
    # A limit of 0 is none.
    found = guard(count, 2, count, bounded(0.5, 0.5, 0, 100))

    assert [finding.found[: len(each)] for finding, each in zip(found, said, strict=True)] == said
