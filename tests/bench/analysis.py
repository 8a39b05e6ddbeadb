"""What a move was like for its clients: computed from what the brokers logged, the ledger and the API's request log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any

from .brokers import CONNECTED, KICKED, Event, place


@dataclass(frozen=True)
class Move:
    """One move; times in seconds.

    Attributes:
        landed: from the command to the last client's last connection in its region; None where not all landed.
        command: how long the command itself took.
        offline: of each client that was to move, how long it was connected nowhere, all its interruptions together.
        silent: of each such client whose messages say so, from its last message in the old region to its first in
            the new one.
        not_landed: clients that were not in their region when nothing happened any more.
        bounced: clients that came back to the region they were to leave.
        needless: disconnections of clients that were in their region already.
        calls: requests by operation.
        throttled: requests that were answered with 429.
        phases: what our report says, [{"name", "seconds"}]; empty for the article's.
    """

    landed: float | None
    command: float
    offline: dict[str, float]
    silent: dict[str, float]
    not_landed: int
    bounced: int
    needless: int
    sent: int
    lost: int
    duplicated: int
    calls: dict[str, int]
    throttled: int
    phases: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """The move as it is committed: the clients' own seconds as their spread."""
        own = {key: spread(list(getattr(self, key).values())) for key in ("offline", "silent")}
        return {**asdict(self), **own, "landed": self.landed and round(self.landed, 2)}


def offline(events: Iterable[Event], before: Mapping[str, str]) -> dict[str, float]:
    """Return per client for how many seconds it was connected nowhere, as far as that has an end."""
    where, since, total = dict(before), dict[str, float](), dict[str, float]()
    for event in events:
        place(where, event)
        client = event.client_id
        if client not in where:
            since.setdefault(client, event.at)
        elif client in since:
            total[client] = total.get(client, 0.0) + event.at - since.pop(client)
    return total


def needless(events: Iterable[Event], before: Mapping[str, str], targets: Mapping[str, str]) -> int:
    """Return how often a client was told to leave the region that it belongs to."""
    where, found = dict(before), 0
    for event in events:
        connected_there = where.get(event.client_id) == event.region
        found += event.kind == KICKED and connected_there and targets.get(event.client_id) == event.region
        place(where, event)
    return found


def bounced(events: Iterable[Event], before: Mapping[str, str], targets: Mapping[str, str]) -> int:
    """Return how many clients connected again in the region they were to leave."""
    return len(
        {
            event.client_id
            for event in events
            if event.kind == CONNECTED
            and event.region == before.get(event.client_id) != targets.get(event.client_id, event.region)
        }
    )


def landed(
    events: Iterable[Event], after: Mapping[str, str], targets: Mapping[str, str], began: float
) -> tuple[float | None, int]:
    """Return the seconds until the last client that had to move was where it belongs, and how many are not."""
    missing = sum(after.get(client) != region for client, region in targets.items())
    last = max((event.at for event in events if event.kind == CONNECTED and event.client_id in targets), default=began)
    return (None if missing else last - began), missing


def count_calls(requests: Iterable[Mapping[str, Any]]) -> tuple[dict[str, int], int]:
    """Return requests by operation, most frequent first, and how many of them were answered with 429."""
    listed = list(requests)
    counts = Counter(str(each["operation"]) for each in listed)
    return dict(counts.most_common()), sum(each["status"] == 429 for each in listed)


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return `{"n", "median", "p95"}`, rounded to milliseconds; only n of no values."""
    if not values:
        return {"n": 0, "median": None, "p95": None}
    p95 = quantiles(values, n=20, method="inclusive")[18] if len(values) > 1 else values[0]
    return {"n": len(values), "median": round(median(values), 3), "p95": round(p95, 3)}


def summarise(moves: Sequence[Move]) -> dict[str, Any]:
    """Return one cell of the table: all moves of one method under one condition."""
    complete = [move.landed for move in moves if move.landed is not None]
    return {
        "moves": len(moves),
        "silent": spread([seconds for move in moves for seconds in move.silent.values()]),
        "offline": spread([seconds for move in moves for seconds in move.offline.values()]),
        "landed": round(median(complete), 2) if len(complete) == len(moves) else None,
        "calls": round(median(sum(move.calls.values()) for move in moves)),
        **{
            key: sum(getattr(move, key) for move in moves)
            for key in ("not_landed", "bounced", "needless", "throttled", "sent", "lost", "duplicated")
        },
    }
