"""Counting messages and gaps from what arrived."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from ansible.module_utils.region_switch.record import ledger as ledgers
from ansible.module_utils.region_switch.record.ledger import (
    Dropped,
    Tally,
    by_client,
    percentiles,
    timeline,
    told_apart,
)

from mqtt_monitor.ledger import Arrival as Written
from mqtt_monitor.ledger import Ledger
from tests.arrivals import Arrival, count, gaps, read

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


def tallied(*arrivals: Arrival, since: float = 100) -> Tally:
    tally = Tally(Path(), since)
    tally.take(arrivals)
    return tally


def test_number_that_nobody_can_have_published_is_told_apart() -> None:
    forger = [Arrival("client_02", "a", number, OLD, 101) for number in (1, 10**15)]
    tally = tallied(arrival(1, 101), arrival(2, 102), arrival(4, 103), *forger)

    assert tally.messages() == {"sent": 6, "received": 5, "lost": 1, "duplicated": 0}
    assert tally.implausible() == {"client_02": 10**15 - 2}


@pytest.mark.parametrize(("sequence", "seconds", "lost"), [(3002, 20.0, 3000), (3006, 20.0, 0), (1003, 0.0, 1001)])
def test_what_aws_takes_of_a_connection_in_that_time_may_be_lost(sequence: int, seconds: float, lost: int) -> None:
    tally = tallied(arrival(1, 101), arrival(sequence, 101 + seconds))

    assert tally.messages()["lost"] == lost
    assert bool(tally.implausible()) == (not lost)


def test_jumps_that_are_small_each_are_told_apart_where_they_are_too_many() -> None:
    tally = tallied(*(arrival(1 + 900 * number, 101 + number / 100) for number in range(100)))

    assert tally.messages() == {"sent": 100, "received": 100, "lost": 0, "duplicated": 0}
    assert tally.implausible() == {"client_01": 99 * 899}


def test_streams_do_not_make_a_client_lose_more() -> None:
    tally = tallied(*(arrival(number, 101, stream=str(stream)) for stream in range(16) for number in (1, 902)))

    assert tally.messages()["lost"] == 0
    assert tally.implausible() == {"client_01": 16 * 900}


def test_what_a_faster_broker_took_is_evidence_that_more_was_published() -> None:
    sent = [number for number in range(1, 20_001) if not 8_000 <= number < 12_000]
    tally = tallied(*(arrival(number, 101 + number / 10_000) for number in sent))

    assert tally.messages() == {"sent": 20_000, "received": 16_000, "lost": 4_000, "duplicated": 0}
    assert tally.implausible() == {}


def test_memory_of_a_client_that_makes_a_stream_of_each_message_has_an_end() -> None:
    moved = {"client_01": (OLD, NEW)}
    tally = Tally(Path(), 100, moved)
    tally.take(arrival(1, 101 + number / 100, (OLD, NEW)[number > 500], str(number)) for number in range(1000))
    tally.leave_out(Dropped("client_01", str(number), 1, 1) for number in range(1000))

    assert len(tally.by_stream()) == ledgers.MOST_STREAMS
    assert len(tally._dropped) == ledgers.MOST_STREAMS
    assert tally.messages() == {"sent": 16, "received": 16, "lost": 0, "duplicated": 0}
    assert tally.implausible() == {"client_01": 1000 - 16}
    # It moved all the same.
    assert tally.gaps() == {"client_01": pytest.approx(0.01)}


def test_memory_of_a_stream_that_is_all_holes_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "MOST_RUNS", 10)
    numbers = [*range(1, 100, 2), 2]
    tally = tallied(*(arrival(number, 101 + number) for number in numbers))

    # The one that closes a hole is counted.
    assert tally.messages() == {"sent": 11, "received": 11, "lost": 0, "duplicated": 0}
    assert tally.implausible() == {"client_01": 8 + 40}


def test_duplicates_beyond_what_is_kept_of_them_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "MOST_AGAIN", 3)
    tally = tallied(*(arrival(number, 101) for _ in range(3) for number in range(1, 6)))

    assert tally.messages() == {"sent": 5, "received": 5, "lost": 0, "duplicated": 10}
    assert tally._streams["client_01"].again == {1: 2, 2: 2, 3: 2}


def test_outbox_that_is_put_back_from_an_old_copy_has_lost_nothing() -> None:
    tally = tallied(
        *(arrival(number, 90 + number / 1000) for number in range(5000, 5100)),
        *(arrival(number, 97 + number / 1000) for number in range(4000, 4100)),
    )
    assert tally.messages() == {"sent": 0, "received": 0, "lost": 0, "duplicated": 0}
    # Until it has come to where it was.
    tally.take([*(arrival(number, 105) for number in range(5095, 5100)), arrival(5100, 106), arrival(5101, 106)])
    assert tally.messages() == {"sent": 2, "received": 2, "lost": 0, "duplicated": 0}
    assert tally.implausible() == {}


def test_new_memory_card_begins_a_stream_and_loses_nothing() -> None:
    tally = tallied(*(arrival(90_000 + number, 100 + number) for number in range(5)),
                    *(arrival(number, 110 + number, NEW, "b") for number in range(1, 6)))  # fmt: skip

    assert tally.messages() == {"sent": 10, "received": 10, "lost": 0, "duplicated": 0}


def test_backlog_of_a_device_that_was_off_for_long_is_not_implausible() -> None:
    tally = tallied(arrival(1_000, 99), *(arrival(1_000 + number, 101 + number / 100) for number in range(1, 5001)))

    assert tally.messages() == {"sent": 5000, "received": 5000, "lost": 0, "duplicated": 0}
    assert tally.implausible() == {}


def test_client_that_tells_the_impossible_has_it_in_its_own_row(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    write(path, arrival(1, 101), arrival(10**15, 102))
    found = by_client(path, 100, 110)["client_01"]

    assert (found.sent, found.received, found.lost, found.implausible) == (2, 2, 0, 10**15 - 2)


def test_operator_is_told_who_sends_the_impossible() -> None:
    assert told_apart({}) == []
    (line,) = told_apart({f"client_{number:02}": 3 for number in range(12)} | {"\x1b[2J": 4})
    assert line.startswith("messages: 13 clients sent numbers that they cannot have published ('\\x1b[2J', client_00")
    assert "client_08, …)" in line
    assert "client_09" not in line
    assert ": 40 are not counted" in line


def test_ledger_that_is_damaged_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(b"this is no database at all" * 400)

    assert not Tally(path, since=0).update()
    assert read(path, since=0) is None
    assert by_client(path, 0, 10) == {}


def test_ledger_of_an_earlier_monitor_is_read_and_what_was_forged_in_it_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    rows = [("client_01", "a", 1), ("client_01", "a", 2), ("client_02", "s" * 100_000, 1)]
    rows += [("client_02", "s" * 100_000, 2**63 - 1), ("client\x1b[2J", "a", 7)]
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "CREATE TABLE message "
            "(client_id TEXT, stream TEXT, sequence INTEGER, region TEXT, sent_at REAL, arrived_at REAL)"
        )
        database.executemany("INSERT INTO message VALUES (?, ?, ?, 'us-east-1', 0, 101)", rows)
    tally = Tally(path, since=100)

    assert tally.update()
    assert tally.messages() == {"sent": 5, "received": 5, "lost": 0, "duplicated": 0}
    assert tally.implausible() == {"client_02": 2**63 - 3}
