"""A ledger that is read at once, in the order in which messages arrived: a Tally that reads it in parts agrees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from region_switch.record.ledger import LOOK_BACK, Dropped, Tally, open_ledger


class Arrival(NamedTuple):
    """One message at one broker; times are epoch seconds."""

    client_id: str
    stream: str
    sequence: int
    region: str
    arrived_at: float


class Arrivals:
    """What arrived since a moment, read from the ledger each time it is iterated over."""

    def __init__(self, path: Path, since: float) -> None:
        self._path = path
        self._since = since

    def __iter__(self) -> Iterator[Arrival]:
        columns = ", ".join(Arrival._fields)
        query = f"SELECT {columns} FROM message WHERE arrived_at >= ? ORDER BY arrived_at"  # noqa: S608 - constants
        with closing(open_ledger(self._path)) as connection:
            yield from map(Arrival._make, connection.execute(query, (self._since,)))

    def dropped(self) -> list[Dropped]:
        """What devices said they dropped; a ledger whose monitor is older has no such table."""
        with closing(open_ledger(self._path)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'dropped'").fetchone():
                return []
            return [Dropped(*row) for row in connection.execute("SELECT client_id, stream, first, last FROM dropped")]


def read(path: Path, since: float) -> Arrivals | None:
    """Return what arrived since `since` less LOOK_BACK; None where nobody keeps the ledger."""
    return Arrivals(path, since - LOOK_BACK) if Tally(path, since).update() else None


def count(arrivals: Iterable[Arrival], since: float) -> dict[str, int]:
    """Return `{"sent", "received", "lost", "duplicated"}` of the messages from `since` on."""
    tally = Tally(Path(), since)
    tally.take(arrivals)
    tally.leave_out(arrivals.dropped() if isinstance(arrivals, Arrivals) else ())
    return tally.messages()


def gaps(arrivals: Iterable[Arrival], moved: Mapping[str, tuple[str, str]], since: float) -> dict[str, float]:
    """Return, per moved client, the seconds from its last message in the old region to its first in the new."""
    tally = Tally(Path(), since, moved)
    tally.take(arrivals)
    return tally.gaps()
