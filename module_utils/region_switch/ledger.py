"""What became of every message: the ledger that the fleet's monitor writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

# Seconds before the run that are read too: a message may arrive again that arrived before.
LOOK_BACK = 60.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message at one broker; times are epoch seconds."""

    client_id: str
    stream: str
    sequence: int
    region: str
    arrived_at: float


def read(path: Path, since: float) -> list[Arrival] | None:
    """Return what arrived since `since` less LOOK_BACK; None where nobody keeps the ledger."""
    if not path.exists():
        return None
    query = "SELECT client_id, stream, sequence, region, arrived_at FROM message WHERE arrived_at >= ?"
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as connection:
            # A ledger without recent rows is one that its writer left behind.
            return [Arrival(*row) for row in connection.execute(query, (since - LOOK_BACK,))] or None
    except sqlite3.OperationalError:
        # Made, but not yet filled by its writer.
        return None


def count(arrivals: Iterable[Arrival], since: float) -> dict[str, int]:
    """Return `{"sent", "received", "lost", "duplicated"}` of the messages from `since` on.

    A stream counts its messages from 1 without holes: from the first that arrived after `since` to the last,
    each number that never arrived is lost.
    """
    streams: dict[tuple[str, str], list[Arrival]] = {}
    for arrival in arrivals:
        streams.setdefault((arrival.client_id, arrival.stream), []).append(arrival)
    totals = {"sent": 0, "received": 0, "lost": 0, "duplicated": 0}
    for stream in streams.values():
        for key, number in _count_stream(stream, since).items():
            totals[key] += number
    return totals


def _count_stream(stream: list[Arrival], since: float) -> dict[str, int]:
    first: dict[int, float] = {}
    for arrival in stream:
        first[arrival.sequence] = min(arrival.arrived_at, first.get(arrival.sequence, arrival.arrived_at))
    recent = [sequence for sequence, at in first.items() if at >= since]
    if not recent:
        return {}
    low, high = min(recent), max(first)
    received = sum(low <= sequence for sequence in first)
    rows = sum(low <= arrival.sequence for arrival in stream)
    sent = high - low + 1
    return {"sent": sent, "received": received, "lost": sent - received, "duplicated": rows - received}


def gaps(arrivals: Iterable[Arrival], moved: Mapping[str, tuple[str, str]], since: float) -> dict[str, float]:
    """Return, per moved client, the seconds from its last message in the old region to its first in the new.

    Args:
        moved: `{client_id: (old region, new region)}`.
        since: epoch seconds; what arrived in the new region before is of an earlier move.
    """
    found: dict[str, float] = {}
    by_client: dict[str, list[Arrival]] = {}
    for arrival in arrivals:
        by_client.setdefault(arrival.client_id, []).append(arrival)
    for client_id, (old, new) in moved.items():
        rows = by_client.get(client_id, [])
        first = min((row.arrived_at for row in rows if row.region == new and row.arrived_at >= since), default=None)
        if first is None:
            continue
        last = max((row.arrived_at for row in rows if row.region == old and row.arrived_at <= first), default=None)
        if last is not None:
            found[client_id] = first - last
    return found


def percentiles(values: Iterable[float]) -> dict[str, Any] | None:
    """Return `{"p50", "p95", "max"}`, None of no values."""
    ordered = sorted(values)
    if not ordered:
        return None
    cuts = quantiles(ordered, n=100, method="inclusive") if len(ordered) > 1 else ordered * 99
    return {"p50": round(cuts[49], 3), "p95": round(cuts[94], 3), "max": round(ordered[-1], 3)}
