"""Counts of messages, from the ledger that the fleet's monitor writes.

The ledger is read once, as a stream: memory grows with the clients and with the holes in their numbering, not with the
messages, and is limited for each client, whatever it sends. The numbers are the clients' own. Those that a client
cannot have published are counted separately, so that one client cannot spoil the counts of all.
"""

from __future__ import annotations

import math
import sqlite3
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any, NamedTuple

# Seconds before a window that are read too, since a message may arrive again that arrived before; and after it, since
# what arrives late is not lost.
LOOK_BACK = 60.0
# AWS IoT Core, "Publish requests per second per connection".
MOST_PUBLISHED = 100
# Seconds that a monitor needs to reconnect: what a broker held meanwhile arrives at once.
ALLOWANCE = 10.0
# Of one client: streams, of which a device begins another with a new outbox; runs of numbers without a hole, and
# numbers that arrived twice, both of one stream.
MOST_STREAMS = 16
MOST_RUNS = 10_000
MOST_AGAIN = 10_000
NAMES_SHOWN = 10
_COLUMNS = "client_id, stream, sequence, region, arrived_at"


class Dropped(NamedTuple):
    """Numbers, both ends included, that a device reports as dropped by itself: not lost in transit."""

    client_id: str
    stream: str
    first: int
    last: int


@dataclass(frozen=True)
class ClientMessages:
    """Counts of one client's messages in a window.

    Attributes:
        sent: numbers from the first that arrived in the window to the last, less those the device dropped.
        received: those of them that arrived, or arrived at most LOOK_BACK later.
        lost: those that did not.
        duplicated: arrivals beyond the first of each number.
        reordered: first arrivals of a number behind a higher one of the same stream (RFC 4737, section 3.3).
        longest_gap: seconds between two arrivals of the client anywhere; 0 where there are not two.
        regions: messages per region.
        last_region: where its newest message arrived.
        seen: per region, when its first and its last message arrived; epoch seconds.
        dropped: numbers that did not arrive because the device dropped them, such as when its outbox was full.
        implausible: numbers that are missing and that the client cannot have published, or has too many holes or
            streams to tell; neither sent nor lost.
    """

    sent: int
    received: int
    lost: int
    duplicated: int
    reordered: int
    longest_gap: float
    regions: dict[str, int]
    last_region: str
    seen: dict[str, tuple[float, float]] = field(default_factory=dict)
    dropped: int = 0
    implausible: int = 0


def open_ledger(path: Path) -> sqlite3.Connection:
    """Open a ledger for reading; a missing one is an error of the first query."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)


def _first_row(path: Path, since: float) -> int:
    """The row that arrived first since then; 0 where there is none: the ledger is not written, or no longer."""
    query = "SELECT rowid FROM message WHERE arrived_at >= ? ORDER BY arrived_at LIMIT 1"
    try:
        with closing(open_ledger(path)) as connection:
            found = connection.execute(query, (since,)).fetchone()
    except sqlite3.DatabaseError:
        # Missing, not readable, created but still without its tables, or damaged.
        return 0
    return int(found[0]) if found else 0


class _Numbers:
    """Whole numbers as runs without holes, MOST_RUNS at most."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    @property
    def highest(self) -> int:
        return self._lasts[-1]

    def add(self, number: int) -> bool | None:
        """Add a number; False if it is already there, None if there is no room for it."""
        firsts, lasts = self._firsts, self._lasts
        if lasts and number == lasts[-1] + 1:
            lasts[-1] = number
            return True
        place = bisect_right(firsts, number)
        if place and number <= lasts[place - 1]:
            return False
        before = place > 0 and lasts[place - 1] + 1 == number
        behind = place < len(firsts) and firsts[place] == number + 1
        if before and behind:
            lasts[place - 1] = lasts.pop(place)
            del firsts[place]
        elif before:
            lasts[place - 1] = number
        elif behind:
            firsts[place] = number
        elif len(firsts) >= MOST_RUNS:
            return None
        else:
            firsts.insert(place, number)
            lasts.insert(place, number)
        return True

    def count(self, low: int, high: int) -> int:
        """How many there are from `low` to `high`."""
        runs = zip(self._firsts, self._lasts, strict=True)
        return sum(max(0, min(last, high) - max(first, low) + 1) for first, last in runs)


