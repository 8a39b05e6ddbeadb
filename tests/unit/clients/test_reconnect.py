"""When the next CONNECT is sent."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqtt_fleet.clock import Clock
from mqtt_fleet.reconnect import CONNECT_SPACING, ConnectRecord, ReconnectPolicy

failures = st.integers(min_value=0, max_value=10_000)
elapsed = st.floats(min_value=0, max_value=1e6)
jitter = st.floats(min_value=0, max_value=1)
caps = st.floats(min_value=1, max_value=3600)


def test_first_attempt_is_at_once() -> None:
    assert ReconnectPolicy().delay(0, math.inf, 1.0) == 0.0
    assert ReconnectPolicy().delay(0, 5.0, 1.0) == 0.0


@given(caps, failures, elapsed, jitter)
def test_never_two_connects_within_a_second(cap: float, count: int, since: float, share: float) -> None:
    delay = ReconnectPolicy(cap).delay(count, since, share)
    assert delay >= 0
    # The sum of two floats may fall short of their exact sum by one rounding.
    assert since + delay >= CONNECT_SPACING - 1e-9


@given(caps, failures, elapsed, jitter)
def test_never_longer_than_the_cap(cap: float, count: int, since: float, share: float) -> None:
    assert ReconnectPolicy(cap).delay(count, since, share) <= cap


@given(st.integers(min_value=1, max_value=10_000), jitter)
def test_full_jitter_takes_a_share_of_a_doubling_range(count: int, share: float) -> None:
    assert ReconnectPolicy(30.0).delay(count, math.inf, share) == share * min(30.0, 2.0 ** min(count, 5))


class StoppedClock(Clock):
    """Stands where the test puts it."""

    def __init__(self, boot_id: str, seconds: float) -> None:
        super().__init__()
        self.boot_id = boot_id
        self.seconds = seconds

    def since_boot(self) -> float:
        return self.seconds


def test_last_connect_is_known_to_the_next_process_of_the_same_boot(tmp_path: Path) -> None:
    path = tmp_path / "record"
    assert ConnectRecord(path, Clock()).age() == math.inf
    ConnectRecord(path, StoppedClock("a", 123456.5)).note()
    size = path.stat().st_size
    ConnectRecord(path, StoppedClock("a", 1234567.25)).note()
    # Written in place: a full disk allows that.
    assert path.stat().st_size == size
    assert ConnectRecord(path, StoppedClock("a", 1234567.5)).age() == 0.25
    assert ConnectRecord(path, StoppedClock("a", 1.0)).age() == math.inf
    assert ConnectRecord(path, StoppedClock("b", 1234567.5)).age() == math.inf


@pytest.mark.parametrize("content", ["", "a", "a b", "a 1 2", "\xff"])
def test_damaged_record_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "record"
    path.write_text(content, encoding="latin-1")
    assert ConnectRecord(path, StoppedClock("a", 5.0)).age() == math.inf


def test_record_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    ConnectRecord(tmp_path / "missing" / "record", Clock()).note()
