"""The clients of a run in an SQLite file: the state of each, and its next action.

A fleet may have a million clients, so none of this is kept in memory. A roster is used by one thread.
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
# The wave of a client that is in none yet, later than all; and of one that may be disconnected at any time.
NO_WAVE = 2**31
ANY_WAVE = 0
# The version of the table below, which has to be the same in a run that resumes with another's roster.
SHAPE = 3
# https://docs.aws.amazon.com/general/latest/gr/iot-core.html: MQTT CONNECT per client ID, 1 per second. A connection
# that began so much later in the same region is a new one; the index and GetConnection may differ on its time.
ANOTHER_CONNECTION = 1.0
CSV_COLUMNS = (
    *("client_id", "endpoint", "from", "to", "state", "disconnected_at", "landed_at", "seconds"),
    *("disconnects", "bounces", "note"),
)

# lot: a hash that orders the clients independently of their names, so that a first wave is a sample.
# seen: by this run; a client that only an interrupted run saw may have changed since.
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
# A client that a move disconnected before its records were restored, seen again where its record points.
RETURNED = "returned"
# In a run's folder.
FILE = "clients.sqlite"
# A client that was gone before it was disconnected, and is connected nowhere since: no proof that a region refuses it.
_ABSENT = "(kicks > 0 AND found = 0 AND in_target = 0 AND in_source = 0)"
# A client's final state, in one word, compared with the final record of its endpoint: see `STATES`.
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
    "returned": "disconnected, and seen again where its restored record points",
    "untold": "found elsewhere than its record points, and not disconnected",
    "straggler": "connected elsewhere than its record points",
    "bounced": "connected again in the region that it was disconnected from",
    "both": "connected in both regions",
    "dark": "connected in neither region",
    "unproven": "may have been disconnected; not looked up since, or AWS did not say where it is",
}
# The states of clients that are where the record points.
AT_HOME = ("placed", "landed", "returned")
_AT_HOME = ", ".join(f"'{state}'" for state in AT_HOME)


@dataclass(frozen=True, slots=True)
class TrackedClient:
    """A client in a wrong region, and what was done about it.

    Attributes:
        region, target: where it was found, and where it belongs.
        connected_since: epoch seconds by AWS's clock, 0 where unknown.
        attempts: failed requests since it was last disconnected.
        looks: how often it was looked up since then.
        kicks, found: how often it was disconnected, and whether AWS knew the connection.
        kicked_at, told_at: when it was last disconnected, in epoch seconds, and in monotonic seconds of this run.
        bounces: how often it returned to the region that it was disconnected from.
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
    """A database whose errors are one line, as StorageError."""

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
    """Make a database accessible to its owner only; SQLite creates its other files with the same mode."""
    try:
        for each in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            if each == path or each.exists():
                os.close(folder.open_file(each, os.O_RDWR | os.O_CREAT))
    except OSError as error:
        raise failed(path, error) from error


