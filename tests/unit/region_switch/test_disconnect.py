"""DeleteConnection: how fast, how often again, and what AWS's answers mean."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from typing import Any

import pytest
from ansible.module_utils.region_switch.aws.token_bucket import BURST_SECONDS
from ansible.module_utils.region_switch.fleet.roster import TrackedClient
from ansible.module_utils.region_switch.move.disconnect import ATTEMPTS, CLIENT_INTERVAL, Disconnector, retry_delay
from ansible.module_utils.region_switch.move.way import Attempt

from .fakes import Clock, FakeAws, aws_error, on

OLD, NEW = "us-east-1", "ap-northeast-1"
CLIENT = TrackedClient("client_01", OLD, "mqtt1.example.com", NEW, 900.0)


def sweeper(
    clock: Clock, answer: Any, leaving: float = 100.0, arriving: float = 1000.0, **options: bool
) -> Disconnector:
    data: Any = {OLD: FakeAws(answer)}
    rates = ({OLD: leaving}, {NEW: arriving})
    return Disconnector(data, *rates, runtime=on(clock), **options)


def seconds_for(requests: int, leaving: float, arriving: float) -> float:
    clock = Clock()
    begun = clock()
    telling = sweeper(clock, lambda *_, **__: {}, leaving, arriving)
    for _ in range(requests):
        telling.move(CLIENT)
    return clock() - begun


@pytest.mark.parametrize(("leaving", "arriving"), [(100.0, 1000.0), (1000.0, 90.0)])
def test_the_slower_of_both_regions_sets_the_pace(leaving: float, arriving: float) -> None:
    pace = min(leaving, arriving)
    assert 300 / pace - BURST_SECONDS - 0.02 <= seconds_for(300, leaving, arriving) <= 300 / pace


def answering(answer: Any) -> Any:
    return lambda *_, **__: answer


def test_each_region_has_a_pace_of_its_own() -> None:
    clock, other = Clock(), "eu-west-1"
    data: Any = {OLD: FakeAws(answering({})), other: FakeAws(answering({}))}
    telling = Disconnector(data, {OLD: 10.0, other: 20.0}, {NEW: 1000.0}, runtime=on(clock))
    begun = clock()
    telling.move(CLIENT)
    assert telling.rate() == 10.0

    telling.move(replace(CLIENT, region=other))

    # Neither waited for the other: only as long as both took in the target.
    assert clock() - begun == pytest.approx(0.001)
    assert telling.rate() == 30.0


@pytest.mark.parametrize(("answer", "found"), [({}, True), (aws_error("ResourceNotFoundException", 404), False)])
def test_it_is_told_when_the_request_went_out_and_how_long_it_took(answer: Any, found: bool) -> None:
    clock = Clock(50.0)
    telling = sweeper(clock, lambda *_, **__: (clock.sleep(0.25), answer)[1])
    assert telling.move(CLIENT) == Attempt(50.0, 50.0, 0.25, found=found)


def test_the_time_of_a_failed_request_is_told_too() -> None:
    clock, error = Clock(50.0), aws_error("InternalFailureException", 500)
    telling = sweeper(clock, lambda *_, **__: (clock.sleep(0.25), error)[1])
    told = telling.move(CLIENT)
    assert told == Attempt(50.0, 50.0, 0.25, error=error)
    assert not told.found


def test_every_request_is_counted_whatever_its_answer() -> None:
    codes = [("ThrottlingException", 429), ("InternalFailureException", 500), ("ForbiddenException", 403)]
    answers = iter([{}, *(aws_error(*code) for code in codes), aws_error("ResourceNotFoundException", 404)])
    telling = sweeper(Clock(), lambda *_, **__: next(answers))
    assert (telling.calls, telling.throttled) == (0, 0)
    for _ in range(5):
        telling.move(CLIENT)
    assert (telling.calls, telling.throttled) == (5, 1)


@pytest.mark.parametrize(("code", "status"), [("InternalFailureException", 500), ("ForbiddenException", 403), ("x", 0)])
def test_only_throttling_slows_down(code: str, status: int) -> None:
    telling = sweeper(Clock(), answering(aws_error(code, status)))
    told = telling.move(CLIENT)
    assert told.error is not None
    assert told.error.code == code
    assert (telling.throttled, telling.rate()) == (0, 100.0)


def test_what_is_accepted_within_the_second_after_throttling_recovers_nothing() -> None:
    clock = Clock()
    answers = iter([aws_error("ThrottlingException", 429), *[{}] * 100])
    telling = sweeper(clock, lambda *_, **__: next(answers))
    telling.move(CLIENT)
    throttled_at = clock()
    while clock() < throttled_at + 0.9:
        telling.move(CLIENT)
    assert telling.rate() == 50.0
    while clock() < throttled_at + 1.1:
        telling.move(CLIENT)
    assert 50.0 < telling.rate() < 80.0


def test_sessions_stay_and_wills_are_not_sent_unless_asked_for() -> None:
    asked: list[dict[str, Any]] = []
    sweeper(Clock(), lambda _, **parameters: asked.append(parameters) or {}).move(CLIENT)
    assert asked == [{"clientId": "client_01", "cleanSession": False, "preventWillMessage": True}]


def test_the_request_says_what_becomes_of_session_and_will() -> None:
    asked: list[dict[str, Any]] = []

    def answer(_operation: str, **parameters: Any) -> Any:
        asked.append(parameters)
        return {}

    sweeper(Clock(), answer, clean_session=True, prevent_will_message=False).move(CLIENT)
    assert asked == [{"clientId": "client_01", "cleanSession": True, "preventWillMessage": False}]


def test_404_says_that_the_client_had_gone() -> None:
    told = sweeper(Clock(), lambda *_, **__: aws_error("ResourceNotFoundException", 404)).move(CLIENT)
    assert (told.found, told.error) == (False, None)


def test_throttling_slows_down_and_success_speeds_up_again() -> None:
    clock = Clock()
    answers = iter([aws_error("ThrottlingException", 429), *[{}] * 500])
    telling = sweeper(clock, lambda *_, **__: next(answers))
    assert telling.move(CLIENT).error is not None
    assert telling.throttled == 1
    assert telling.rate() == 50.0
    for _ in range(400):
        telling.move(CLIENT)
    assert telling.rate() == 100.0


@pytest.mark.parametrize("code", ["InternalFailureException", "ServiceUnavailableException"])
def test_failures_are_tried_again_a_number_of_times(code: str) -> None:
    error = aws_error(code, 500)
    assert [retry_delay(error, attempts) is not None for attempts in range(1, ATTEMPTS + 1)] == [
        *[True] * (ATTEMPTS - 1),
        False,
    ]


def test_throttling_is_waited_out_for_ever() -> None:
    assert retry_delay(aws_error("ThrottlingException", 429), 1000) == CLIENT_INTERVAL


def test_what_is_forbidden_is_tried_a_few_times() -> None:
    delays = [retry_delay(aws_error("ForbiddenException", 403), attempts) for attempts in (1, 2, 3, 4)]
    assert delays == pytest.approx([1.1, 2.2, 3.3, None])


@pytest.mark.parametrize(("code", "status"), [("ExpiredToken", 403), ("InvalidRequestException", 400)])
def test_refusals_are_not_tried_again(code: str, status: int) -> None:
    assert retry_delay(aws_error(code, status), 1) is None


def test_a_failed_request_is_tried_again_later_each_time() -> None:
    error = aws_error("InternalFailureException", 500)
    assert [retry_delay(error, attempts) for attempts in (1, 2, 5, 6)] == pytest.approx([1.1, 2.2, 5.5, None])


def test_one_client_is_not_asked_for_twice_within_its_quota() -> None:
    assert min(retry_delay(aws_error("InternalFailureException", 500), n) or 9 for n in range(1, 5)) >= CLIENT_INTERVAL


def test_nothing_is_sent_once_it_is_stopped() -> None:
    telling = sweeper(Clock(), lambda *_, **__: {})
    telling.stop()
    assert telling.move(CLIENT) == Attempt(1000.0, 1000.0, 0.0, sent=False)
    assert telling.calls == 0
    telling.start()
    assert telling.move(CLIENT).sent
    assert telling.calls == 1


def test_who_waits_for_its_turn_when_it_is_stopped_is_not_told() -> None:
    data: Any = {OLD: FakeAws(lambda *_, **__: {})}
    # On this machine's clock a turn comes every ten minutes.
    telling = Disconnector(data, {OLD: 1 / 600}, {NEW: 1000.0})
    with ThreadPoolExecutor(4) as pool:
        under_way = [pool.submit(telling.move, CLIENT) for _ in range(4)]
        next(as_completed(under_way))
        telling.stop()
        assert sorted(each.result().sent for each in under_way) == [False, False, False, True]
    assert telling.calls == 1