class _Stream:
    """One stream's numbers: they count from 1 without holes. Streams of one client are a chain."""

    __slots__ = (
        "again", "again_more", "excess", "first_at", "floor", "following", "high", "last_at", "low", "name", "numbers",
        "reordered",
    )  # fmt: skip

    def __init__(self, name: str, at: float, following: _Stream | None = None) -> None:
        self.name = name
        self.following = following
        self.first_at = self.last_at = at
        self.numbers = _Numbers()
        # Lowest number that arrived first in the window, and the highest that arrived until its end; None: none did.
        self.low: int | None = None
        self.high = 0
        # Lowest number from before the window: what arrived earlier is not known. 0: none arrived.
        self.floor = 0
        # How many times each number arrived again; a total of those that there was no room for.
        self.again: dict[int, int] | None = None
        self.again_more = 0
        self.reordered = 0
        # Arrivals that there was no room for.
        self.excess = 0

    def chain(self) -> Iterator[_Stream]:
        """This stream and the client's others."""
        stream: _Stream | None = self
        while stream is not None:
            yield stream
            stream = stream.following

    def repeat(self, number: int) -> None:
        """A number arrived once more."""
        if self.again is None:
            self.again = {}
        if number in self.again or len(self.again) < MOST_AGAIN:
            self.again[number] = self.again.get(number, 0) + 1
        else:
            self.again_more += 1

    def counts(self, ranges: Iterable[Dropped]) -> _Counts:
        if self.low is None:
            return _Counts()
        low = self.low
        received = self.numbers.count(low, self.high)
        dropped = self._dropped(ranges)
        sent = self.high - low + 1 - dropped
        duplicated = sum(times for number, times in (self.again or {}).items() if number >= low) + self.again_more
        return _Counts(sent, received, sent - received, duplicated, self.reordered, dropped)

    def _dropped(self, ranges: Iterable[Dropped]) -> int:
        """The count of numbers that were dropped and did not arrive nevertheless."""
        low, high = self.low or 0, self.high
        total, done = 0, low - 1
        for first, last in sorted((each.first, each.last) for each in ranges):
            first, last = max(first, done + 1), min(last, high)
            if first <= last:
                total += last - first + 1 - self.numbers.count(first, last)
                done = last
        return total


class _Counts(NamedTuple):
    sent: int = 0
    received: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    dropped: int = 0
    implausible: int = 0

    def plus(self, other: _Counts) -> _Counts:
        return _Counts(*(left + right for left, right in zip(self, other, strict=True)))

    def without_lost(self, excess: int) -> _Counts:
        """The same if the missing numbers were never published, and `excess` arrivals were not counted."""
        return self._replace(sent=self.received, lost=0, implausible=self.lost + excess)


def _judged(streams: Sequence[_Stream], counts: Sequence[_Counts]) -> Sequence[_Counts]:
    """One client's counts, with the numbers that it cannot have published as implausible.

    A client has published at most what AWS accepts from a connection between its first and its last message, plus the
    allowance; where more arrived, as brokers with other limits accept it, as many again may be lost.
    """
    lost = sum(each.lost for each in counts)
    excess = sum(each.excess for each in streams)
    if not lost and not excess:
        return counts
    seconds = max(each.last_at for each in streams) - min(each.first_at for each in streams) + ALLOWANCE
    if not excess and lost <= MOST_PUBLISHED * seconds + sum(each.received for each in counts):
        return counts
    return [count.without_lost(stream.excess) for stream, count in zip(streams, counts, strict=True)]


