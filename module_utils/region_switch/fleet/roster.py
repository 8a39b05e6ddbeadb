"""The clients of a run, on disk: what is known of each, and what is to be done next.

A fleet may have a million clients, so none of this is kept in memory. One thread uses a roster.
"""

from __future__ import annotations

import csv
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..model import approval
from ..model.errors import StorageError, one_line
from ..model.spreadsheet import cell
from ..record import folder
from ..record.folder import UntrustedError
from ..record.journal import no_room
from ..record.storage import failed
from .source import Connection

State = Literal["placed", "waiting", "sending", "told", "looking", "landed"]
COMMIT_SECONDS = 0.25
# The wave of a client that is in none yet: later than all; and of one that belongs to none, but may be told any time.
NO_WAVE = 2**31
ANY_WAVE = 0
# The shape of the table below, which a run that goes on from another's roster has to know.
SHAPE = 3
# https://docs.aws.amazon.com/general/latest/gr/iot-core.html: MQTT CONNECT per client ID, 1 per second. A connection
# that began so much later in the same region is another one; the index and GetConnection need not agree on its moment.
ANOTHER_CONNECTION = 1.0
CSV_COLUMNS = (
    *("client_id", "endpoint", "from", "to", "state", "disconnected_at", "landed_at", "seconds"),
    *("disconnects", "bounces", "note"),
)

# lot: clients are taken in an order that has nothing to do with their names, so that a first wave is a sample.
# seen: by this run; what only an interrupted run has seen may have become another thing since.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS client (
    client_id TEXT NOT NULL,
    region TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    target TEXT NOT NULL,
    connected_since REAL NOT NULL,
    state TEXT NOT NULL,
    lot INTEGER NOT NULL,
    due REAL NOT NULL DEFAULT 0,
    wave INTEGER NOT NULL DEFAULT 2147483648,
    attempts INTEGER NOT NULL DEFAULT 0,
    looks INTEGER NOT NULL DEFAULT 0,
    kicks INTEGER NOT NULL DEFAULT 0,
    kicked_at REAL NOT NULL DEFAULT 0,
    told_at REAL NOT NULL DEFAULT 0,
    late INTEGER NOT NULL DEFAULT 0,
    seen INTEGER NOT NULL DEFAULT 1,
    found INTEGER NOT NULL DEFAULT 0,
    landed_at REAL NOT NULL DEFAULT 0,
    in_target INTEGER,
    in_source INTEGER,
    bounces INTEGER NOT NULL DEFAULT 0,
    note TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (client_id, region)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS waiting ON client (wave, lot, due) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS told ON client (due) WHERE state = 'told';
