"""Messages on disk until the broker has acknowledged them."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Union

from mqtt_fleet import dead_letter_table
from mqtt_fleet.clock import EARLIEST, is_set
from mqtt_fleet.dead_letter_table import DeadLetter
from mqtt_fleet.origin import Origin
from mqtt_fleet.refusals import Suspect

# Text is published as it is, bytes in base64; None: the message is its number and time.
Data = Union[str, bytes, None]
Range = tuple[int, int]

# AUTOINCREMENT keeps the last number in a table of its own, so that numbers continue without a hole or
# a repetition after the outbox was emptied and reopened. They are the file's own: as published, a message
# has its number within its stream, which counts from 1 at the stream's `first`.
SCHEMA = """
CREATE TABLE IF NOT EXISTS stream (id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS message (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    sent_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS dropped (first INTEGER PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS clock (boot_id TEXT NOT NULL, offset REAL NOT NULL);
"""
# Later than the first release; an outbox of that one gets them, and that one can still use it.
ADDED_COLUMNS = {
    "message": {"topic": "TEXT", "data": "", "stored_at": "REAL NOT NULL DEFAULT 0"},
    "stream": {
        "first": "INTEGER NOT NULL DEFAULT 1",
        "client_id": "TEXT NOT NULL DEFAULT ''",
        "machine_id": "TEXT NOT NULL DEFAULT ''",
        "boot_id": "TEXT NOT NULL DEFAULT ''",
        "file": "TEXT NOT NULL DEFAULT ''",
        # What to add to the outbox's clock for epoch seconds; NULL: not known.
        "epoch": "REAL",
    },
}
STREAM_COLUMNS = "id, first, client_id, machine_id, boot_id, file, epoch"
# Those without a message are kept for a while, since a dead letter may belong to one.
MOST_STREAMS = 100
# A row and its page's share, roughly.
ROW_BYTES = 64
SIZE = f"{ROW_BYTES} + coalesce(length(CAST(data AS BLOB)), 0) + coalesce(length(CAST(topic AS BLOB)), 0)"
# SQLite's log: half a MiB, and what one transaction adds before it is copied into the database; see also
# reserve.RESERVE_BYTES.
LOG_PAGES = 128
MOST_TRANSACTION_BYTES = 256 << 10
MOST_REMOVED_AT_ONCE = 100
LOG_BYTES = 1 << 20
# What SQLite says where it cannot share memory between processes, as its log otherwise needs.
NOT_SHARED = ("disk I/O error", "locking protocol", "unable to open database file")
INCREMENTAL = 2
ENCODER = json.JSONEncoder(ensure_ascii=False)
SHRINK_PAGES = 64
SHRINK_STEPS = 64


class OutboxError(Exception):
    """The outbox file cannot be used now; the text is one line."""


class OutboxDamagedError(OutboxError):
    """The file is no outbox, or a damaged one: opening it again will not help."""


@dataclass(frozen=True)
class Message:
    """One numbered message; `sent_at` is when it was stored, in epoch seconds.

    Attributes:
        dated: False where `sent_at` is of a clock that was not set, and the real time is not known.
    """

    sequence: int
    sent_at: float
    data: Data = None
    topic: str | None = None
    dated: bool = field(default=True, compare=False)

    @property
    def size(self) -> int:
        """Bytes that it is counted with."""
        return size(self.data, self.topic)


def size(data: Data, topic: str | None) -> int:
    """Bytes that a message is counted with."""
    return ROW_BYTES + _length(data) + _length(topic)


def _length(part: Data) -> int:
    if part is None:
        return 0
    return len(part) if isinstance(part, bytes) or part.isascii() else len(part.encode())


class Stream(NamedTuple):
    """Numbers without a repetition: those of the messages from `first` on, up to the next stream's."""

    id: str
    first: int
    origin: Origin
    epoch: float | None = None


class Published(NamedTuple):
    """A message and dropped numbers as they are published: with their numbers in their streams.

    Attributes:
        dropped: of the message's stream.
        elsewhere: of others, by their IDs.
    """

    stream: str
    message: Message
    dropped: list[Range]
    elsewhere: dict[str, list[Range]]


class _Errors:
    """A context in which SQLite's errors become an outbox's; used for every message, and so no generator."""

    def __init__(self, ended: Callable[[sqlite3.Error], OutboxError]) -> None:
        self._ended = ended

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, sqlite3.Error):
            raise self._ended(error) from error


class Outbox:
    """A queue in an SQLite file; used by one thread. Methods raise OutboxError.

    Attributes:
        stream: random ID of the stream that the next message is in; see `claim`.
        highest: the highest number given so far.
        count, bytes: what is in it.
        undated: messages in it when it was opened whose time is of a clock that was not set.
        exclusive: whether no other process can look into it, because the file system shares no memory.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, creating it when it does not exist.

        Raises:
            OutboxError: it cannot be opened.
            OutboxDamagedError: it is no outbox, or not as it was written.
        """
        self._path = path
        self._errors = _Errors(self._ended)
        self._log_path = path.with_name(f"{path.name}-wal")
        self._synchronous = ""
        self._version: int | None = None
        self.exclusive = False
        self._streams: list[Stream] = []
        self._origin = Origin("", "", "", "")
        with self._errors:
            self._database = sqlite3.connect(path, isolation_level=None)
        try:
            with self._errors:
                self._keep_log()
                self._prepare()
                self.stream = self._read_stream()
                self.recount()
                query = "SELECT count(*) FROM message WHERE sent_at < ?"
                (self.undated,) = self._database.execute(query, (EARLIEST,)).fetchone()
        except OutboxError:
            self._database.close()
            raise

    def _keep_log(self) -> None:
        """Have SQLite write ahead, in memory of its own where the file system shares none.

        Without shared memory the file is closed to other processes, https://sqlite.org/wal.html#noshm: so that is done
        only where it has to be, since the file is what an operator looks into.
        """
        try:
            if self._write_ahead():
                return
        except sqlite3.OperationalError as error:
            if str(error) not in NOT_SHARED:
                raise
        self._database.close()
        self._database = sqlite3.connect(self._path, isolation_level=None)
        self._database.execute("PRAGMA locking_mode=EXCLUSIVE")
        self.exclusive = True
        self._write_ahead()

    def _write_ahead(self) -> bool:
        # Before there are tables: lets the file get smaller, see `shrink`. Where it is so already it would be written
        # once more, for which a full disk has no room.
        if self._database.execute("PRAGMA auto_vacuum").fetchone() != (INCREMENTAL,):
            self._database.execute("PRAGMA auto_vacuum=INCREMENTAL")
        (mode,) = self._database.execute("PRAGMA journal_mode=WAL").fetchone()
        # A file that has a log already is not touched before it is read.
        self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return bool(mode == "wal")

    def _prepare(self) -> None:
        (verdict,) = self._database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise OutboxDamagedError(f"outbox: {self._path} is damaged: {' '.join(verdict.split())}")
        self._database.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}")
        self._database.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
        # Where SQLite is built to overwrite what is deleted, as Debian's is, all of it would go through the log.
        self._database.execute("PRAGMA secure_delete=OFF").fetchall()
        self._durable(True)
        for statement in SCHEMA.split(";"):
            self._database.execute(statement)
        for table, added in ADDED_COLUMNS.items():
            columns = {row[1] for row in self._database.execute(f"PRAGMA table_info({table})")}
            for name, kind in added.items():
                if name not in columns:
                    self._database.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
        dead_letter_table.prepare(self._database)

    def _ended(self, error: sqlite3.Error) -> OutboxError:
        # Exactly this class: SQLITE_CORRUPT and SQLITE_NOTADB; a full disk is an OperationalError.
        damaged = type(error) is sqlite3.DatabaseError or not self._usable_file()
        kind = OutboxDamagedError if damaged else OutboxError
        return kind(f"outbox: {self._path} cannot be used: {error}")

    def _usable_file(self) -> bool:
        if not self._path.exists():
            return True
        # On a file system that is read-only it is not the file that is at fault, and it cannot be renamed either.
        needed = os.R_OK if os.statvfs(self._path).f_flag & os.ST_RDONLY else os.R_OK | os.W_OK
        return self._path.is_file() and os.access(self._path, needed)

    def _durable(self, durable: bool) -> None:
        # FULL: what was stored survives a power cut, https://sqlite.org/pragma.html#pragma_synchronous
        # NORMAL where only acknowledged messages leave: the worst is that some are sent again.
        synchronous = "FULL" if durable else "NORMAL"
        if synchronous != self._synchronous:
            self._database.execute(f"PRAGMA synchronous={synchronous}")
            self._synchronous = synchronous

    def _read_stream(self) -> str:
        # In one statement: two processes that open a new file agree on its ID.
        self._database.execute(
            "INSERT INTO stream (id) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM stream)", (new_stream(),)
        )
        self._read_streams()
        return self._streams[-1].id

    def _read_streams(self) -> None:
        rows = self._database.execute(f"SELECT {STREAM_COLUMNS} FROM stream ORDER BY first, rowid")  # noqa: S608
        self._streams = [Stream(row[0], row[1], Origin(*row[2:6]), row[6]) for row in rows]

    def claim(self, origin: Origin, continued: bool) -> None:
        """Set the origin of the next messages: they are in a new stream unless the newest one is of the same origin.

        What waits keeps its stream and number. The new stream is stored with its first message.

        Args:
            continued: False where the file was in a later state before.
        """
        newest = self._streams[-1]
        self._origin = origin
        self.stream = newest.id if continued and origin.continues(newest.origin) else new_stream()

    def _begin_stream(self) -> None:
        """Store the claimed stream."""
        first = self.highest + 1
        # In place of one that no message was in, and that copies of this file may have too.
        self._database.execute("DELETE FROM stream WHERE first = ?", (first,))
        needed = self._database.execute("SELECT min(sequence) FROM message UNION SELECT min(first) FROM dropped")
        oldest = min([first, *(number for (number,) in needed if number is not None)])
        for stream, following in list(zip(self._streams, self._streams[1:]))[:-MOST_STREAMS]:
            if following.first <= oldest:
                self._database.execute("DELETE FROM stream WHERE id = ?", (stream.id,))
        self._database.execute(
            "INSERT INTO stream (id, first, client_id, machine_id, boot_id, file) VALUES (?, ?, ?, ?, ?, ?)",
            (self.stream, first, *astuple(self._origin)),
        )
        self._read_streams()

    def stream_of(self, sequence: int) -> Stream:
        """The stream that a number of the outbox is in."""
        newest = self._streams[-1]
        if sequence >= newest.first:
            return newest
        return self._streams[max(0, bisect_right([each.first for each in self._streams], sequence) - 1)]

    def number(self, sequence: int) -> int:
        """A number of the outbox, as it is in its stream."""
        return sequence - self.stream_of(sequence).first + 1

    def published(self, message: Message, dropped: Iterable[Range] = ()) -> Published:
        """Give a message and dropped numbers the numbers that they have in their streams."""
        stream = self.stream_of(message.sequence)
        own: list[Range] = []
        elsewhere: dict[str, list[Range]] = {}
        for first, last in dropped:
            while first <= last:
                its = self.stream_of(first)
                end = next((each.first - 1 for each in self._streams if each.first > first), last)
                part = (first - its.first + 1, min(last, end) - its.first + 1)
                (own if its is stream else elsewhere.setdefault(its.id, [])).append(part)
                first = min(last, end) + 1
        if stream.first > 1:
            message = replace(message, sequence=message.sequence - stream.first + 1)
        return Published(stream.id, message, own, elsewhere)

    def set_epoch(self, epoch: float) -> None:
        """The device's clock is set now: messages that were stored before in this boot get their times from it.

        Args:
            epoch: what to add to the outbox's clock for epoch seconds.
        """
        with self._errors:
            self._database.execute(
                "UPDATE stream SET epoch = ? WHERE epoch IS NULL AND (id = ? OR (boot_id = ? AND boot_id != ''))",
                (epoch, self.stream, self._origin.boot_id),
            )
            self._read_streams()

    @contextmanager
    def transaction(self, durable: bool = True) -> Iterator[None]:
        """All or nothing; `durable`: on disk when it ends."""
        try:
            with self._errors:
                self._durable(durable)
                self._database.execute("BEGIN IMMEDIATE")
                yield
                self._database.execute("COMMIT")
        except BaseException:
            self._abandon()
            raise

    def _abandon(self) -> None:
        with self._errors:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            self.recount()
            self._read_streams()

    def put(self, sent_at: float, data: Data = None, topic: str | None = None, stored_at: float = 0.0) -> Message:
        """Store a new message; outside a transaction it is on disk when this returns.

        Args:
            stored_at: time on the outbox's own clock, see `offset`.
        """
        with self._errors:
            if not self._database.in_transaction:
                self._durable(True)
            if self._streams[-1].id != self.stream:
                self._begin_stream()
            cursor = self._database.execute(
                "INSERT INTO message (sent_at, data, topic, stored_at) VALUES (?, ?, ?, ?)",
                (sent_at, data, topic, stored_at),
            )
        message = Message(int(cursor.lastrowid or 0), sent_at, data, topic)
        self.highest = message.sequence
        self.count += 1
        self.bytes += message.size
        return message

    def after(self, sequence: int, limit: int) -> list[Message]:
        """Messages not yet acknowledged with a higher sequence number, in order."""
        with self._errors:
            rows = self._database.execute(
                "SELECT sequence, sent_at, data, topic, stored_at FROM message WHERE sequence > ? "
                "ORDER BY sequence LIMIT ?",
                (sequence, limit),
            ).fetchall()
        return [self._dated(Message(*row[:4]), row[4]) for row in rows]

    def _dated(self, message: Message, stored_at: float) -> Message:
        """The message with the time that it was stored at, where the device's clock was not set then."""
        if is_set(message.sent_at):
            return message
        epoch = self.stream_of(message.sequence).epoch
        return replace(message, dated=False) if epoch is None else replace(message, sent_at=stored_at + epoch)

    def remove(self, messages: Iterable[Message]) -> None:
        """Remove acknowledged messages; those that are no longer there are ignored."""
        with self._errors:
            for message in messages:
                if self._database.execute("DELETE FROM message WHERE sequence = ?", (message.sequence,)).rowcount:
                    self.count -= 1
                    self.bytes -= message.size

    def drop_oldest(self, needed: int) -> int:
        """Drop the oldest messages until so many bytes are free of them; return how many were dropped."""
        freed, numbers = 0, []
        with self._errors:
            rows = self._database.execute(f"SELECT sequence, {SIZE} FROM message ORDER BY sequence")  # noqa: S608
            for sequence, size in rows:
                if freed >= needed:
                    break
                numbers.append(sequence)
                freed += size
            rows.close()
            return self._drop(numbers, freed)

    def drop_stored_before(self, stored_at: float, limit: int = MOST_REMOVED_AT_ONCE) -> int:
        """Drop messages stored before a time on the outbox's clock, the oldest first; return how many."""
        with self._errors:
            rows = self._database.execute(
                f"SELECT sequence, {SIZE} FROM message WHERE stored_at < ? ORDER BY sequence LIMIT ?",  # noqa: S608
                (stored_at, limit),
            ).fetchall()
            return self._drop([sequence for sequence, _ in rows], sum(size for _, size in rows))

    def _drop(self, numbers: Sequence[int], size: int) -> int:
        for first, last in ranges(numbers):
            self._database.execute("DELETE FROM message WHERE sequence BETWEEN ? AND ?", (first, last))
            longer = self._database.execute("UPDATE dropped SET last = ? WHERE last = ?", (last, first - 1))
            if not longer.rowcount:
                self._database.execute("INSERT INTO dropped VALUES (?, ?)", (first, last))
        self.count -= len(numbers)
        self.bytes -= size
        return len(numbers)

    def set_aside(self, message: Message, letter: DeadLetter, most_bytes: int) -> int:
        """Move a message to the dead letters, within a transaction; return how many older ones had to go for it."""
        with self._errors:
            gone = dead_letter_table.put(self._database, letter, most_bytes)
            if self.after(message.sequence - 1, 1)[:1] == [message]:
                self._drop([message.sequence], message.size)
        return gone

    def suspects(self) -> dict[int, Suspect]:
        """Return what is known of messages that may end connections, by sequence number."""
        with self._errors:
            return dead_letter_table.suspects(self._database)

    def keep_suspects(self, known: Mapping[int, Suspect], gone: Iterable[int] = ()) -> None:
        """Update what is known of them, in a transaction of its own."""
        with self.transaction(durable=False):
            dead_letter_table.keep_suspects(self._database, known, gone)

    def changed_elsewhere(self) -> bool:
        """Whether another process has written since the last call; `count` and `bytes` are right afterwards."""
        with self._errors:
            (version,) = self._database.execute("PRAGMA data_version").fetchone()
        changed = self._version not in (None, version)
        self._version = version
        if changed:
            self.recount()
        return changed

    def dropped(self, limit: int) -> list[Range]:
        """(first, last) of dropped numbers that have not been reported yet."""
        with self._errors:
            return self._database.execute("SELECT first, last FROM dropped ORDER BY first LIMIT ?", (limit,)).fetchall()

    def forget_dropped(self, reported: Iterable[Range]) -> None:
        """The broker has the message that reported these ranges; one that has grown since is reported again."""
        with self._errors:
            self._database.executemany("DELETE FROM dropped WHERE first = ? AND last = ?", list(reported))

    def offset(self, boot_id: str, since_boot: float) -> float:
        """What to add to the seconds since boot to get the time on the outbox's own clock.

        That clock counts while the device is up, whatever its clock is set to.
        """
        with self._errors:
            row = self._database.execute("SELECT offset FROM clock WHERE boot_id = ?", (boot_id,)).fetchone()
            if row:
                return float(row[0])
            (newest,) = self._database.execute("SELECT coalesce(max(stored_at), 0) FROM message").fetchone()
            offset = float(newest) - since_boot
            try:
                with self.transaction():
                    self._database.execute("DELETE FROM clock")
                    self._database.execute("INSERT INTO clock VALUES (?, ?)", (boot_id, offset))
            except OutboxDamagedError:
                raise
            except OutboxError:
                # Full: what is kept can leave all the same, and the next process counts ages from its own start.
                pass
            return offset

    def oldest_stored_at(self) -> float | None:
        """Time of the first message on the outbox's clock."""
        with self._errors:
            row = self._database.execute("SELECT stored_at FROM message ORDER BY sequence LIMIT 1").fetchone()
        return None if row is None else float(row[0])

    def recount(self) -> None:
        """Set `count`, `bytes` and `highest` from what is there."""
        with self._errors:
            row = self._database.execute(f"SELECT count(*), coalesce(sum({SIZE}), 0) FROM message").fetchone()  # noqa: S608
            highest = self._database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'message'").fetchone()
        self.count, self.bytes = int(row[0]), int(row[1])
        self.highest = int(highest[0]) if highest else 0

    def checkpoint(self) -> None:
        """Copy SQLite's log into the database, so that it restarts and needs no more space."""
        with self._errors:
            self._database.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    def log_bytes(self) -> int:
        """Bytes of SQLite's log, which it keeps in a file of its own."""
        return file_bytes(self._log_path)

    def shrink(self) -> None:
        """Give the space of removed messages back to the disk, a part of it at each call."""
        with self._errors:
            for _ in range(SHRINK_STEPS):
                self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                (free,) = self._database.execute("PRAGMA freelist_count").fetchone()
                if not free:
                    return
                # A script, because it does one page a step and execute() makes one step. Few pages at a time,
                # because they go through the log, for which a full disk has little room.
                self._database.executescript(f"PRAGMA incremental_vacuum({SHRINK_PAGES})")

    def close(self) -> None:
        self._database.close()


def file_bytes(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def ranges(numbers: Iterable[int]) -> list[Range]:
    """Ascending numbers as (first, last) of each run without a hole."""
    found: list[Range] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def new_stream() -> str:
    """A random ID."""
    return secrets.token_hex(8)


def payload(
    client_id: str,
    stream: str,
    message: Message,
    dropped: Sequence[Range] = (),
    elsewhere: Mapping[str, Sequence[Range]] = {},
) -> bytes:
    """The message as published, in JSON.

    {"client_id", "stream", "sequence", "sent_at"}, "data" or "data_base64" where there is one, and
    "dropped" where messages were: [[first, last], …] of sequence numbers that are not coming.
    "dropped_in": {stream: [[first, last], …]} is the same of the client's other streams. "sent_at_known": false where
    the device's clock was not set when the message was stored.
    """
    body: dict[str, object] = {
        "client_id": client_id,
        "stream": stream,
        "sequence": message.sequence,
        "sent_at": message.sent_at,
    }
    if isinstance(message.data, bytes):
        body["data_base64"] = base64.b64encode(message.data).decode()
    elif message.data is not None:
        body["data"] = message.data
    if not message.dated:
        body["sent_at_known"] = False
    if dropped:
        body["dropped"] = dropped
    if elsewhere:
        body["dropped_in"] = elsewhere
    return ENCODER.encode(body).encode()
