"""State of the live view: each client's latest message and region, and a move's progress. No drawing, no waiting."""

from __future__ import annotations

import sqlite3
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

# The view runs from a checkout, where the engine that writes the journals is beside it.
sys.path.append(str(Path(__file__).resolve().parents[2] / "module_utils"))

from region_switch.record import events
from region_switch.record.events import Entry

# Seconds of arrivals that are read at the start, and that a region's rate is drawn over.
PAST = 60
# Seconds that a rate is the mean of.
RATE_SECONDS = 3
# For so long a client that has changed its region counts as moving; one that does so twice is in both.
MOVING_SECONDS = 5.0
# A client is dark when nothing has come from it for so long, and for some of its usual pauses.
DARK_SECONDS = 3.0
DARK_PAUSES = 5.0
NEWEST = 50
# Rows that are read at a time: a watcher that comes late catches up in steps.
ROWS = 20_000


class Message(NamedTuple):
    """One arrival; epoch seconds."""

    client_id: str
    sequence: int
    region: str
    at: float


@dataclass
class Client:
    """The latest message of a client.

    Attributes:
        before: the region it was in before, empty while it has always been in one.
        pause: seconds between two of its messages, as they usually are.
        gap: seconds between its last message in the region before and its first in this one.
    """

    region: str
    sequence: int
    at: float
    before: str = ""
    gap: float = 0.0
    pause: float = 1.0
    changed_at: deque[float] = field(default_factory=lambda: deque(maxlen=2))

    def condition(self, now: float) -> str:
        """Return "both", "dark", "moving" or "": in both regions at once, silent, just come over, or nothing of it."""
        recent = [at for at in self.changed_at if now - at <= MOVING_SECONDS]
        if len(recent) > 1:
            return "both"
        if now - self.at > max(DARK_SECONDS, DARK_PAUSES * self.pause):
            return "dark"
        return "moving" if recent else ""


@dataclass
class Region:
    """What arrives in a region; `live`: whether the monitor is subscribed there, None if unknown."""

    newest: deque[Message] = field(default_factory=lambda: deque(maxlen=NEWEST))
    seconds: dict[int, int] = field(default_factory=dict)
    live: bool | None = None

    def take(self, message: Message) -> None:
        self.newest.appendleft(message)
        second = int(message.at)
        self.seconds[second] = self.seconds.get(second, 0) + 1
        if len(self.seconds) > 2 * PAST:
            for old in sorted(self.seconds)[:PAST]:
                del self.seconds[old]

    def history(self, now: float, length: int) -> list[int]:
        """Messages in each of the last whole seconds, the newest last."""
        return [self.seconds.get(second, 0) for second in range(int(now) - length, int(now))]

    def rate(self, now: float) -> float:
        return sum(self.history(now, RATE_SECONDS)) / RATE_SECONDS


class Change(NamedTuple):
    """A client's messages arrive in another region than before."""

    client_id: str
    source: str
    target: str
    at: float
    gap: float


@dataclass
class Fleet:
    """Every client that has sent a message, and every region."""

    regions: dict[str, Region]
    clients: dict[str, Client] = field(default_factory=dict)

    def take(self, messages: Iterable[Message]) -> list[Change]:
        """Add arrivals in their order; return which clients changed their region."""
        changes = []
        for message in messages:
            self.regions.setdefault(message.region, Region()).take(message)
            client = self.clients.get(message.client_id)
            if client is None:
                self.clients[message.client_id] = Client(message.region, message.sequence, message.at)
                continue
            pause = message.at - client.at
            if client.region != message.region:
                client.before, client.gap = client.region, pause
                client.changed_at.append(message.at)
                changes.append(Change(message.client_id, client.region, message.region, message.at, pause))
            else:
                client.pause += 0.2 * (pause - client.pause)
            client.region, client.sequence, client.at = message.region, message.sequence, message.at
        return changes

    def by_region(self) -> dict[str, int]:
        """Return how many clients sent their latest message in each region."""
        found = dict.fromkeys(self.regions, 0)
        for client in self.clients.values():
            found[client.region] += 1
        return found

    def conditions(self, now: float) -> dict[str, list[str]]:
        """Client IDs that are `both`, `dark` and `moving`, sorted."""
        found: dict[str, list[str]] = {"both": [], "dark": [], "moving": []}
        for client_id, client in sorted(self.clients.items()):
            condition = client.condition(now)
            if condition:
                found[condition].append(client_id)
        return found


