"""Messages on disk until the broker has acknowledged them."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Union

# Text is published as it is, bytes in base64; None: the message is its number and time.
Data = Union[str, bytes, None]
Range = tuple[int, int]

# AUTOINCREMENT keeps the last number in a table of its own, so that numbers go on without a hole or
# a repetition after the outbox was emptied and reopened.
SCHEMA = """
CREATE TABLE IF NOT EXISTS stream (id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS message (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    sent_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS dropped (first INTEGER PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS clock (boot_id TEXT NOT NULL, offset REAL NOT NULL);
CREATE TABLE IF NOT EXISTS reserved (stream TEXT NOT NULL, last INTEGER NOT NULL);
"""
# Numbers that are given to messages which a power cut may take, before the disk is waited for again.
RESERVED_NUMBERS = 100
# Later than the first release; an outbox of that one gets them, and that one can still use it.
ADDED_COLUMNS = {"topic": "TEXT", "data": "", "stored_at": "REAL NOT NULL DEFAULT 0"}
# A row and its page's share, roughly.
ROW_BYTES = 64
SIZE = f"{ROW_BYTES} + coalesce(length(CAST(data AS BLOB)), 0) + coalesce(length(CAST(topic AS BLOB)), 0)"
# SQLite's log: half a MiB; see also reserve.RESERVE_BYTES.
LOG_PAGES = 128
SHRINK_PAGES = 64
SHRINK_STEPS = 64


class OutboxError(Exception):
    """The outbox file cannot be used now; the text is one line."""


class OutboxDamagedError(OutboxError):
    """The file is no outbox, or a damaged one: opening it again will not help."""


@dataclass(frozen=True)
class Message:
    """One numbered message; `sent_at` is when it was stored, in epoch seconds."""

    sequence: int
    sent_at: float
    data: Data = None
    topic: str | None = None

    @property
    def size(self) -> int:
        """Bytes that it is counted with."""
        data, topic = (text.encode() if isinstance(text, str) else text or b"" for text in (self.data, self.topic))
        return ROW_BYTES + len(data) + len(topic)


class Outbox:
    """A queue in an SQLite file; used by one thread. Methods raise OutboxError.

    Attributes:
        stream: random ID of this file: sequence numbers are unique within it.
        count, bytes: what is in it.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, creating it when it does not exist.

        Raises:
            OutboxError: it cannot be opened.
            OutboxDamagedError: it is no outbox, or not as it was written.
        """
        self._path = path
        self._synchronous = ""
        with self._errors():
            self._database = sqlite3.connect(path, isolation_level=None)
        try:
            with self._errors():
                self._prepare()
                self.stream = self._read_stream()
                self.recount()
        except OutboxError:
            self._database.close()
            raise

    def _prepare(self) -> None:
        # Before there are tables: lets the file get smaller, see `shrink`.
        self._database.execute("PRAGMA auto_vacuum=INCREMENTAL")
        self._database.execute("PRAGMA journal_mode=WAL")
        (verdict,) = self._database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise OutboxDamagedError(f"outbox: {self._path} is damaged: {' '.join(verdict.split())}")
        self._database.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}")
        self._durable(True)
        for statement in SCHEMA.split(";"):
            self._database.execute(statement)
        columns = {row[1] for row in self._database.execute("PRAGMA table_info(message)")}
        for name, kind in ADDED_COLUMNS.items():
            if name not in columns:
                self._database.execute(f"ALTER TABLE message ADD COLUMN {name} {kind}")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            # Exactly this class: SQLITE_CORRUPT and SQLITE_NOTADB; a full disk is an OperationalError.
            damaged = type(error) is sqlite3.DatabaseError or not self._usable_file()
            kind = OutboxDamagedError if damaged else OutboxError
            raise kind(f"outbox: {self._path} cannot be used: {error}") from error

    def _usable_file(self) -> bool:
        exists = self._path.exists()
        return not exists or (self._path.is_file() and os.access(self._path, os.R_OK | os.W_OK))

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
            "INSERT INTO stream SELECT ? WHERE NOT EXISTS (SELECT 1 FROM stream)", (secrets.token_hex(8),)
        )
        (stream,) = self._database.execute("SELECT id FROM stream").fetchone()
        return str(stream)

    @contextmanager
    def transaction(self, durable: bool = True) -> Iterator[None]:
        """All or nothing; `durable`: on disk when it ends."""
        try:
            with self._errors():
                self._durable(durable)
                self._database.execute("BEGIN IMMEDIATE")
                yield
                self._database.execute("COMMIT")
        except BaseException:
            self._abandon()
            raise

    def _abandon(self) -> None:
        with self._errors():
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            self.recount()

    def put(self, sent_at: float, data: Data = None, topic: str | None = None, stored_at: float = 0.0) -> Message:
        """Store a new message; outside a transaction it is on disk when this returns.

        Args:
            stored_at: time on the outbox's own clock, see `offset`.
        """
        with self._errors():
            if not self._database.in_transaction:
                self._durable(True)
            cursor = self._database.execute(
                "INSERT INTO message (sent_at, data, topic, stored_at) VALUES (?, ?, ?, ?)",
                (sent_at, data, topic, stored_at),
            )
        message = Message(int(cursor.lastrowid or 0), sent_at, data, topic)
        self.count += 1
        self.bytes += message.size
        return message

    def after(self, sequence: int, limit: int) -> list[Message]:
        """Messages not yet acknowledged with a higher sequence number, in order."""
        with self._errors():
            rows = self._database.execute(
                "SELECT sequence, sent_at, data, topic FROM message WHERE sequence > ? ORDER BY sequence LIMIT ?",
                (sequence, limit),
            ).fetchall()
        return [Message(*row) for row in rows]

    def remove(self, messages: Iterable[Message]) -> None:
        """Forget acknowledged messages; those that are not there any more are passed over."""
        with self._errors():
            for message in messages:
                if self._database.execute("DELETE FROM message WHERE sequence = ?", (message.sequence,)).rowcount:
                    self.count -= 1
                    self.bytes -= message.size

    def drop_oldest(self, needed: int) -> int:
        """Drop the oldest messages until so many bytes are free of them; return how many were dropped."""
        freed, numbers = 0, []
        with self._errors():
            rows = self._database.execute(f"SELECT sequence, {SIZE} FROM message ORDER BY sequence")  # noqa: S608
            for sequence, size in rows:
                if freed >= needed:
                    break
                numbers.append(sequence)
                freed += size
            rows.close()
            return self._drop(numbers, freed)

    def drop_stored_before(self, stored_at: float) -> int:
        """Drop the messages stored before a time on the outbox's clock; return how many."""
        with self._errors():
            rows = self._database.execute(
                f"SELECT sequence, {SIZE} FROM message WHERE stored_at < ? ORDER BY sequence",  # noqa: S608
                (stored_at,),
            ).fetchall()
            return self._drop([sequence for sequence, _ in rows], sum(size for _, size in rows))

    def _drop(self, numbers: Sequence[int], size: int) -> int:
        for first, last in ranges(numbers):
            self._database.execute("DELETE FROM message WHERE sequence BETWEEN ? AND ?", (first, last))
            self._tell_dropped(first, last)
        self.count -= len(numbers)
        self.bytes -= size
        return len(numbers)

    def _tell_dropped(self, first: int, last: int) -> None:
        longer = self._database.execute("UPDATE dropped SET last = ? WHERE last = ?", (last, first - 1))
        if not longer.rowcount:
            self._database.execute("INSERT INTO dropped VALUES (?, ?)", (first, last))

    def dropped(self, limit: int) -> list[Range]:
        """(first, last) of dropped numbers that no consumer was told of yet."""
        with self._errors():
            return self._database.execute("SELECT first, last FROM dropped ORDER BY first LIMIT ?", (limit,)).fetchall()

    def forget_dropped(self, told: Iterable[Range]) -> None:
        """The broker has what tells of these ranges; one that has grown since is told again."""
        with self._errors():
            self._database.executemany("DELETE FROM dropped WHERE first = ? AND last = ?", list(told))

    def has_reserved(self, count: int) -> bool:
        """Whether so many more numbers may be given in a transaction that is not durable, see `reserve`."""
        with self._errors():
            return self._last_number() + count <= self._reserved()

    def reserve(self, count: int) -> None:
        """Keep that the next numbers may be given without being on disk; for a durable transaction.

        A number that was published and that the disk then forgot must not be given to another message: a consumer
        would take that for a duplicate.
        """
        last = self._last_number() + count + RESERVED_NUMBERS
        with self._errors():
            self._database.execute("DELETE FROM reserved")
            self._database.execute("INSERT INTO reserved VALUES (?, ?)", (self.stream, last))

    def _skip_reserved(self) -> None:
        """Give up the numbers that may have been given and that the disk may have forgotten; in a transaction."""
        last, reserved = self._last_number(), self._reserved()
        if last < reserved:
            self._database.execute("DELETE FROM sqlite_sequence WHERE name = 'message'")
            self._database.execute("INSERT INTO sqlite_sequence VALUES ('message', ?)", (reserved,))
            self._tell_dropped(last + 1, reserved)
            self.recount()
        self._database.execute("DELETE FROM reserved")

    def _last_number(self) -> int:
        row = self._database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'message'").fetchone()
        return int(row[0]) if row else 0

    def _reserved(self) -> int:
        """The last number that is reserved; 0: none is."""
        row = self._database.execute("SELECT last FROM reserved WHERE stream = ?", (self.stream,)).fetchone()
        return int(row[0]) if row else 0

    def offset(self, boot_id: str, since_boot: float) -> float:
        """What to add to the seconds since boot to get the time on the outbox's own clock.

        That clock counts while the device is up, whatever its clock is set to.
        """
        with self._errors():
            row = self._database.execute("SELECT offset FROM clock WHERE boot_id = ?", (boot_id,)).fetchone()
            # Without a boot's ID each start may be after a power cut.
            if row and boot_id:
                return float(row[0])
            (newest,) = self._database.execute("SELECT coalesce(max(stored_at), 0) FROM message").fetchone()
            offset = float(newest) - since_boot
            with self.transaction():
                self._database.execute("DELETE FROM clock")
                self._database.execute("INSERT INTO clock VALUES (?, ?)", (boot_id, offset))
                self._skip_reserved()
            return offset

    def oldest_stored_at(self) -> float | None:
        """Time of the first message on the outbox's clock."""
        with self._errors():
            row = self._database.execute("SELECT stored_at FROM message ORDER BY sequence LIMIT 1").fetchone()
        return None if row is None else float(row[0])

    def recount(self) -> None:
        """Set `count` and `bytes` from what is there."""
        with self._errors():
            row = self._database.execute(f"SELECT count(*), coalesce(sum({SIZE}), 0) FROM message").fetchone()  # noqa: S608
        self.count, self.bytes = int(row[0]), int(row[1])

    def shrink(self) -> None:
        """Give the space of removed messages back to the disk, a part of it at each call."""
        with self._errors():
            for _ in range(SHRINK_STEPS):
                self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                (free,) = self._database.execute("PRAGMA freelist_count").fetchone()
                if not free:
                    return
                # A script, because it does one page a step and execute() makes one step. Few pages at a time,
                # because they go through the log, for which a full disk has little room.
                self._database.executescript(f"PRAGMA incremental_vacuum({SHRINK_PAGES})")

    def close(self) -> None:
        # Everything is on disk then: no number needs to be given up at the next boot.
        with suppress(OutboxError), self._errors():
            if self._reserved():
                with self.transaction():
                    self._database.execute("DELETE FROM reserved")
        self._database.close()


def ranges(numbers: Iterable[int]) -> list[Range]:
    """Ascending numbers as (first, last) of each run without a hole."""
    found: list[Range] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def payload(client_id: str, stream: str, message: Message, dropped: Sequence[Range] = ()) -> bytes:
    """The message as published, in JSON.

    {"client_id", "stream", "sequence", "sent_at"}, "data" or "data_base64" where there is one, and
    "dropped" where messages were: [[first, last], …] of sequence numbers that are not coming.
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
    if dropped:
        body["dropped"] = dropped
    return json.dumps(body, ensure_ascii=False).encode()
