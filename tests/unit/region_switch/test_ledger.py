"""Counting messages and gaps from what arrived."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.region_switch.ledger import Arrival, count, gaps, percentiles, read

OLD, NEW = "us-east-1", "ap-northeast-1"


def arrival(sequence: int, at: float, region: str = OLD, stream: str = "a") -> Arrival:
    return Arrival("client_01", stream, sequence, region, at)


def test_everything_arrived_once() -> None:
    arrivals = [arrival(number, 100 + number) for number in range(1, 6)]

    assert count(arrivals, since=100) == {"sent": 5, "received": 5, "lost": 0, "duplicated": 0}


def test_hole_is_lost_and_second_arrival_is_duplicated() -> None:
    arrivals = [arrival(1, 101), arrival(2, 102), arrival(4, 104), arrival(4, 105, NEW)]

    assert count(arrivals, since=100) == {"sent": 4, "received": 3, "lost": 1, "duplicated": 1}


def test_late_second_arrival_does_not_reach_back_before_the_run() -> None:
    arrivals = [arrival(1, 91), arrival(3, 93), arrival(5, 101), arrival(1, 102)]

    assert count(arrivals, since=100) == {"sent": 1, "received": 1, "lost": 0, "duplicated": 0}


def test_streams_are_counted_apart() -> None:
    arrivals = [arrival(7, 101), arrival(1, 102, stream="b"), arrival(3, 103, stream="b")]

    assert count(arrivals, since=100) == {"sent": 4, "received": 3, "lost": 1, "duplicated": 0}


def test_gap_is_from_the_last_in_the_old_region_to_the_first_in_the_new() -> None:
    arrivals = [arrival(1, 50, NEW), arrival(2, 101), arrival(3, 101.5), arrival(4, 103, NEW), arrival(5, 104, NEW)]

    assert gaps(arrivals, {"client_01": (OLD, NEW)}, since=100) == {"client_01": 1.5}


def test_client_that_did_not_arrive_has_no_gap() -> None:
    assert gaps([arrival(1, 101)], {"client_01": (OLD, NEW)}, since=100) == {}


def test_percentiles() -> None:
    assert percentiles([]) is None
    assert percentiles([2.0]) == {"p50": 2.0, "p95": 2.0, "max": 2.0}
    assert percentiles([1.0, 2.0, 3.0]) == {"p50": 2.0, "p95": 2.9, "max": 3.0}


def test_no_ledger(tmp_path: Path) -> None:
    assert read(tmp_path / "ledger.sqlite", since=0) is None
