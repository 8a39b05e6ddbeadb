"""A quota is kept: after a pause, when AWS says 429, and while the rate grows back."""

from __future__ import annotations

import pytest
from ansible.module_utils.region_switch.aws.token_bucket import TokenBucket
from ansible.module_utils.region_switch.model.errors import AwsError

from .fakes import Clock


class Bucket(TokenBucket):
    """A bucket on a clock of its own, that notes for how long it let callers sleep."""

    def __init__(self, limit: float = 100.0) -> None:
        self.time = Clock()
        self.slept: list[float] = []
        super().__init__(limit, self.time, self._note)

    def _note(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time.sleep(seconds)

    def passes_within(self, seconds: float) -> int:
        """How many callers get a turn within so many seconds."""
        end, count = self.time() + seconds, 0
        while True:
            self.acquire()
            # A turn at the very end belongs to the next second; sums of floats come near it.
            if self.time() >= end - 1e-6:
                return count
            count += 1


def test_first_turn_is_taken_at_once_and_each_further_one_at_the_rate() -> None:
    bucket = Bucket(4.0)

    for _ in range(5):
        bucket.acquire()

    assert bucket.slept == [0.25] * 4


def test_a_turn_that_is_late_anyway_is_not_waited_for() -> None:
    bucket = Bucket(20.0)
    bucket.acquire()
    bucket.time.sleep(0.05)

    bucket.acquire()

    assert bucket.slept == []


@pytest.mark.parametrize("pause", [0.1, 1.0, 60.0])
def test_only_a_tenth_of_a_second_of_turns_outlives_a_pause(pause: float) -> None:
    bucket = Bucket(100.0)
    bucket.passes_within(1.0)
    bucket.time.sleep(pause)

    assert 109 <= bucket.passes_within(1.0) <= 111


def test_throttling_halves_the_rate_once_a_second() -> None:
    bucket = Bucket(100.0)

    bucket.slow_down()
    bucket.time.sleep(0.5)
    bucket.slow_down()
    assert bucket.rate == 50.0

    bucket.time.sleep(0.5)
    bucket.slow_down()
    assert bucket.rate == 25.0


@pytest.mark.parametrize(
    ("code", "status", "rate"), [("ThrottlingException", 429, 50.0), ("InternalFailureException", 500, 100.0)]
)
def test_a_request_that_aws_throttles_halves_the_rate_and_its_error_is_raised(
    code: str, status: int, rate: float
) -> None:
    bucket = Bucket(100.0)

    def send() -> None:
        raise AwsError("GetConnection", "us-east-1", code, status, "no")

    with pytest.raises(AwsError, match=code):
        bucket.adapt(send)
    assert bucket.rate == rate


def test_an_accepted_request_raises_the_rate_and_its_answer_is_returned() -> None:
    bucket = Bucket(100.0)
    bucket.slow_down()
    bucket.time.sleep(1)

    assert bucket.adapt(lambda: "answer") == "answer"
    assert bucket.rate == pytest.approx(52.5)


def test_callers_wait_for_longer_at_the_lower_rate() -> None:
    bucket = Bucket(100.0)
    bucket.slow_down()
    bucket.acquire()

    assert 48 <= bucket.passes_within(1.0) <= 51


@pytest.mark.parametrize(("limit", "floor"), [(100.0, 1.0), (3.0, 1.0), (0.5, 0.5)])
def test_the_rate_never_falls_below_one_a_second_nor_below_a_smaller_limit(limit: float, floor: float) -> None:
    bucket = Bucket(limit)

    for _ in range(20):
        bucket.slow_down()
        bucket.time.sleep(1)

    assert bucket.rate == floor


def test_nothing_is_recovered_within_the_second_after_throttling() -> None:
    bucket = Bucket(100.0)
    bucket.time.sleep(5)
    bucket.slow_down()

    for _ in range(9):
        bucket.time.sleep(0.1)
        bucket.recover()

    assert bucket.rate == 50.0


def test_accepted_requests_recover_a_twentieth_each_from_the_second_after_throttling() -> None:
    bucket = Bucket(100.0)
    bucket.slow_down()
    bucket.time.sleep(1)

    bucket.recover()
    assert bucket.rate == pytest.approx(52.5)
    bucket.recover()
    assert bucket.rate == pytest.approx(55.125)


def test_the_rate_grows_back_to_the_limit_and_no_further() -> None:
    bucket = Bucket(100.0)
    bucket.slow_down()
    bucket.time.sleep(1)

    for _ in range(13):
        bucket.recover()
    assert 90 < bucket.rate < 100

    for _ in range(100):
        bucket.recover()
    assert bucket.rate == 100.0


def test_a_rate_that_was_never_throttled_stays_at_the_limit() -> None:
    bucket = Bucket(100.0)

    bucket.recover()

    assert bucket.rate == bucket.limit == 100.0
