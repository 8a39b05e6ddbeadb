"""200 is not proof: who has landed, who went back, and when to tell them again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible.module_utils.region_switch.connection_state import NOT_CONNECTED
from ansible.module_utils.region_switch.errors import AwsError
from ansible.module_utils.region_switch.landing import (
    HEADROOM,
    LONGEST_INTERVAL,
    RESOLVER_CACHE,
    TELL_AGAIN,
    Looker,
    Sighting,
    next_look,
    tell_again_at,
    went_back,
)
from ansible.module_utils.region_switch.roster import Passenger

from .fakes import Clock, FakeAws, aws_error, on

OLD, NEW = "us-east-1", "ap-northeast-1"
TOLD = Passenger("client_01", OLD, "mqtt1.example.com", NEW, 900.0, kicks=1, told_at=50.0)
NOWHERE: dict[str, Any] = {"connected": False}
GONE = aws_error("ResourceNotFoundException", 404)
RATES = {OLD: 100.0, NEW: 100.0}


def connected(since: float) -> dict[str, Any]:
    return {"connected": True, "connectedSince": int(since * 1000)}


def looker(old: Any, new: Any, clock: Clock | None = None, dead: tuple[str, ...] = ()) -> Looker:
    clock = clock or Clock()
    answers = {OLD: old, NEW: new}
    data: Any = {region: FakeAws(lambda _operation, region=region, **_: answers[region]) for region in (OLD, NEW)}
    return Looker(data, RATES, dead, on(clock))


@pytest.mark.parametrize("old", [NOWHERE, GONE])
def test_seen_in_the_target_and_gone_from_the_source_has_landed(old: object) -> None:
    assert looker(old, connected(1000.2)).look(TOLD).landed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (NOWHERE, NOWHERE),
        (NOWHERE, GONE),
        (connected(900), connected(1000.2)),
        (aws_error("ThrottlingException", 429), connected(1000.2)),
        (NOWHERE, aws_error("InternalFailureException", 500)),
        (NOWHERE, aws_error("NoAnswer", 0)),
        (NOWHERE, {"connected": True, "connectedSince": "now"}),
        (NOWHERE, {"connected": True, "connectedSince": float("nan")}),
        (NOWHERE, {"connected": None}),
        ({}, connected(1000.2)),
    ],
)
def test_anything_less_is_no_proof(old: object, new: object) -> None:
    assert not looker(old, new).look(TOLD).landed


def test_an_answer_that_does_not_say_where_a_client_is_is_known_for_trouble() -> None:
    looking = looker(NOWHERE, {"connected": "yes"})
    assert looking.look(TOLD) == Sighting(None, NOT_CONNECTED)
    assert looking.trouble is not None
    assert looking.trouble.unreadable


def test_a_dead_region_is_not_asked_and_the_target_is_proof() -> None:
    seen = looker(aws_error("NoAnswer", 0), connected(1000.2), dead=(OLD,)).look(TOLD)
    assert seen.landed
    assert seen.skipped


def test_a_missing_permission_is_an_error() -> None:
    with pytest.raises(AwsError, match="IAM"):
        looker(NOWHERE, aws_error("ForbiddenException", 403)).look(TOLD)


def test_quota_of_get_connection_is_kept() -> None:
    clock = Clock()
    begun = clock()
    looking = looker(NOWHERE, connected(1000.2), clock)
    for _ in range(200):
        looking.look(TOLD)
    assert clock() - begun >= 198 / (RATES[OLD] * HEADROOM)


@pytest.mark.parametrize(("since", "back"), [(900.0, False), (900.4, False), (901.0, True), (1001.0, True)])
def test_a_later_connection_than_the_one_that_was_cut_is_a_return(since: float, back: bool) -> None:
    """900.4 is the connection that was cut: the index and GetConnection note different moments of it."""
    assert went_back(Sighting(NOT_CONNECTED, since), TOLD) is back


@pytest.mark.parametrize("clock", [0.0, 5e9])
def test_this_machines_clock_does_not_say_who_went_back(clock: float) -> None:
    assert not went_back(Sighting(NOT_CONNECTED, 900.0), replace(TOLD, kicked_at=clock))
    assert went_back(Sighting(NOT_CONNECTED, 950.0), replace(TOLD, kicked_at=clock))


def test_a_connection_of_which_nobody_knows_when_it_began_is_taken_for_the_one_that_was_cut() -> None:
    assert not went_back(Sighting(NOT_CONNECTED, 950.0), replace(TOLD, connected_since=0.0))


def test_one_that_nobody_has_told_did_not_go_back() -> None:
    assert not went_back(Sighting(NOT_CONNECTED, 950.0), replace(TOLD, kicks=0))


def test_one_that_went_back_is_told_again_when_no_cache_has_the_old_address() -> None:
    back = Sighting(NOT_CONNECTED, 1005.0)
    assert tell_again_at(back, TOLD, ttl=0, now=51.0) == 51.0 + RESOLVER_CACHE
    assert tell_again_at(back, TOLD, ttl=120, now=51.0) == 51.0 + 120


def test_one_whose_connection_outlives_its_deletion_is_told_again_soon() -> None:
    assert tell_again_at(Sighting(NOT_CONNECTED, 900.0), TOLD, ttl=120, now=51.0) == 50.0 + TELL_AGAIN


@pytest.mark.parametrize("source", [None, NOT_CONNECTED])
def test_one_that_is_not_in_the_old_region_is_not_told_again(source: float | None) -> None:
    assert tell_again_at(Sighting(NOT_CONNECTED, source), TOLD, ttl=0, now=51.0) is None


def test_a_client_that_takes_its_time_is_looked_for_less_often_but_always_again() -> None:
    waits = [next_look(looks) for looks in range(1, 30)]
    assert waits == sorted(waits)
    assert waits[0] >= 1.0
    assert waits[-1] == LONGEST_INTERVAL
