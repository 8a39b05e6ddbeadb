"""Counting as a stream says the same as counting the slow and obvious way."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from mqtt_monitor.ledger import Arrival, Ledger
from region_switch.record import ledger
from region_switch.record.ledger import LOOK_BACK
from tests import arrivals as at_once

SINCE, UNTIL = 1000.0, 1060.0
REGIONS = ("us-east-1", "ap-northeast-1")
# Whole quarters of a second, so that sums and differences are exact; some before the window, some behind it.
TIMES = st.integers(int(4 * (SINCE - 2 * LOOK_BACK)), int(4 * (UNTIL + 2 * LOOK_BACK))).map(lambda quarter: quarter / 4)
# Said with one message in four or so.
RANGES = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 4)), max_size=1).map(
    lambda found: tuple((first, first + more) for first, more in found)
)
ARRIVALS = st.lists(
    st.builds(
        Arrival,
        client_id=st.sampled_from(["client_01", "client_02"]),
        stream=st.sampled_from(["a", "b"]),
        sequence=st.integers(1, 12),
        region=st.sampled_from(REGIONS),
        sent_at=st.just(0.0),
        arrived_at=TIMES,
        dropped=RANGES,
    ),
    max_size=60,
).map(lambda found: sorted(found, key=lambda arrival: arrival.arrived_at))


def naive(stream: Sequence[Arrival], until: float) -> dict[str, int]:
    """One stream's counts, number by number."""
    rows = [row for row in stream if SINCE - LOOK_BACK <= row.arrived_at <= until]
    first = {
        number: min(row.arrived_at for row in rows if row.sequence == number) for number in {r.sequence for r in rows}
    }
    floor = min((number for number, at in first.items() if at < SINCE), default=0)
    recent = [number for number, at in first.items() if at >= SINCE and number > floor]
    if not recent:
        return dict.fromkeys(("sent", "received", "lost", "duplicated", "reordered", "dropped"), 0)
    numbers = range(min(recent), max(first) + 1)
    dropped = dropped_of(stream)
    late = {row.sequence for row in stream if until < row.arrived_at <= until + LOOK_BACK}
    received = {number for number in numbers if number in first or number in late}
    left_out = {number for number in numbers if number in dropped} - received
    order = list(dict.fromkeys(row.sequence for row in rows))
    return {
        "sent": len(numbers) - len(left_out),
        "received": len(received),
        "lost": len(numbers) - len(received) - len(left_out),
        "duplicated": sum(row.sequence in numbers for row in rows) - sum(number in first for number in numbers),
        "reordered": sum(max(order[: place + 1]) > number for place, number in enumerate(order) if number in recent),
        "dropped": len(left_out),
    }


def by_stream(arrivals: Sequence[Arrival]) -> dict[tuple[str, str], list[Arrival]]:
    streams: dict[tuple[str, str], list[Arrival]] = {}
    for row in arrivals:
        streams.setdefault((row.client_id, row.stream), []).append(row)
    return streams


def dropped_of(stream: Sequence[Arrival]) -> set[int]:
    return {number for row in stream for first, last in row.dropped for number in range(first, last + 1)}


def write(path: Path, arrivals: Sequence[Arrival]) -> None:
    written = Ledger(path)
    written.add(arrivals)
    written.close()


@given(ARRIVALS)
def test_messages_of_a_run(arrivals: list[Arrival]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger"
        write(path, arrivals)
        tally = ledger.Tally(path, SINCE)

        assert tally.update() == any(row.arrived_at >= SINCE - LOOK_BACK for row in arrivals)
        expected = [naive(rows, float("inf")) for rows in by_stream(arrivals).values()]
        assert tally.messages() == {
            key: sum(counts[key] for counts in expected) for key in ("sent", "received", "lost", "duplicated")
        }


@given(ARRIVALS, st.integers(0, 60))
def test_reading_in_two_parts_is_reading_at_once(arrivals: list[Arrival], part: int) -> None:
    moved = {"client_01": REGIONS, "client_02": REGIONS}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger"
        write(path, arrivals[:part])
        tally = ledger.Tally(path, SINCE, moved)
        tally.update()
        write(path, arrivals[part:])
        tally.update()
        found = at_once.read(path, SINCE) or ()

        assert tally.messages() == at_once.count(found, SINCE)
        assert tally.gaps() == at_once.gaps(found, moved, SINCE)


@given(ARRIVALS)
def test_gaps(arrivals: list[Arrival]) -> None:
    expected = {}
    for client_id in ("client_01", "client_02"):
        rows = [row for row in arrivals if row.client_id == client_id and row.arrived_at >= SINCE - LOOK_BACK]
        first = next(
            (place for place, row in enumerate(rows) if row.region == REGIONS[1] and row.arrived_at >= SINCE), None
        )
        olds = [row.arrived_at for row in rows[:first] if row.region == REGIONS[0]]
        if first is not None and olds:
            expected[client_id] = rows[first].arrived_at - olds[-1]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger"
        write(path, arrivals)
        found = at_once.read(path, SINCE) or ()

        assert at_once.gaps(found, {"client_01": REGIONS, "client_02": REGIONS}, SINCE) == expected


@given(ARRIVALS)
def test_each_client(arrivals: list[Arrival]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger"
        write(path, arrivals)
        found = ledger.by_client(path, SINCE, UNTIL)
    within = [row for row in arrivals if SINCE <= row.arrived_at <= UNTIL]

    assert set(found) == {row.client_id for row in within}
    for client_id, client in found.items():
        rows = [row for row in within if row.client_id == client_id]
        streams = {key: rows for key, rows in by_stream(arrivals).items() if key[0] == client_id}
        expected = [naive(rows, UNTIL) for rows in streams.values()]
        for name in expected[0]:
            assert getattr(client, name) == sum(counts[name] for counts in expected), name
        times = [row.arrived_at for row in rows]
        assert client.longest_gap == max((b - a for a, b in pairwise(times)), default=0.0)
        assert client.last_region == rows[-1].region
        assert client.regions == {name: n for name in REGIONS if (n := sum(row.region == name for row in rows))}
        for region, seen in client.seen.items():
            here = [row.arrived_at for row in rows if row.region == region]
            assert seen == (here[0], here[-1])


@given(ARRIVALS, st.integers(1, 30))
def test_timeline(arrivals: list[Arrival], buckets: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger"
        write(path, arrivals)
        found = ledger.timeline(path, SINCE, UNTIL, buckets)
    width = (UNTIL - SINCE) / buckets
    expected: list[dict[str, int]] = [{} for _ in range(buckets)]
    for row in arrivals:
        if SINCE <= row.arrived_at <= UNTIL:
            part = expected[min(buckets - 1, int((row.arrived_at - SINCE) / width))]
            part[row.region] = part.get(row.region, 0) + 1

    assert found == [(SINCE + number * width, part) for number, part in enumerate(expected)]


@given(ARRIVALS, st.integers(1, 7))
def test_pruning_takes_the_old_and_leaves_the_rest(arrivals: list[Arrival], limit: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger"
        write(path, arrivals)
        written = Ledger(path)
        while written.prune(SINCE, limit):
            pass
        written.close()
        with closing(sqlite3.connect(path)) as connection:
            left = [at for (at,) in connection.execute("SELECT arrived_at FROM message ORDER BY rowid")]

    # The newest row stays, so that numbers of rows only grow.
    assert left == [at for at in (row.arrived_at for row in arrivals[:-1]) if at >= SINCE] + [
        row.arrived_at for row in arrivals[-1:]
    ]
