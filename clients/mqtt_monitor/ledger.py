"""The ledger: which message of which client arrived in which region, and when."""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
    client_id TEXT, stream TEXT, sequence INTEGER, region TEXT, sent_at REAL, arrived_at REAL
);
-- By time alone: rows come in its order, so that adding one touches no other page however many clients there are.
DROP INDEX IF EXISTS message_arrival;
CREATE INDEX IF NOT EXISTS message_arrived_at ON message (arrived_at);
CREATE TABLE IF NOT EXISTS dropped (
    client_id TEXT, stream TEXT, first INTEGER, last INTEGER, told_at REAL,
    PRIMARY KEY (client_id, stream, first, last)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS subscription (region TEXT PRIMARY KEY, since REAL);
"""
# What a checkpoint leaves of the write-ahead log, which grows while a reader is at it; bytes.
WAL_LIMIT = 64 * 1024 * 1024
# AWS IoT Core, "Message broker and protocol quotas": a publish request has at most 128 KiB, a client ID 128 bytes.
MOST_BYTES = 128 << 10
CLIENT_ID_LENGTH = 128
TOPIC = re.compile(r"fleet/([^/]+)/messages(?:/[^/]*)?")
STREAM = re.compile(r"[0-9A-Za-z_.:-]{1,64}")
# Whole numbers up to it are the same to every reader of JSON (RFC 8259, section 6).
HIGHEST = 2**53 - 1
# Ranges of dropped numbers: of one message, in which a client reports 20 at most; and of one client, of which the
# newest stay, since every run reads them all.
MOST_RANGES = 100
MOST_DROPPED = 1000


class LedgerError(Exception):
    """The ledger file cannot be opened, or is not a ledger."""


class MessageError(Exception):
    """A payload is not a numbered message; the text describes what was found."""


class ForgedError(MessageError):
    """A message that names another client than the topic that it came on."""


@dataclass(frozen=True)
class Arrival:
    """One arrival of one message; times in epoch seconds. A duplicate is an arrival of its own."""

    client_id: str
    stream: str
    sequence: int
    region: str
    sent_at: float
    arrived_at: float
    # Numbers of the stream, (first, last), that the device has dropped: they are not coming, and not lost on the way.
    dropped: tuple[tuple[int, int], ...] = ()
    # The same of other streams of the client: (stream, first, last).
    dropped_in: tuple[tuple[str, int, int], ...] = ()


def parse(topic: str, payload: bytes, region: str, arrived_at: float) -> Arrival:
    """Read a client's message.

    The topic identifies the client: the policy lets each device publish only on its own topic, with any payload.

    Raises:
        MessageError: it is no JSON object with client_id, stream, sequence and sent_at of the right types, or with a
            `dropped` that is no list of pairs of numbers, or a `dropped_in` that is no object of such lists; or one of
            them is longer or higher than any client's.
        ForgedError: it names another client.
    """
    client_id = _client_id(topic)
    try:
        if len(payload) > MOST_BYTES:
            raise ValueError(f"found {len(payload)} bytes, expected at most {MOST_BYTES}")
        body = json.loads(payload)
        named, stream, sequence, sent_at = (body[key] for key in ("client_id", "stream", "sequence", "sent_at"))
        arrival = Arrival(
            client_id, _stream(stream), _number(sequence), region, _seconds(sent_at), arrived_at,
            _ranges(body["dropped"]) if "dropped" in body else (),
            _ranges_by_stream(body["dropped_in"]) if "dropped_in" in body else (),
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise MessageError(f"payload {payload[:80]!r}: {type(error).__name__}: {error}") from error
    if named != client_id:
        raise ForgedError(f"payload {payload[:80]!r}: found another client_id than its topic's")
    return arrival


def _client_id(topic: str) -> str:
    found = TOPIC.fullmatch(topic)
    client_id = found[1] if found else ""
    # Nor control characters, or what no file can hold.
    if not client_id.isprintable() or not 1 <= len(client_id.encode()) <= CLIENT_ID_LENGTH:
        raise MessageError(f"topic {topic[:80]!r}: found no client ID of 1 to {CLIENT_ID_LENGTH} bytes in it")
    return client_id


def _stream(value: object) -> str:
    if not isinstance(value, str) or not STREAM.fullmatch(value):
        raise ValueError("a stream is not 1 to 64 letters, digits or _ . : -")
    return value


def _ranges(value: object) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, list) or len(value) > MOST_RANGES:
        raise ValueError(f"dropped is no list of {MOST_RANGES} ranges at most")
    ranges = tuple((_number(first), _number(last)) for first, last in value)
    if any(first > last for first, last in ranges):
        raise ValueError("a range of dropped ends before it begins")
    return ranges


def _ranges_by_stream(value: object) -> tuple[tuple[str, int, int], ...]:
    if not isinstance(value, dict):
        raise ValueError("dropped_in is no object")
    found = tuple((_stream(stream), *ends) for stream, ranges in value.items() for ends in _ranges(ranges))
    if len(found) > MOST_RANGES:
        raise ValueError(f"dropped_in has more than {MOST_RANGES} ranges")
    return found


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= HIGHEST:
        raise ValueError(f"a sequence is no whole number from 1 to {HIGHEST}")
    return value


def _seconds(value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) < math.inf:
        raise ValueError("sent_at is no number")
    return float(min(max(value, -HIGHEST), HIGHEST))


class Ledger:
    """The SQLite file; used by one thread. Readers are never blocked (WAL)."""

    def __init__(self, path: Path) -> None:
        """Open the file, creating it when it does not exist.

        Raises:
            LedgerError: it cannot be opened, or is no ledger.
        """
        self._path = path
        try:
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._database.executescript(
                f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA journal_size_limit={WAL_LIMIT};" + SCHEMA
            )
        except sqlite3.Error as error:
            raise LedgerError(f"ledger: {path} cannot be used: {error}") from error

    def add(self, arrivals: Sequence[Arrival]) -> None:
        """Store arrivals, and the numbers that they report as dropped, in one transaction.

        Raises:
            LedgerError: they could not be written; none is stored.
        """
        with self._transaction() as database:
            # Not astuple: it copies every value, which takes longer than storing it.
            database.executemany(
                "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?)",
                ((a.client_id, a.stream, a.sequence, a.region, a.sent_at, a.arrived_at) for a in arrivals),
            )
            ranges = [(a.client_id, a.stream, *ends, a.arrived_at) for a in arrivals for ends in a.dropped]
            ranges += [(a.client_id, *ends, a.arrived_at) for a in arrivals for ends in a.dropped_in]
            # A device reports a range until it knows that it was received.
            database.executemany("INSERT OR REPLACE INTO dropped VALUES (?, ?, ?, ?, ?)", ranges)
            for client_id in {row[0] for row in ranges}:
                _keep_newest(database, client_id)

    def prune(self, before: float, limit: int) -> int:
        """Delete at most `limit` of the arrivals from before a time (epoch seconds); return how many there were.

        The newest stays whatever its age: numbers of rows only grow, and readers go by them.

        Raises:
            LedgerError: nothing could be deleted.
        """
        with self._transaction() as database:
            database.execute("DELETE FROM dropped WHERE told_at < ?", (before,))
            return database.execute(
                "DELETE FROM message WHERE rowid IN (SELECT rowid FROM message WHERE arrived_at < ? "
                "ORDER BY arrived_at LIMIT ?) AND rowid < (SELECT max(rowid) FROM message)",
                (before, limit),
            ).rowcount

    def set_subscription(self, region: str, since: float | None) -> None:
        """Note since when the subscription in a region is live; None: it is not.

        Raises:
            LedgerError: it could not be written.
        """
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO subscription VALUES (?, ?)", (region, since))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._database.execute("BEGIN")
            yield self._database
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise LedgerError(f"ledger: {self._path} cannot be written: {error}") from error

    def close(self) -> None:
        self._database.close()


def _keep_newest(database: sqlite3.Connection, client_id: str) -> None:
    """Delete the ranges that a client reported longest ago, where it has more than MOST_DROPPED."""
    (number,) = database.execute("SELECT count(*) FROM dropped WHERE client_id = ?", (client_id,)).fetchone()
    if number > MOST_DROPPED:
        database.execute(
            "DELETE FROM dropped WHERE client_id = ? AND (stream, first, last) IN "
            "(SELECT stream, first, last FROM dropped WHERE client_id = ? ORDER BY told_at LIMIT ?)",
            (client_id, client_id, number - MOST_DROPPED),
        )