"""
_COLUMNS = (
    *("client_id", "region", "endpoint", "target", "connected_since", "wave", "attempts", "looks", "kicks"),
    *("kicked_at", "told_at", "found", "bounces"),
)
_NAMES = ", ".join(_COLUMNS)
_SELECT = f"SELECT {_NAMES} FROM client"  # noqa: S608 - names of this file
# A client that was told to leave by a move which was taken back, and was seen where its record points again.
RETURNED = "returned"
# One that had gone when it was told to leave, and is nowhere since: nobody can say that a region does not take it in.
_ABSENT = "(kicks > 0 AND found = 0 AND in_target = 0 AND in_source = 0)"
# What became of a client, in one word, beside its endpoint's record as it is in the end: see `STATES`.
_HOME = "coalesce((SELECT home.region FROM temp.home WHERE home.endpoint = client.endpoint), target)"
VERDICT = f"""
CASE
WHEN note = '{RETURNED}' THEN 'returned'
WHEN state = 'placed' THEN CASE WHEN region = {_HOME} THEN 'placed' ELSE 'straggler' END
WHEN state = 'landed' THEN CASE WHEN target = {_HOME} THEN 'landed' ELSE 'straggler' END
WHEN state = 'waiting' AND kicks = 0 AND attempts = 0 THEN CASE WHEN region = {_HOME} THEN 'placed' ELSE 'untold' END
WHEN in_target IS NULL OR in_source IS NULL THEN 'unproven'
WHEN in_target AND in_source THEN 'both'
WHEN in_target THEN CASE WHEN target = {_HOME} THEN 'landed' ELSE 'straggler' END
WHEN in_source THEN CASE WHEN region = {_HOME} THEN 'returned' WHEN bounces THEN 'bounced' ELSE 'straggler' END
ELSE 'dark'
END"""
STATES = {
    "placed": "was where its record points",
    "landed": "seen connected where its record points",
    "returned": "told to leave, and seen back where its record points again",
    "untold": "found elsewhere than its record points, and not told to leave",
    "straggler": "connected elsewhere than its record points",
    "bounced": "went back to the region that it was told to leave",
    "both": "connected in both regions",
    "dark": "connected in neither region",
    "unproven": "may have been told to leave; not looked for since, or AWS did not say",
}
# Those of them that are where the record points.
AT_HOME = ("placed", "landed", "returned")
_AT_HOME = ", ".join(f"'{state}'" for state in AT_HOME)


@dataclass(frozen=True, slots=True)
class TrackedClient:
    """A client in a region it does not belong to, and what was done about it.

    Attributes:
        region, target: where it was found, and where it belongs.
        connected_since: epoch seconds by AWS's clock, 0 where unknown.
        attempts: failed requests since it was last told to leave.
        looks: how often it was looked for since then.
        kicks, found: how often it was told to leave, and whether AWS knew the connection.
        kicked_at, told_at: when it was told last, in epoch seconds for people, and in monotonic seconds of this run.
        bounces: how often it came back to the region it had left.
    """

    client_id: str
    region: str
    endpoint: str
    target: str
    connected_since: float
    wave: int = 0
    attempts: int = 0
    looks: int = 0
    kicks: int = 0
    kicked_at: float = 0.0
    told_at: float = 0.0
    found: int = 0
    bounces: int = 0

    @property
    def key(self) -> tuple[str, str]:
        return self.client_id, self.region


class _Database(sqlite3.Connection):
    """A database whose failing statements end in one line."""

    path = Path()
    make_room: Callable[[], None] = staticmethod(no_room)

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        try:
            return super().execute(sql, parameters)
        except sqlite3.DatabaseError as error:
            raise self._ended(error) from error

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        try:
            return super().executemany(sql, parameters)
        except sqlite3.DatabaseError as error:
            raise self._ended(error) from error

    def executescript(self, sql_script: str, /) -> sqlite3.Cursor:
        try:
            return super().executescript(sql_script)
        except sqlite3.DatabaseError as error:
            raise self._ended(error) from error

    def _ended(self, error: sqlite3.DatabaseError) -> StorageError:
        found = failed(self.path, error)
        self.make_room()
        if self.in_transaction:
            with suppress(sqlite3.DatabaseError):
                super().execute("ROLLBACK")
        return found


def _connect(path: Path, make_room: Callable[[], None] = no_room) -> _Database:
    try:
        database: _Database = sqlite3.connect(path, isolation_level=None, factory=_Database)
    except sqlite3.DatabaseError as error:
        raise failed(path, error) from error
    database.path, database.make_room = path, make_room
    return database


def _claim(path: Path) -> None:
    """See to it that a database is for its owner alone; what SQLite makes beside it gets the same mode."""
    try:
        for each in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            if each == path or each.exists():
                os.close(folder.open_file(each, os.O_RDWR | os.O_CREAT))
    except OSError as error:
        raise failed(path, error) from error


class Roster:
    """The clients of one run in an SQLite file.

    When the disk takes no more, what was written since the last commit is gone as after a crash: it is found out again.

    Args:
        make_room: called when the disk takes no more, so that the run's end is written all the same.

    Raises:
        StorageError: the disk does not take it.
        UntrustedError: there is something else than a roster of this user's.
    """

    def __init__(self, path: Path, make_room: Callable[[], None] = no_room) -> None:
        _claim(path)
        self._db = _connect(path, make_room)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)
        self._db.execute(f"PRAGMA user_version = {SHAPE}")
        records_are(self._db, {})
        self._committed = time.monotonic()
        self._resumed = False

    @staticmethod
    def copy(source: Path, target: Path) -> None:
        """Copy a roster, also one whose run was killed; nothing where there is none.

        Raises:
            StorageError: the disk does not take the copy, of which nothing is left.
            UntrustedError: it is damaged or of another release, or somebody else has made it or may write to it.
        """
        if not source.exists():
            return
        _claim(source)
        _claim(target)
        try:
            with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
                old.backup(new)
                found = new.execute("PRAGMA quick_check(1)").fetchone()[0]
                if new.execute("PRAGMA user_version").fetchone() != (SHAPE,):
                    found = "the clients of another release"
        except sqlite3.DatabaseError as error:
            found = str(error)
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                target.unlink()
                raise failed(target, error) from error
        if found != "ok":
            target.unlink()
            raise UntrustedError(
                f"{source}: passed over, found {one_line(found)}, expected the clients of a run: they are looked for "
                "again"
            )

    def close(self) -> None:
        try:
            self.commit()
        finally:
            self._db.close()

    def __enter__(self) -> Roster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def commit(self) -> None:
        # SQLite itself ends a transaction that the disk does not take.
        if self._db.in_transaction:
            self._db.execute("COMMIT")
        self._committed = time.monotonic()

    def tick(self) -> None:
        """Commit now and then: what a crash takes is found out again."""
        if time.monotonic() - self._committed >= COMMIT_SECONDS:
            self.commit()

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN")

    def add(self, clients: Iterable[Connection], desired: Mapping[str, str], late: bool = False) -> int:
        """Take in the connections of the endpoints of `desired`; return how many are in a wrong region and new.

        A client that had landed and is found again in the region it left, by a connection made since, is one that
        has come back. An older one is what the index has not caught up with. One that was only looked for can be told
        to leave where its region answers again. Of one whose endpoint has become another, what was seen and planned for
        the former one holds no more.

        Args:
            clients: those of other endpoints are passed over.
            late: whether the plan has been made without them.
        """
        self._begin()
        added = 0
        for client in clients:
            target = desired.get(client.endpoint)
            if self._resumed:
                self._seen_again(client, ours=target is not None)
            if target is None:
                continue
            state = "placed" if target == client.region else "waiting"
            row = (client.client_id, client.region, client.endpoint, target, client.connected_since, state)
            done = self._db.execute(
                "INSERT INTO client (client_id, region, endpoint, target, connected_since, state, lot, late) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET state = excluded.state, due = 0, "
                "endpoint = excluded.endpoint, target = excluded.target, connected_since = excluded.connected_since, "
                "bounces = bounces + (state = 'landed'), wave = excluded.wave, in_target = 0, in_source = 1, "
                "late = iif(state = 'placed', excluded.late, late) "
                "WHERE (state != 'landed' AND excluded.endpoint != endpoint) "
                "OR (state = 'told' AND kicks = 0 AND excluded.state = 'waiting') "
                "OR (state = 'landed' AND excluded.state = 'waiting' AND excluded.connected_since > landed_at "
                "AND excluded.connected_since >= connected_since + ?)",
                (*row, zlib.crc32(client.client_id.encode()), late, ANOTHER_CONNECTION),
            )
            added += done.rowcount if state == "waiting" else 0
        self.tick()
        return added

    def _seen_again(self, client: Connection, ours: bool) -> None:
        """Note that this run has seen a client, and forget the ways it had by another endpoint.

        Args:
            ours: whether it uses one of our endpoints; the row of its region is then brought up to date.
        """
        self._db.execute(
            "UPDATE client SET seen = ? WHERE client_id = ? AND region = ?", (ours, client.client_id, client.region)
        )
        self._db.execute(
            "DELETE FROM client WHERE client_id = ? AND endpoint != ? AND NOT seen AND state IN ('waiting', 'told')",
            (client.client_id, client.endpoint),
        )

    def expect(self, clients: Iterable[Connection], desired: Mapping[str, str]) -> int:
        """Take in clients that nobody can tell to leave, only look for: their region does not answer."""
        self._begin()
        before = self._db.total_changes
        self._db.executemany(
            "INSERT OR IGNORE INTO client (client_id, region, endpoint, target, connected_since, state, lot) "
            "SELECT ?1, ?2, ?3, ?4, 0, 'told', 0 "
            "WHERE NOT EXISTS (SELECT 1 FROM client WHERE client_id = ?1 AND state = 'placed')",
            ((each.client_id, each.region, each.endpoint, desired[each.endpoint]) for each in clients),
        )
        return self._db.total_changes - before

    def not_found(self, client_ids: Iterable[str], shown: int) -> tuple[int, int, list[str]]:
        """Return how many different clients these are, how many of them are not in the roster, and the first of those.

        Args:
            shown: how many are named.
        """
        self._begin()
        self._db.execute("CREATE TEMP TABLE listed (client_id TEXT PRIMARY KEY) WITHOUT ROWID")
        self._db.executemany("INSERT OR IGNORE INTO listed VALUES (?)", ((each,) for each in client_ids))
        total = int(self._db.execute("SELECT count(*) FROM listed").fetchone()[0])
        missing = "FROM listed WHERE NOT EXISTS (SELECT 1 FROM client WHERE client.client_id = listed.client_id)"
        absent = int(self._db.execute(f"SELECT count(*) {missing}").fetchone()[0])
        names = self._db.execute(f"SELECT client_id {missing} ORDER BY client_id LIMIT ?", (shown,)).fetchall()
        self._db.execute("DROP TABLE listed")
        self.commit()
        return total, absent, [str(name) for (name,) in names]

    def per_endpoint(self) -> dict[str, int]:
        """`{endpoint: how many clients}`, whatever became of them."""
        query = "SELECT endpoint, count(DISTINCT client_id) FROM client GROUP BY endpoint"
        return dict(self._db.execute(query).fetchall())

    def only_look_for(self, regions: Iterable[str]) -> None:
        """Take it that nobody can tell the clients of these regions to leave."""
        self._begin()
        leaving = ((ANY_WAVE, region) for region in regions)
        self._db.executemany(
            "UPDATE client SET state = 'told', wave = ? WHERE state = 'waiting' AND region = ?", leaving
        )
        self.commit()

    def settle(self) -> None:
        """Take back what was begun and has no result, after an interruption: it may not have been sent."""
        self._begin()
        self._db.execute("UPDATE client SET state = 'waiting' WHERE state = 'sending'")
        self._db.execute("UPDATE client SET state = 'told' WHERE state = 'looking'")
        self.commit()

    def resume(self) -> None:
        """Take up where another run was interrupted: its waves, its clock and what its plan knew count no more.

        Who is where has to be found again, see `forget_unseen`.
        """
        self._resumed = bool(self.count())
        self._begin()
        # Nobody knows whether a request was sent and carried out: what was noted last is not on disk after a crash, but
        # for the clients of a wave, see `assign`.
        begun = "state = 'sending' OR (state = 'waiting' AND wave < ?)"
        self._db.execute(f"UPDATE client SET attempts = attempts + 1 WHERE {begun}", (NO_WAVE,))  # noqa: S608
        self.settle()
        self._begin()
        self._db.execute("UPDATE client SET late = 0, seen = 0")
        self._db.execute("UPDATE client SET wave = ?, due = 0, told_at = 0 WHERE state = 'waiting'", (NO_WAVE,))
        self._db.execute("UPDATE client SET wave = ?, due = 0, told_at = 0 WHERE state = 'told'", (ANY_WAVE,))
        self.commit()

    def forget_unseen(self, regions: Iterable[str]) -> None:
        """Forget whom an interrupted run has seen in these regions, this one has not, and nobody has told to leave."""
        self._begin()
        self._db.executemany(
            "DELETE FROM client WHERE region = ? AND NOT seen AND kicks = 0 AND attempts = 0 AND state != 'landed'",
            ((region,) for region in regions),
        )
        self.commit()

    def gather_late(self) -> int:
        """Take everyone who was told and has not landed out of the waves; return how many they are."""
        self._begin()
        late = "state = 'told' OR (state = 'waiting' AND wave < ?)"
        self._db.execute(f"UPDATE client SET wave = ? WHERE {late}", (ANY_WAVE, NO_WAVE))  # noqa: S608
        self.commit()
        return self._count("wave = ? AND state IN ('told', 'waiting')", ANY_WAVE)

    def reverse(self) -> Iterator[tuple[TrackedClient, bool]]:
        """Who was told to leave, or may have been, and whether it has landed: those whom a restored record sends back.

        A request that failed may have been carried out all the same.
        """
        moved = "kicks > 0 OR attempts > 0"
        query = f"SELECT {_NAMES}, state FROM client WHERE {moved}"  # noqa: S608 - names of this file
        return ((TrackedClient(*values), state == "landed") for *values, state in self._db.execute(query))

    def add_returning(self, client: TrackedClient, home: str, landed: bool) -> None:
        """Take in a client that has to come from where another roster had it go to the region of its record."""
        self._begin()
        self._db.execute(
            "INSERT OR IGNORE INTO client (client_id, region, endpoint, target, connected_since, state, lot) "
            "VALUES (?, ?, ?, ?, 0, ?, 0)",
            (client.client_id, client.target, client.endpoint, home, "waiting" if landed else "told"),
        )  # fmt: skip

    def tell_nobody(self) -> None:
        """Have those who wait to be told looked for instead."""
        self._begin()
        self._db.execute("UPDATE client SET state = 'told', due = 0, attempts = attempts + 1 WHERE state = 'waiting'")
        self.commit()

    def landed(self) -> Iterator[TrackedClient]:
        """Those who have landed after they were told to leave or were looked for."""
        return (TrackedClient(*row) for row in self._db.execute(f"{_SELECT} WHERE state = 'landed'"))

    def returned(self, client: TrackedClient) -> None:
        """Note that a client of another roster, whose way leads back, is where its record points again."""
        self._begin()
        key = client.client_id, client.region
        update = "UPDATE client SET state = 'placed', note = ? WHERE client_id = ? AND target = ? AND state != 'placed'"
        self._db.execute(update, (RETURNED, *key))
        # It was found where it had landed, too, and is not there any more.
        self._db.execute("DELETE FROM client WHERE client_id = ? AND region = ? AND state = 'placed'", key)

    def away(self) -> Iterator[tuple[TrackedClient, int | None, int | None]]:
        """Who has not come where this roster leads, with what was last seen: in the region they go to, and left."""
        query = f"SELECT {_NAMES}, in_target, in_source FROM client WHERE state != 'landed'"  # noqa: S608
        return ((TrackedClient(*values), seen, left) for *values, seen, left in self._db.execute(query))

    def still_away(self, client: TrackedClient, in_home: int | None, in_left: int | None) -> None:
        """Note where a client of another roster, whose way leads back, was last seen: it did not come back.

        Args:
            in_home, in_left: in the region it had to go to, and in the one it had to leave; None where AWS did not say.
        """
        self._begin()
        self._db.execute(
            "UPDATE client SET state = 'told', in_target = ?, in_source = iif(region = ?, ?, 0) "
            "WHERE client_id = ? AND target = ? AND state != 'placed'",
            (in_left, client.target, in_home, client.client_id, client.region),
        )

    def records_are(self, homes: Mapping[str, str]) -> None:
        """Count against these records from now on: `{endpoint: region}`, empty for a region that is not ours."""
        records_are(self._db, homes)

    def assign(self, wave: int, size: int) -> None:
        """Give the next `size` clients that are in no wave yet to a wave."""
        self._begin()
        self._db.execute(
            "UPDATE client SET wave = ?1 WHERE (client_id, region) IN "
            "(SELECT client_id, region FROM client WHERE state = 'waiting' AND wave = ?3 ORDER BY lot LIMIT ?2)",
            (wave, size, NO_WAVE),
        )
        self.commit()

    def take_waiting(self, wave: int, now: float, limit: int) -> list[TrackedClient]:
        """Return clients of waves up to `wave` that are to be told to leave now; they count as being sent."""
        return self._take("waiting", "sending", "wave <= ? AND due <= ? ORDER BY wave, lot", (wave, now), limit)

    def take_told(self, now: float, limit: int) -> list[TrackedClient]:
        """Return clients that are to be looked for now, those that are due longest first."""
        return self._take("told", "looking", "due <= ? ORDER BY due", (now,), limit)

    def _take(
        self, state: State, next_state: State, where: str, values: tuple[Any, ...], limit: int
    ) -> list[TrackedClient]:
        query = f"{_SELECT} WHERE state = '{state}' AND {where} LIMIT ?"
        found = [TrackedClient(*row) for row in self._db.execute(query, (*values, limit))]
        if found:
            self._begin()
            update = f"UPDATE client SET state = '{next_state}' WHERE client_id = ? AND region = ?"  # noqa: S608
            self._db.executemany(update, [client.key for client in found])
        return found

    def update(self, client: TrackedClient, state: State, **columns: Any) -> None:
        """Note what became of a client; `columns` are those of the table."""
        self._begin()
        names = ", ".join(f"{name} = ?" for name in ("state", *columns))
        self._db.execute(
            f"UPDATE client SET {names} WHERE client_id = ? AND region = ?",  # noqa: S608 - names of this package
            (state, *columns.values(), *client.key),
        )

    def count(self) -> int:
        """How many clients there are, one for each region that a client was found in."""
        return self._count("1")

    def count_landed(self) -> int:
        """How many have landed after they were told to leave or were looked for."""
        return self._count("state = 'landed'")

    def outstanding(self) -> int:
        """How many were found in a wrong region, or are looked for, and have not landed."""
        return self._count("state NOT IN ('placed', 'landed')")

    def told_again(self) -> int:
        """How many were told to leave more than once."""
        return self._count("kicks > 1")

    def _count(self, where: str, *values: object) -> int:
        query = f"SELECT count(*) FROM client WHERE {where}"  # noqa: S608 - conditions of this package
        return int(self._db.execute(query, values).fetchone()[0])

    def not_landed(self, wave: int) -> tuple[int, int]:
        """How many of a wave were told and are known not to have landed, and of how many AWS does not say.

        Whoever had gone before it was told, and is nowhere since, is in neither: see `absent`.
        """
        told = f"wave = ? AND kicks > 0 AND state NOT IN ('placed', 'landed') AND NOT ifnull({_ABSENT}, 0)"
        unseen = "(in_target IS NULL OR (in_target = 1 AND in_source IS NULL))"
        return self._count(f"{told} AND NOT {unseen}", wave), self._count(f"{told} AND {unseen}", wave)

    def absent(self, wave: int) -> int:
        """How many of a wave had gone before they were told to leave, and are nowhere since."""
        return self._count(f"wave = ? AND state NOT IN ('placed', 'landed') AND {_ABSENT}", wave)

    def late_of(self, wave: int, limit: int) -> list[str]:
        """The first client IDs of a wave that have not landed."""
        query = "SELECT client_id FROM client WHERE wave = ? AND state NOT IN ('placed', 'landed') ORDER BY 1 LIMIT ?"
        return [client_id for (client_id,) in self._db.execute(query, (wave, limit))]

    def not_looked_for(self, wave: int) -> bool:
        """Whether somebody of a wave was told and has not been looked for since."""
        return bool(self._count("wave = ? AND kicks > 0 AND looks = 0 AND state IN ('told', 'looking')", wave))

    def waiting(self) -> int:
        """How many have to go and are in no wave yet."""
        return self._count("state = 'waiting' AND wave = ?", NO_WAVE)

    def per_route(self) -> dict[tuple[str, str], int]:
        """`{(region, target): how many clients have to go}`."""
        query = "SELECT region, target, count(*) FROM client WHERE state = 'waiting' GROUP BY region, target"
        return {(region, target): count for region, target, count in self._db.execute(query)}

    def misplaced(self, limit: int) -> Iterator[TrackedClient]:
        """The first clients in a wrong region, sorted by client ID."""
        query = f"{_SELECT} WHERE state NOT IN ('placed', 'landed') ORDER BY client_id, region LIMIT ?"
        return (TrackedClient(*row) for row in self._db.execute(query, (limit,)))

    def stragglers(self, limit: int) -> list[str]:
        """The first client IDs that are not where their record points."""
        query = f"SELECT DISTINCT client_id FROM client WHERE {VERDICT} NOT IN ({_AT_HOME}) ORDER BY 1 LIMIT ?"  # noqa: S608
        return [client_id for (client_id,) in self._db.execute(query, (limit,))]

    def moved(self) -> Iterator[tuple[str, str, str]]:
        """`(client ID, region it left, region it went to)` of those who were told to leave, or only looked for.

        Of one that is back where it was both are the same.
        """
        query = (
            f"SELECT client_id, region, CASE {VERDICT} WHEN 'returned' THEN region ELSE target END "  # noqa: S608
            "FROM client WHERE kicks > 0 OR (state != 'placed' AND looks > 0)"
        )
        return iter(self._db.execute(query))

    def client_digest(self) -> str:
        """A digest of who has to go from where to where, whatever the order they were found in."""
        return approval.digest(map(approval.line, self.leaving()))

    def leaving(self) -> Iterator[approval.Leaving]:
        """`(client ID, region, target)` of everyone who has to go, sorted."""
        query = "SELECT client_id, region, target FROM client WHERE state = 'waiting' ORDER BY client_id, region"
        return iter(self._db.execute(query))

    def late(self) -> dict[str, int]:
        """`{target: how many have to go there whom the plan did not know}`."""
        query = "SELECT target, count(*) FROM client WHERE state = 'waiting' AND late GROUP BY target"
        return dict(self._db.execute(query))

    def planned(self) -> dict[str, int]:
        """`{target: how many the plan sent there}`."""
        query = "SELECT target, count(*) FROM client WHERE state != 'placed' AND NOT late GROUP BY target"
        return dict(self._db.execute(query))

    def counts(self) -> dict[str, int]:
        """The counts of summary.json, and `dark`: seen in neither region."""
        return count_clients(self._db)

    def write_csv(self, path: Path) -> None:
        """Write the table of clients, sorted by client ID.

        Raises:
            StorageError: the disk does not take it.
        """
        with folder.replacing(path, newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(CSV_COLUMNS)
            query = (
                f"SELECT client_id, endpoint, region, target, {VERDICT}, kicked_at, landed_at, kicks, bounces, "  # noqa: S608
                "note FROM client ORDER BY client_id, region"
            )
            for row in self._db.execute(query):
                writer.writerow(_csv_row(*row))


def records_are(database: sqlite3.Connection, homes: Mapping[str, str]) -> None:
    """Have a database with the table of a roster know where the endpoints' records point; writes nothing to its file.

    An endpoint that is not in `homes` is taken to be where the clients' way leads.
    """
    database.execute("CREATE TEMP TABLE IF NOT EXISTS home (endpoint TEXT PRIMARY KEY, region TEXT NOT NULL)")
    database.execute("DELETE FROM temp.home")
    database.executemany("INSERT INTO temp.home VALUES (?, ?)", homes.items())


def count_clients(database: sqlite3.Connection) -> dict[str, int]:
    """The counts of summary.json, and `dark`: seen in neither region; of the table of a roster, see `records_are`."""
    query = f"SELECT client_id, {VERDICT} AS verdict, region != target AS misplaced, bounces FROM client"  # noqa: S608
    query = f"""
        SELECT count(*), ifnull(sum(misplaced), 0), ifnull(sum(straggler), 0), ifnull(sum(bounced), 0),
            ifnull(sum(both), 0), ifnull(sum(dark), 0)
        FROM (SELECT max(misplaced) AS misplaced, max(verdict NOT IN ({_AT_HOME})) AS straggler,
            max(bounces > 0) AS bounced, max(verdict = 'both') AS both, max(verdict = 'dark') AS dark
            FROM ({query}) GROUP BY client_id)
    """  # noqa: S608 - names of this file
    total, misplaced, stragglers, bounced, both, dark = database.execute(query).fetchone()
    return {
        "total": total,
        "misplaced": misplaced,
        "landed": total - stragglers,
        "stragglers": stragglers,
        "bounced": bounced,
        "in_both_regions": both,
        "dark": dark,
    }


def _csv_row(
    client_id: str, endpoint: str, region: str, target: str, state: str, kicked_at: float, landed_at: float,
    kicks: int, bounces: int, note: str,
) -> tuple[object, ...]:  # fmt: skip
    seconds = f"{max(0.0, landed_at - kicked_at):.3f}" if landed_at and kicked_at else ""
    return (
        *map(cell, (client_id, endpoint, region, target, state)),
        *(_moment(kicked_at), _moment(landed_at), seconds, kicks, bounces, cell(note)),
    )


def _moment(at: float) -> str:
    return f"{at:.3f}" if at else ""
