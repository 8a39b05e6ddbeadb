"""Counting messages and gaps from what arrived."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ansible.module_utils.region_switch.ledger import (
    Arrival,
    Tally,
    by_client,
    count,
    gaps,
    percentiles,
    read,
    timeline,
)

from mqtt_fleet.ledger import Arrival as Written
from mqtt_fleet.ledger import Ledger

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


def write(path: Path, *arrivals: Arrival, dropped: tuple[tuple[int, int], ...] = ()) -> None:
    written = Ledger(path)
    rows = [
        Written(each.client_id, each.stream, each.sequence, each.region, 0.0, each.arrived_at, dropped)
        for each in arrivals
    ]
    written.add(rows)
    written.close()


def test_no_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"

    assert read(path, since=0) is None
    assert not Tally(path, since=0).update()
    assert timeline(path, 0, 10, 5) == []
    assert by_client(path, 0, 10) == {}
    sqlite3.connect(path).close()
    assert read(path, since=0) is None
    assert timeline(path, 0, 10, 5) == []
    assert by_client(path, 0, 10) == {}


def test_ledger_that_nobody_writes_any_more_is_none(tmp_path: Path) -> None:
    write(tmp_path / "ledger", arrival(1, 101))

    assert not Tally(tmp_path / "ledger", since=1000).update()


def test_what_arrived_since_is_read_only_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    write(path, arrival(1, 101), arrival(2, 102), arrival(4, 104))
    tally = Tally(path, since=100, moved={"client_01": (OLD, NEW)})

    assert tally.update()
    assert tally.messages() == {"sent": 4, "received": 3, "lost": 1, "duplicated": 0}
    assert tally.gaps() == {}
    write(path, arrival(3, 105, NEW), arrival(4, 106, NEW))
    assert tally.update()
    assert tally.messages() == {"sent": 4, "received": 4, "lost": 0, "duplicated": 1}
    assert tally.gaps() == {"client_01": 1.0}


def test_what_the_device_dropped_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    write(path, arrival(1, 101), arrival(9, 109), dropped=((3, 7),))
    tally = Tally(path, since=100)
    tally.update()

    assert tally.messages() == {"sent": 4, "received": 2, "lost": 2, "duplicated": 0}
    assert by_client(path, 100, 110)["client_01"].dropped == 5


def test_client_in_both_regions(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    write(path, arrival(1, 101), arrival(2, 102), arrival(4, 105.5, NEW), arrival(3, 106, NEW), arrival(4, 107, OLD))
    found = by_client(path, 100, 110)["client_01"]

    assert (found.sent, found.received, found.lost, found.duplicated, found.reordered) == (4, 4, 0, 1, 1)
    assert found.longest_gap == 3.5
    assert (found.regions, found.last_region) == ({OLD: 3, NEW: 2}, OLD)
    assert found.seen == {OLD: (101, 107), NEW: (105.5, 106)}


def test_what_arrives_behind_the_window_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    write(path, arrival(1, 101), arrival(3, 103), arrival(2, 120), arrival(4, 121))
    found = by_client(path, 100, 110)["client_01"]

    assert (found.sent, found.received, found.lost) == (3, 3, 0)
    assert found.regions == {OLD: 2}


def test_timeline_counts_per_region_and_part(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    write(path, arrival(1, 99), arrival(2, 100), arrival(3, 104.9), arrival(4, 105, NEW), arrival(5, 110, NEW))

    assert timeline(path, 100, 110, 2) == [(100, {OLD: 2}), (105, {NEW: 2})]
    assert timeline(path, 110, 100, 2) == []