class LedgerFollower:
    """Reads new rows of a ledger, which may not exist yet, and may be another file the next time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._row: int | None = None

    def read(self, now: float) -> tuple[list[Message], dict[str, bool]]:
        """Return new arrivals, at most ROWS, and the regions with whether the monitor is subscribed there.

        Raises:
            OSError: there is no ledger, or it cannot be read; the text describes it.
        """
        if not self._path.exists():
            self._row = None
            raise FileNotFoundError(f"there is no ledger {self._path}: start the monitor")
        try:
            uri = f"{self._path.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=1)) as database:
                return self._messages(database, now), _subscriptions(database)
        except sqlite3.Error as error:
            raise OSError(f"ledger {self._path}: {error}") from error

    def _messages(self, database: sqlite3.Connection, now: float) -> list[Message]:
        newest = database.execute("SELECT max(rowid) FROM message").fetchone()[0] or 0
        if self._row is None or newest < self._row:
            query = "SELECT rowid FROM message WHERE arrived_at >= ? ORDER BY arrived_at LIMIT 1"
            first = database.execute(query, (now - PAST,)).fetchone()
            self._row = first[0] - 1 if first else newest
        query = (
            "SELECT client_id, sequence, region, arrived_at, rowid FROM message WHERE rowid > ? ORDER BY rowid LIMIT ?"
        )
        rows = database.execute(query, (self._row, ROWS)).fetchall()
        if rows:
            self._row = rows[-1][4]
        return [Message(*row[:4]) for row in rows]


def _subscriptions(database: sqlite3.Connection) -> dict[str, bool]:
    return {region: since is not None for region, since in database.execute("SELECT region, since FROM subscription")}


STAGES = ("plan", "preflight", "switch", "DNS", "sweep", "landing")
_STAGE_BY_STEP: dict[type, str] = {
    events.Start: "plan",
    events.Plan: "preflight",
    events.Switch: "switch",
    events.Switched: "switch",
    events.Insync: "DNS",
    events.DnsWaiting: "DNS",
    events.Sweep: "sweep",
    events.SweepAgain: "landing",
    events.Landing: "landing",
    events.Restore: "restore",
    events.Restored: "restore",
}
# The note of a stage until the journal says more.
_NOTES: dict[type, str] = {
    events.Plan: "checking the target region",
    events.Switch: "changing the records",
    events.Switched: "waiting until Route 53's servers have them",
    events.Insync: "waiting until every name server and resolver answers the new region",
    events.Paused: "paused after the switch",
    events.Restore: "restoring the records",
    events.Restored: "records restored, sending clients back",
    **dict.fromkeys((events.Dns, events.Sweep, events.SweepAgain, events.Landing, events.Progress, events.End), ""),
}


@dataclass
class Move:
    """A move, by its journal so far.

    Attributes:
        routes: `(endpoint, from, to)` of what moves.
        stage: one of STAGES; "restore" while the move is restored; empty before it begins.
        done, total: clients disconnected or landed; total 0 where nothing is counted yet.
        outcome: empty while it is under way.
    """

    mode: str = ""
    routes: Sequence[tuple[str, str, str]] = ()
    stage: str = ""
    note: str = ""
    done: int = 0
    total: int = 0
    rate: float = 0.0
    eta: float | None = None
    landed: int = 0
    stragglers: int = 0
    started_at: float = 0.0
    last_at: float = 0.0
    outcome: str = ""
    error: str = ""

    def apply(self, entry: Entry) -> None:
        """Apply an entry of the journal; what this version does not know is ignored.

        Raises:
            ValueError: it is damaged, or of an unknown version.
        """
        event = events.read(entry)
        self.last_at = _epoch(entry.get("at"), self.last_at)
        if isinstance(event, events.Start):
            self.mode, self.started_at, self.outcome = event.mode, self.last_at, ""
        elif isinstance(event, events.Plan):
            self.routes = [(move.endpoint, move.source, move.target) for move in event.moves if move.needed]
            self.total = event.misplaced
        elif isinstance(event, events.Progress):
            self.stage = "sweep" if event.phase == "sweep" else "landing"
            self.done, self.total, self.rate, self.eta = event.done, event.total, event.rate, event.eta
            self.landed, self.stragglers = event.landed, event.stragglers
        elif isinstance(event, events.End):
            self.outcome, self.error = event.outcome, event.error or ""
        self.stage = _STAGE_BY_STEP.get(type(event), self.stage)
        self.note = _note(event, self.note)


def _note(event: events.Event | None, before: str) -> str:
    if isinstance(event, events.DnsWaiting):
        stale = sorted({each["server"] for each in event.stale})
        return f"{', '.join(stale[:3]) or 'the old TTL'} still answers the old region; {event.left:.0f} s left at most"
    if isinstance(event, events.Interrupted):
        return f"interrupted: {event.reason}"
    if isinstance(event, events.Skipped):
        return f"{event.region} does not answer and is skipped"
    return _NOTES.get(type(event), before)


def _epoch(text: object, otherwise: float) -> float:
    try:
        # Python before 3.11 does not read the Z.
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return otherwise


class JournalFollower:
    """Follows the newest run of a folder of reports, and the next one as soon as it begins."""

    def __init__(self, reports: Path | None) -> None:
        self._reports = reports
        self._journal: Path | None = None
        self._offset = 0
        self.move: Move | None = None

    def read(self) -> Move | None:
        """Return the newest move as it is now; None where there is none."""
        newest = self._newest()
        if newest is None:
            return self.move
        if newest != self._journal or self.move is None:
            self._journal, self._offset, self.move = newest, 0, Move()
        move = self.move
        try:
            for entry, offset in events.new_entries(newest, self._offset):
                self._offset = offset
                # Damaged, or of another version: less is shown.
                with suppress(ValueError):
                    move.apply(entry)
        except OSError:
            # Deleted while it was read.
            self._journal = None
        return move

    def _newest(self) -> Path | None:
        if self._reports is None:
            return None
        # `latest` is a link to one of the others; names begin with the time.
        journals = [path for path in self._reports.glob("*/journal.jsonl") if not path.parent.is_symlink()]
        return max(journals, key=lambda path: path.parent.name, default=None)
