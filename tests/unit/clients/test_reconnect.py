"""When the next CONNECT is sent."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqtt_fleet.clock import Clock
from mqtt_fleet.reconnect import CONNECT_SPACING, FIRST_WINDOW, HEADROOM, ConnectRecord, End, ReconnectPolicy
from mqtt_fleet.transport import Cause

from ...bench import herd

elapsed = st.floats(min_value=0, max_value=1e6)
jitter = st.floats(min_value=0, max_value=1)
caps = st.floats(min_value=1, max_value=3600)
windows = st.floats(min_value=0, max_value=3600)
spreads = st.floats(min_value=0, max_value=10_000)
ends = st.builds(End, st.sampled_from(Cause), st.none() | elapsed)

CLOSED, LOST, TAKEN_OVER, REFUSED = Cause.CLOSED, Cause.LOST, Cause.TAKEN_OVER, Cause.REFUSED


def windows_of(policy: ReconnectPolicy, ends: Sequence[End]) -> list[float]:
    window, found = 0.0, []
    for end in ends:
        window = policy.widen(window, end)
        found.append(window)
    return found


@pytest.mark.parametrize("lasted", [4.0, 60.0, 86_400.0])
def test_connection_that_the_broker_closed_in_order_is_made_again_at_once(lasted: float) -> None:
    policy, end = ReconnectPolicy(spread=33.0), End(CLOSED, lasted)
    assert policy.pause(policy.widen(0.0, end), end, lasted, 1.0) == 0.0


@pytest.mark.parametrize("lasted", [4.0, 3600.0])
def test_connection_that_was_lost_is_made_again_at_any_time_of_what_the_fleet_needs(lasted: float) -> None:
    policy, end = ReconnectPolicy(spread=33.0), End(LOST, lasted)
    window = policy.widen(0.0, end)
    pauses = [policy.pause(window, end, lasted, share) for share in (0.0, 0.5, 1.0)]
    assert pauses == [0.0, pytest.approx(0.5 * 33.0 * (1 + HEADROOM) / 2), pytest.approx(HEADROOM * 33.0)]


@given(caps, spreads, windows, ends, elapsed, jitter)
def test_never_two_connects_within_a_second(
    cap: float, spread: float, window: float, end: End, since: float, share: float
) -> None:
    pause = ReconnectPolicy(cap, spread).pause(window, end, since, share)
    assert pause >= 0
    # The sum of two floats may fall short of their exact sum by one rounding.
    assert since + pause >= CONNECT_SPACING - 1e-9


@given(caps, spreads, st.lists(ends, max_size=20), jitter)
def test_no_pause_is_longer_than_the_cap_or_the_spread_unless_another_client_has_the_id(
    cap: float, spread: float, history: list[End], share: float
) -> None:
    policy = ReconnectPolicy(cap, spread)
    sound = [end for end in history if end.cause is not TAKEN_OVER]
    for window, end in zip(windows_of(policy, sound), sound, strict=True):
        assert policy.pause(window, end, math.inf, share) <= max(cap, FIRST_WINDOW, HEADROOM * spread) + 1e-9


def test_jitter_comes_on_top_of_the_spacing() -> None:
    end = End(LOST, 0.25)
    assert ReconnectPolicy().pause(2.0, end, 0.25, 0.5) == 0.75 + 0.75


def test_attempts_that_fail_double_the_window_up_to_the_cap() -> None:
    assert windows_of(ReconnectPolicy(30.0), [End(LOST)] * 6) == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    policy = ReconnectPolicy(30.0)
    assert [policy.pause(16.0, End(REFUSED), math.inf, share) for share in (0.0, 1.0)] == [8.0, 16.0]


def test_attempts_while_nobody_answers_keep_to_the_spread_of_the_fleet() -> None:
    policy = ReconnectPolicy(30.0, 100.0)
    assert [policy.pause(30.0, End(LOST), math.inf, share) for share in (0.0, 1.0)] == [100.0, pytest.approx(115.0)]


def test_sound_connections_that_end_again_and_again_get_no_longer_pauses() -> None:
    # Of a device that says little, and so has nothing acknowledged.
    assert windows_of(ReconnectPolicy(), [End(CLOSED, 4.0)] * 20) == [0.0] * 20
    assert windows_of(ReconnectPolicy(), [End(LOST, 600.0)] * 20) == [0.0] * 20


def test_connections_that_end_right_after_they_began_do() -> None:
    # Each was long enough for an acknowledged message.
    found = windows_of(ReconnectPolicy(30.0), [End(CLOSED, 1.0)] * 6)
    assert found == sorted(found)
    assert found[-1] > 25


def test_window_is_forgotten_after_a_time_connected_and_not_before() -> None:
    policy = ReconnectPolicy(300.0)
    assert policy.widen(30.0, End(CLOSED, 59.0)) > 0
    assert policy.widen(30.0, End(CLOSED, 60.0)) == 0.0
    assert policy.widen(100.0, End(CLOSED, 199.0)) > 0
    assert policy.widen(100.0, End(CLOSED, 200.0)) == 0.0


def test_client_whose_id_another_one_uses_keeps_far_away() -> None:
    policy = ReconnectPolicy()
    found = windows_of(policy, [End(TAKEN_OVER, 30.0)] * 6)
    assert found == [60.0, 120.0, 240.0, 480.0, 900.0, 900.0]
    assert policy.pause(60.0, End(TAKEN_OVER, 30.0), 30.0, 0.0) == 30.0
    # A day later it is as the first time.
    assert policy.widen(900.0, End(TAKEN_OVER, 86_400.0)) == 60.0


@pytest.mark.parametrize(("cause", "most"), [(CLOSED, 12), (TAKEN_OVER, 3)])
def test_two_devices_of_one_client_id_do_not_make_many_connects(cause: Cause, most: int) -> None:
    policy, randomness = ReconnectPolicy(30.0), random.Random(1)
    due = {"a": 0.0, "b": 0.5}
    window = {"a": 0.0, "b": 0.0}
    connects: list[float] = []
    holder = ""
    while (now := min(due.values())) < 600:
        newcomer = min(due, key=lambda name: due[name])
        if holder:
            end = End(cause, now - connects[-1])
            window[holder] = policy.widen(window[holder], end)
            due[holder] = now + policy.pause(window[holder], end, now - connects[-1], randomness.random())
        connects.append(now)
        due[newcomer], holder = math.inf, newcomer
    # 54 of each of them a minute, before.
    assert len(connects) / 10 <= most


# A hundred thousand devices, at AWS's default quotas of CONNECTs in large and in small Regions.
@pytest.mark.parametrize("quota", herd.QUOTAS)
@pytest.mark.parametrize("took", [herd.REFUSED_SECONDS, herd.SILENT_SECONDS])
def test_fleet_whose_region_goes_keeps_to_the_quota_and_is_back_soon_after_it(quota: float, took: float) -> None:
    spread = herd.CLIENTS / quota
    found = herd.simulate(ReconnectPolicy(spread=spread), herd.CLIENTS, quota, 60.0, took)
    # By chance some second has more than the mean: four times its deviation.
    mean = 2 / (1 + HEADROOM) * quota
    assert found.busiest <= mean + 4 * math.sqrt(mean)
    assert found.back <= 1.2 * spread
    assert found.refused == 0


def test_usual_policy_does_neither() -> None:
    found = herd.simulate(herd.AtOnce(), 10_000, 300.0, 60.0)
    assert found.busiest == 10_000
    assert found.refused > 0


def test_process_that_follows_another_keeps_the_spacing_alone() -> None:
    policy = ReconnectPolicy(spread=33.0)
    assert policy.first_pause(0.25, 10.0, 1.0) == 0.75
    assert policy.first_pause(5.0, 10.0, 1.0) == 0.0


def test_first_process_after_a_boot_is_one_of_many_that_got_their_power_back() -> None:
    policy = ReconnectPolicy(spread=33.0)
    assert policy.first_pause(math.inf, 20.0, 0.5) == pytest.approx(0.5 * 33.0 * (1 + HEADROOM) / 2)
    # A client that was installed on a running device.
    assert policy.first_pause(math.inf, 3600.0, 0.5) == 0.0


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
