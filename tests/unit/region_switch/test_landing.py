"""200 is not proof: who has landed, who went back, and when to tell them again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible.module_utils.region_switch.aws import refusals
from ansible.module_utils.region_switch.aws.token_bucket import BURST_SECONDS
from ansible.module_utils.region_switch.fleet.roster import TrackedClient
from ansible.module_utils.region_switch.model.connection_state import NOT_CONNECTED
from ansible.module_utils.region_switch.model.errors import AwsError
from ansible.module_utils.region_switch.move.landing import (
    Looker,
    Sighting,
    ask_again_at,
    next_look,
    went_back,
)

from .fakes import Clock, FakeAws, aws_error, on

OLD, NEW = "us-east-1", "ap-northeast-1"
TOLD = TrackedClient("client_01", OLD, "mqtt1.example.com", NEW, 900.0, kicks=1, told_at=50.0)
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
    clock = Clock()
    looking = looker(NOWHERE, aws_error("ForbiddenException", 403), clock)
    for _ in range(refusals.FEWEST - 1):
        assert looking.look(TOLD) == Sighting(None, NOT_CONNECTED)
        clock.now += refusals.SECONDS
    with pytest.raises(AwsError, match="IAM"):
        looking.look(TOLD)


def test_single_refusals_leave_open_where_a_client_is() -> None:
    clock, answers = Clock(), [aws_error("ForbiddenException", 403), GONE] * 20
    data: Any = {OLD: FakeAws(lambda *_, **__: answers.pop()), NEW: FakeAws(lambda *_, **__: connected(1000.2))}
    looking = Looker(data, RATES, (), on(clock))
    seen = []
    for _ in range(40):
        clock.now += refusals.SECONDS
        seen.append(looking.look(TOLD).landed)
    assert seen == [True, False] * 20
    assert looking.trouble is not None


def test_expired_credentials_are_an_error_at_once() -> None:
    with pytest.raises(AwsError, match="log in again"):
        looker(NOWHERE, aws_error("ExpiredToken", 403)).look(TOLD)


@pytest.mark.parametrize("skipped", [True, False])
def test_one_that_is_in_both_regions_has_landed_only_where_nobody_can_ask_the_old_one(skipped: bool) -> None:
    assert Sighting(1000.2, 900.0, skipped).landed is skipped
    assert not Sighting(1000.2, 900.0).landed


@pytest.mark.parametrize(
    ("old", "new", "source", "target"),
    [
        (NOWHERE, connected(1000.2), False, True),
        (connected(900), GONE, True, False),
        # AWS need not say since when.
        ({"connected": True}, {"connected": True}, True, True),
        (aws_error("NoAnswer", 0), aws_error("InternalFailureException", 500), None, None),
    ],
)
def test_where_a_client_is_seen(old: object, new: object, source: bool | None, target: bool | None) -> None:
    seen = looker(old, new).look(TOLD)
    assert (seen.in_source, seen.in_target) == (source, target)


def test_since_when_is_in_seconds_and_0_where_aws_does_not_say() -> None:
    seen = looker({"connected": True}, connected(1000.2)).look(TOLD)
    assert (seen.target_since, seen.source_since, seen.skipped) == (1000.2, 0.0, False)


def test_why_aws_did_not_say_is_kept() -> None:
    silent, missing = aws_error("NoAnswer", 0), looker(NOWHERE, connected(1000.2))
    missing.look(TOLD)
    assert missing.trouble is None

    looking = looker(NOWHERE, silent)
    looking.look(TOLD)
    assert looking.trouble is silent


def seconds_for(looks: int, looking: Looker, clock: Clock) -> float:
    begun = clock()
    for _ in range(looks):
        looking.look(TOLD)
    return clock() - begun


def test_of_the_quota_of_get_connection_a_twentieth_is_left_to_others() -> None:
    clock = Clock()
    assert seconds_for(200, looker(NOWHERE, connected(1000.2), clock), clock) == pytest.approx(199 / 95)


def test_throttling_slows_looking_down_and_what_is_answered_speeds_it_up_again() -> None:
    clock = Clock()
    answers: dict[str, Any] = {"now": aws_error("ThrottlingException", 429)}
    data: Any = {region: FakeAws(lambda *_, **__: answers["now"]) for region in (OLD, NEW)}
    looking = Looker(data, {OLD: 1000.0, NEW: 10.0}, (), on(clock))
    looking.look(TOLD)
    answers["now"] = connected(1000.2)
    clock.sleep(0.5)
    assert seconds_for(4, looking, clock) == pytest.approx(3 / 4.75 - BURST_SECONDS, rel=0.1)

    clock.sleep(60)
    for _ in range(20):
        looking.look(TOLD)
    assert seconds_for(10, looking, clock) == pytest.approx(10 / 9.5, rel=0.1)


def test_a_failure_of_another_kind_does_not_slow_looking_down() -> None:
    clock = Clock()
    looking = looker(NOWHERE, aws_error("InternalFailureException", 500), clock)
    assert seconds_for(96, looking, clock) == pytest.approx(1.0)


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


@pytest.mark.parametrize("known", [0.5, 1.0])
def test_any_time_before_is_known(known: float) -> None:
    assert went_back(Sighting(NOT_CONNECTED, 950.0), replace(TOLD, connected_since=known))


@pytest.mark.parametrize("since", [None, NOT_CONNECTED])
def test_one_that_is_not_seen_in_the_old_region_did_not_go_back(since: float | None) -> None:
    assert not went_back(Sighting(NOT_CONNECTED, since), TOLD)


def test_one_that_nobody_has_told_did_not_go_back() -> None:
    assert not went_back(Sighting(NOT_CONNECTED, 950.0), replace(TOLD, kicks=0))


def test_one_that_went_back_is_told_again_when_no_cache_has_the_old_address() -> None:
    back = Sighting(NOT_CONNECTED, 1005.0)
    assert ask_again_at(back, TOLD, ttl=0, now=51.0) == 51.0 + 30.0
    assert ask_again_at(back, TOLD, ttl=120, now=51.0) == 51.0 + 120


def test_one_whose_connection_outlives_its_deletion_is_told_again_soon() -> None:
    assert ask_again_at(Sighting(NOT_CONNECTED, 900.0), TOLD, ttl=120, now=51.0) == 50.0 + 10.0
    assert ask_again_at(Sighting(NOT_CONNECTED, 0.0), TOLD, ttl=120, now=51.0) == 60.0


@pytest.mark.parametrize("source", [None, NOT_CONNECTED])
def test_one_that_is_not_in_the_old_region_is_not_told_again(source: float | None) -> None:
    assert ask_again_at(Sighting(NOT_CONNECTED, source), TOLD, ttl=0, now=51.0) is None


def test_a_client_that_takes_its_time_is_looked_for_less_often_but_always_again() -> None:
    assert [next_look(looks) for looks in range(4)] == pytest.approx([1.1, 1.1, 1.54, 2.156])
    waits = [next_look(looks) for looks in range(1, 30)]
    assert waits == sorted(waits)
    assert waits[0] >= 1.0
    assert waits[-1] == 8.0