class Tally:
    """Counts of the messages of a window; `update` reads what has arrived since the last call.

    Args:
        path: the ledger.
        since: epoch seconds; where the window begins.
        moved: `{client_id: (old region, new region)}` of the clients whose gap is asked for; of one that is back where
            it was both are the same, and its gap is the longest pause between two of its messages.
        until: where the window ends.
        clients: is filled with where and when each client's messages arrived.
    """

    def __init__(
        self,
        path: Path,
        since: float,
        moved: Mapping[str, tuple[str, str]] | None = None,
        until: float = math.inf,
        clients: dict[str, _Seen] | None = None,
    ) -> None:
        self._path = path
        self._since = since
        self._until = until
        self._gaps: dict[str, _Gap | _Pause] = {
            client_id: _Gap(old, new) if old != new else _Pause() for client_id, (old, new) in (moved or {}).items()
        }
        self._clients = clients
        # The newest stream of each client.
        self._streams: dict[str, _Stream] = {}
        self._dropped: dict[tuple[str, str], list[Dropped]] = {}
        self._last_row = 0

    def update(self) -> bool:
        """Read new messages; False if no monitor writes the ledger."""
        if not self._last_row:
            first = _first_row(self._path, self._since - LOOK_BACK)
            if not first:
                return False
            self._last_row = first - 1
        try:
            with closing(open_ledger(self._path)) as connection:
                self.take(self._new(connection))
                self.leave_out(_dropped(connection))
        except sqlite3.DatabaseError:
            return False
        return True

    def _new(self, connection: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
        query = (
            f"SELECT {_COLUMNS}, rowid FROM message WHERE rowid > ? AND +arrived_at BETWEEN ? AND ? "  # noqa: S608
            "ORDER BY rowid"
        )
        for row in connection.execute(query, (self._last_row, self._since - LOOK_BACK, self._until + LOOK_BACK)):
            self._last_row = row[5]
            yield row[:5]

    def leave_out(self, found: Iterable[Dropped]) -> None:
        """Replace the dropped numbers by these; those of streams without arrivals are not kept."""
        self._dropped.clear()
        for each in found:
            if self._stream(each.client_id, each.stream):
                self._dropped.setdefault((each.client_id, each.stream), []).append(each)

    def take(self, arrivals: Iterable[tuple[Any, ...]]) -> None:
        """Add arrivals, `(client_id, stream, sequence, region, arrived_at)` each, in the order in which they came."""
        streams, since, until = self._streams, self._since, self._until
        for client_id, name, sequence, region, at in arrivals:
            stream = streams.get(client_id)
            if stream is None or stream.name != name:
                stream = self._stream(client_id, name) or self._begin(client_id, name, at)
            if at <= until:
                stream.last_at = at
                _count(stream, sequence, at >= since)
                self._watch(client_id, region, at)
            elif sequence < stream.high:
                # Late, but not lost.
                stream.numbers.add(sequence)

    def _stream(self, client_id: str, name: str) -> _Stream | None:
        newest = self._streams.get(client_id)
        return next((each for each in newest.chain() if each.name == name), None) if newest else None

    def _begin(self, client_id: str, name: str, at: float) -> _Stream:
        """A new stream of a client; one that is not counted if the client already has too many."""
        newest = self._streams.get(client_id)
        if newest and sum(1 for _ in newest.chain()) >= MOST_STREAMS:
            newest.excess += 1
            return _Stream(name, at)
        self._streams[client_id] = stream = _Stream(name, at, newest)
        return stream

    def _watch(self, client_id: str, region: str, at: float) -> None:
        if client_id in self._gaps:
            self._gaps[client_id].take(region, at, self._since)
        if self._clients is not None and at >= self._since:
            seen = self._clients.get(client_id)
            if seen is None:
                seen = self._clients[client_id] = _Seen()
            seen.take(region, at)

    def messages(self) -> dict[str, int]:
        """Return `{"sent", "received", "lost", "duplicated"}` of all clients; see also `implausible`."""
        total = _Counts()
        for client_id in self._streams:
            for counts in self._of(client_id).values():
                total = total.plus(counts)
        return {key: getattr(total, key) for key in ("sent", "received", "lost", "duplicated")}

    def implausible(self) -> dict[str, int]:
        """Return how many numbers and arrivals are not counted, per client that cannot have published its numbers."""
        found = {
            client_id: sum(counts.implausible for counts in self._of(client_id).values()) for client_id in self._streams
        }
        return {client_id: number for client_id, number in found.items() if number}

    def by_stream(self) -> dict[tuple[str, str], _Counts]:
        """Return the counts of each stream of each client."""
        return {
            (client_id, name): counts for client_id in self._streams for name, counts in self._of(client_id).items()
        }

    def _of(self, client_id: str) -> dict[str, _Counts]:
        streams = list(self._streams[client_id].chain())
        counts = [each.counts(self._dropped.get((client_id, each.name), ())) for each in streams]
        return {each.name: found for each, found in zip(streams, _judged(streams, counts), strict=True)}

    def gaps(self) -> dict[str, float]:
        """Return, per moved client, the seconds from its last message in the old region to its first in the new."""
        found = {client_id: gap.seconds() for client_id, gap in self._gaps.items()}
        return {client_id: seconds for client_id, seconds in found.items() if seconds is not None}


def _count(stream: _Stream, sequence: int, within: bool) -> None:
    high = stream.high
    added = stream.numbers.add(sequence)
    if not added:
        if added is None:
            stream.excess += 1
        else:
            stream.repeat(sequence)
        return
    if sequence > high:
        stream.high = sequence
    if not within:
        if not stream.floor or sequence < stream.floor:
            stream.floor = sequence
        return
    # A number below all from before the window, such as of an old outbox that was restored, says nothing about those
    # in between: they may have arrived long ago.
    if sequence < stream.floor:
        return
    stream.reordered += sequence < high
    if stream.low is None or sequence < stream.low:
        stream.low = sequence


class _Gap:
    """A moved client's last message in the old region and its first in the new one."""

    __slots__ = ("_first", "_last", "_new", "_old")

    def __init__(self, old: str, new: str) -> None:
        self._old = old
        self._new = new
        self._first: float | None = None
        self._last: float | None = None

    def take(self, region: str, at: float, since: float) -> None:
        # Messages in the new region before the window belong to an earlier move.
        if region == self._new and at >= since and self._first is None:
            self._first = at
        elif region == self._old and self._first is None:
            self._last = at

    def seconds(self) -> float | None:
        return None if self._first is None or self._last is None else self._first - self._last


class _Pause:
    """The longest pause of a client that was disconnected and came back, wherever its messages arrived."""

    __slots__ = ("_last", "_longest")

    def __init__(self) -> None:
        self._last: float | None = None
        self._longest: float | None = None

    def take(self, _region: str, at: float, since: float) -> None:
        if self._last is not None and at >= since:
            self._longest = max(self._longest or 0.0, at - self._last)
        self._last = at

    def seconds(self) -> float | None:
        return self._longest


def _dropped(connection: sqlite3.Connection) -> Iterator[Dropped]:
    try:
        rows = connection.execute("SELECT client_id, stream, first, last FROM dropped")
    except sqlite3.OperationalError:
        # A ledger whose monitor is older.
        return iter(())
    return map(Dropped._make, rows)


def told_apart(implausible: Mapping[str, int]) -> list[str]:
    """The report of `Tally.implausible` to the operator: one line, or none."""
    if not implausible:
        return []
    names = [name if name.isprintable() else repr(name) for name in sorted(implausible)[:NAMES_SHOWN]]
    shown = ", ".join(names) + (", …" if len(implausible) > NAMES_SHOWN else "")
    return [
        f"messages: {len(implausible)} clients sent numbers that they cannot have published ({shown}): "
        f"{sum(implausible.values())} are not counted, check what these devices send"
    ]


def percentiles(values: Iterable[float]) -> dict[str, Any] | None:
    """Return `{"p50", "p95", "max"}`, None of no values."""
    ordered = sorted(values)
    if not ordered:
        return None
    cuts = quantiles(ordered, n=100, method="inclusive") if len(ordered) > 1 else ordered * 99
    return {"p50": round(cuts[49], 3), "p95": round(cuts[94], 3), "max": round(ordered[-1], 3)}


def timeline(path: Path, since: float, until: float, buckets: int) -> list[tuple[float, dict[str, int]]]:
    """Return how many messages arrived in each region in each of `buckets` equal parts of a window.

    Returns:
        `(epoch seconds at which the part begins, {region: messages})` for each part, in order; a region without a
        message in a part is not named there. Empty where there is no ledger.
    """
    if until <= since or buckets < 1:
        return []
    width = (until - since) / buckets
    query = (
        "SELECT min(CAST((arrived_at - ?) / ? AS INTEGER), ?) AS part, region, count(*) FROM message "
        "WHERE arrived_at BETWEEN ? AND ? GROUP BY part, region"
    )
    parts: list[tuple[float, dict[str, int]]] = [(since + number * width, {}) for number in range(buckets)]
    try:
        with closing(open_ledger(path)) as connection:
            for part, region, messages in connection.execute(query, (since, width, buckets - 1, since, until)):
                parts[part][1][region] = messages
    except sqlite3.OperationalError:
        return []
    return parts


class _Seen:
    """Where and when one client's messages arrived."""

    __slots__ = ("_last_at", "last_region", "longest_gap", "regions", "seen")

    def __init__(self) -> None:
        self.regions: dict[str, int] = {}
        self.seen: dict[str, tuple[float, float]] = {}
        self.last_region = ""
        self.longest_gap = 0.0
        self._last_at: float | None = None

    def take(self, region: str, at: float) -> None:
        if self._last_at is not None and at - self._last_at > self.longest_gap:
            self.longest_gap = at - self._last_at
        self._last_at = at
        self.last_region = region
        self.regions[region] = self.regions.get(region, 0) + 1
        self.seen[region] = (self.seen[region][0] if region in self.seen else at, at)


def by_client(path: Path, since: float, until: float) -> dict[str, ClientMessages]:
    """Return the counts of each client's messages in a window; empty where there is no ledger.

    A client without an arrival between `since` and `until` (epoch seconds) is not in it.
    """
    clients: dict[str, _Seen] = {}
    tally = Tally(path, since, until=until, clients=clients)
    tally.update()
    totals = dict.fromkeys(clients, _Counts())
    for (client_id, _), counts in tally.by_stream().items():
        if client_id in totals:
            totals[client_id] = totals[client_id].plus(counts)
    return {
        client_id: ClientMessages(
            **totals[client_id]._asdict(),
            longest_gap=round(each.longest_gap, 3),
            regions=each.regions,
            last_region=each.last_region,
            seen=each.seen,
        )
        for client_id, each in clients.items()
    }