class Roster:
    """The clients of one run in an SQLite file.

    When the disk is full, writes since the last commit are lost as after a crash, and are found out again.

    Args:
        make_room: called when the disk is full, so that the run's end can still be written.

    Raises:
        StorageError: the file cannot be written.
        UntrustedError: the file is not a roster of this user.
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
        """Copy a roster, even if its run was killed; do nothing where there is none.

        Raises:
            StorageError: the disk is full; the copy is deleted.
            UntrustedError: it is damaged, of another release, or owned or writable by somebody else.
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
                f"{source}: passed over, found {one_line(found)}, expected the clients of a run: they are read again"
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
        # SQLite itself ends a transaction when the disk is full.
        if self._db.in_transaction:
            self._db.execute("COMMIT")
        self._committed = time.monotonic()

    def tick(self) -> None:
        """Commit every COMMIT_SECONDS: what a crash loses is found out again."""
        if time.monotonic() - self._committed >= COMMIT_SECONDS:
            self.commit()

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN")

    def add(self, clients: Iterable[Connection], desired: Mapping[str, str], late: bool = False) -> int:
        """Add the connections of the endpoints of `desired`; return how many are new and in a wrong region.

        A client that had landed and has a newer connection in the region it left has come back; an older connection
        there is a stale entry of the index. A client that was only looked up can be disconnected once its region
        answers again. When a client's endpoint has changed, its former state and plan are discarded.

        Args:
            clients: those of other endpoints are skipped.
            late: whether the plan was made without them.
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
        """Mark a client as seen by this run, and delete its rows of another endpoint.

        Args:
            ours: whether it uses one of our endpoints; the row of its region is updated then.
        """
        self._db.execute(
            "UPDATE client SET seen = ? WHERE client_id = ? AND region = ?", (ours, client.client_id, client.region)
        )
        self._db.execute(
            "DELETE FROM client WHERE client_id = ? AND endpoint != ? AND NOT seen AND state IN ('waiting', 'told')",
            (client.client_id, client.endpoint),
        )

    def expect(self, clients: Iterable[Connection], desired: Mapping[str, str]) -> int:
        """Add clients that can only be looked up, not disconnected: their region does not answer."""
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
            shown: how many are named at most.
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
        """`{endpoint: how many clients}`, in any state."""
        query = "SELECT endpoint, count(DISTINCT client_id) FROM client GROUP BY endpoint"
        return dict(self._db.execute(query).fetchall())

    def only_look_for(self, regions: Iterable[str]) -> None:
        """Only look up the clients of these regions, which cannot be disconnected."""
        self._begin()
        leaving = ((ANY_WAVE, region) for region in regions)
        self._db.executemany(
            "UPDATE client SET state = 'told', wave = ? WHERE state = 'waiting' AND region = ?", leaving
        )
        self.commit()

    def settle(self) -> None:
        """Reset requests without a result, after an interruption: they may not have been sent."""
        self._begin()
        self._db.execute("UPDATE client SET state = 'waiting' WHERE state = 'sending'")
        self._db.execute("UPDATE client SET state = 'told' WHERE state = 'looking'")
        self.commit()

    def resume(self) -> None:
        """Resume an interrupted run: its waves, its clock and its plan's clients are discarded.

        Where clients are has to be read again, see `forget_unseen`.
        """
        self._resumed = bool(self.count())
        self._begin()
        # It is unknown whether a request was carried out: a crash loses the last updates, except for the clients of a
        # wave, see `assign`.
        begun = "state = 'sending' OR (state = 'waiting' AND wave < ?)"
        self._db.execute(f"UPDATE client SET attempts = attempts + 1 WHERE {begun}", (NO_WAVE,))  # noqa: S608
        self.settle()
        self._begin()
        self._db.execute("UPDATE client SET late = 0, seen = 0")
        self._db.execute("UPDATE client SET wave = ?, due = 0, told_at = 0 WHERE state = 'waiting'", (NO_WAVE,))
        self._db.execute("UPDATE client SET wave = ?, due = 0, told_at = 0 WHERE state = 'told'", (ANY_WAVE,))
        self.commit()

    def forget_unseen(self, regions: Iterable[str]) -> None:
        """Delete clients of these regions that only an interrupted run has seen, and that were not disconnected."""
        self._begin()
        self._db.executemany(
            "DELETE FROM client WHERE region = ? AND NOT seen AND kicks = 0 AND attempts = 0 AND state != 'landed'",
            ((region,) for region in regions),
        )
        self.commit()

    def gather_late(self) -> int:
        """Remove disconnected clients that have not landed from their waves; return their number."""
        self._begin()
        late = "state = 'told' OR (state = 'waiting' AND wave < ?)"
        self._db.execute(f"UPDATE client SET wave = ? WHERE {late}", (ANY_WAVE, NO_WAVE))  # noqa: S608
        self.commit()
        return self._count("wave = ? AND state IN ('told', 'waiting')", ANY_WAVE)

    def reverse(self) -> Iterator[tuple[TrackedClient, bool]]:
        """Clients that were disconnected, or may have been, each with whether it has landed: they return on a restore.

        A failed request may have been carried out.
        """
        moved = "kicks > 0 OR attempts > 0"
        query = f"SELECT {_NAMES}, state FROM client WHERE {moved}"  # noqa: S608 - names of this file
        return ((TrackedClient(*values), state == "landed") for *values, state in self._db.execute(query))

    def add_returning(self, client: TrackedClient, home: str, landed: bool) -> None:
        """Add a client of another roster that has to return from its target there to its record's region `home`."""
        self._begin()
        self._db.execute(
            "INSERT OR IGNORE INTO client (client_id, region, endpoint, target, connected_since, state, lot) "
            "VALUES (?, ?, ?, ?, 0, ?, 0)",
            (client.client_id, client.target, client.endpoint, home, "waiting" if landed else "told"),
        )  # fmt: skip

    def tell_nobody(self) -> None:
        """Look up the clients that wait to be disconnected instead."""
        self._begin()
        self._db.execute("UPDATE client SET state = 'told', due = 0, attempts = attempts + 1 WHERE state = 'waiting'")
        self.commit()

    def landed(self) -> Iterator[TrackedClient]:
        """Clients that have landed after they were disconnected or looked up."""
        return (TrackedClient(*row) for row in self._db.execute(f"{_SELECT} WHERE state = 'landed'"))

    def returned(self, client: TrackedClient) -> None:
        """Store that a client of another roster, which has to return, is where its record points again."""
        self._begin()
        key = client.client_id, client.region
        update = "UPDATE client SET state = 'placed', note = ? WHERE client_id = ? AND target = ? AND state != 'placed'"
        self._db.execute(update, (RETURNED, *key))
        # It was also found where it had landed, and is no longer there.
        self._db.execute("DELETE FROM client WHERE client_id = ? AND region = ? AND state = 'placed'", key)

    def away(self) -> Iterator[tuple[TrackedClient, int | None, int | None]]:
        """Clients that have not landed, each with whether it was last seen in its target, and in the region it left."""
        query = f"SELECT {_NAMES}, in_target, in_source FROM client WHERE state != 'landed'"  # noqa: S608
        return ((TrackedClient(*values), seen, left) for *values, seen, left in self._db.execute(query))

    def still_away(self, client: TrackedClient, in_home: int | None, in_left: int | None) -> None:
        """Store where a client of another roster was last seen that had to return and did not.

        Args:
            in_home, in_left: in the region it had to return to, and in the one to leave; None where AWS did not say.
        """
        self._begin()
        self._db.execute(
            "UPDATE client SET state = 'told', in_target = ?, in_source = iif(region = ?, ?, 0) "
            "WHERE client_id = ? AND target = ? AND state != 'placed'",
            (in_left, client.target, in_home, client.client_id, client.region),
        )

    def records_are(self, homes: Mapping[str, str]) -> None:
        """Compare clients with these records from now on: `{endpoint: region}`, empty for a region that is not ours."""
        records_are(self._db, homes)

    def assign(self, wave: int, size: int) -> None:
        """Assign the next `size` clients without a wave to a wave."""
        self._begin()
        self._db.execute(
            "UPDATE client SET wave = ?1 WHERE (client_id, region) IN "
            "(SELECT client_id, region FROM client WHERE state = 'waiting' AND wave = ?3 ORDER BY lot LIMIT ?2)",
            (wave, size, NO_WAVE),
        )
        self.commit()

    def take_waiting(self, wave: int, now: float, limit: int) -> list[TrackedClient]:
        """Return clients of waves up to `wave` to disconnect now, and mark them as being sent."""
        return self._take("waiting", "sending", "wave <= ? AND due <= ? ORDER BY wave, lot", (wave, now), limit)

    def take_told(self, now: float, limit: int) -> list[TrackedClient]:
        """Return clients to look up now, the longest due first."""
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
        """Store a client's new state; `columns` are those of the table."""
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
        """How many have landed after they were disconnected or looked up."""
        return self._count("state = 'landed'")

    def outstanding(self) -> int:
        """How many were found in a wrong region, or are looked up, and have not landed."""
        return self._count("state NOT IN ('placed', 'landed')")

    def told_again(self) -> int:
        """How many were disconnected more than once."""
        return self._count("kicks > 1")

    def _count(self, where: str, *values: object) -> int:
        query = f"SELECT count(*) FROM client WHERE {where}"  # noqa: S608 - conditions of this package
        return int(self._db.execute(query, values).fetchone()[0])

    def not_landed(self, wave: int) -> tuple[int, int]:
        """How many of a wave were disconnected and have not landed, and of how many AWS does not say whether they have.

        Neither includes clients that were gone before, and are connected nowhere since: see `absent`.
        """
        told = f"wave = ? AND kicks > 0 AND state NOT IN ('placed', 'landed') AND NOT ifnull({_ABSENT}, 0)"
        unseen = "(in_target IS NULL OR (in_target = 1 AND in_source IS NULL))"
        return self._count(f"{told} AND NOT {unseen}", wave), self._count(f"{told} AND {unseen}", wave)

    def absent(self, wave: int) -> int:
        """How many of a wave were gone before they were disconnected, and are connected nowhere since."""
        return self._count(f"wave = ? AND state NOT IN ('placed', 'landed') AND {_ABSENT}", wave)

    def late_of(self, wave: int, limit: int) -> list[str]:
        """The first client IDs of a wave that have not landed."""
        query = "SELECT client_id FROM client WHERE wave = ? AND state NOT IN ('placed', 'landed') ORDER BY 1 LIMIT ?"
        return [client_id for (client_id,) in self._db.execute(query, (wave, limit))]

    def not_looked_for(self, wave: int) -> bool:
        """Whether a client of a wave was disconnected and has not been looked up since."""
        return bool(self._count("wave = ? AND kicks > 0 AND looks = 0 AND state IN ('told', 'looking')", wave))

    def waiting(self) -> int:
        """How many have to move and are in no wave yet."""
        return self._count("state = 'waiting' AND wave = ?", NO_WAVE)

    def per_route(self) -> dict[tuple[str, str], int]:
        """`{(region, target): how many clients have to move}`."""
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
        """`(client ID, region it left, target)` of the clients that were disconnected, or only looked up.

        Both regions are the same for a client that has returned.
        """
        query = (
            f"SELECT client_id, region, CASE {VERDICT} WHEN 'returned' THEN region ELSE target END "  # noqa: S608
            "FROM client WHERE kicks > 0 OR (state != 'placed' AND looks > 0)"
        )
        return iter(self._db.execute(query))

    def client_digest(self) -> str:
        """A digest of the clients that have to move, with region and target, in any order."""
        return approval.digest(map(approval.line, self.leaving()))

    def leaving(self) -> Iterator[approval.Leaving]:
        """`(client ID, region, target)` of every client that has to move, sorted."""
        query = "SELECT client_id, region, target FROM client WHERE state = 'waiting' ORDER BY client_id, region"
        return iter(self._db.execute(query))

    def late(self) -> dict[str, int]:
        """`{target: how many that the plan did not include have to move there}`."""
        query = "SELECT target, count(*) FROM client WHERE state = 'waiting' AND late GROUP BY target"
        return dict(self._db.execute(query))

    def planned(self) -> dict[str, int]:
        """`{target: how many the plan moves there}`."""
        query = "SELECT target, count(*) FROM client WHERE state != 'placed' AND NOT late GROUP BY target"
        return dict(self._db.execute(query))

    def counts(self) -> dict[str, int]:
        """The counts of summary.json, and `dark`: seen in neither region."""
        return count_clients(self._db)

    def write_csv(self, path: Path) -> None:
        """Write the table of clients, sorted by client ID.

        Raises:
            StorageError: the file cannot be written.
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
    """Set where the endpoints' records point, in a temporary table of a roster's database.

    For an endpoint that is not in `homes`, the clients' target is assumed.
    """
    database.execute("CREATE TEMP TABLE IF NOT EXISTS home (endpoint TEXT PRIMARY KEY, region TEXT NOT NULL)")
    database.execute("DELETE FROM temp.home")
    database.executemany("INSERT INTO temp.home VALUES (?, ?)", homes.items())


def count_clients(database: sqlite3.Connection) -> dict[str, int]:
    """The counts of summary.json, and `dark`: seen in neither region; needs `records_are` on the same database."""
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
