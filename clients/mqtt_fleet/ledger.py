"""The ledger: which message of which client arrived in which region, and when."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
    client_id TEXT, stream TEXT, sequence INTEGER, region TEXT, sent_at REAL, arrived_at REAL
);
-- By time alone: rows come in its order, so that adding one touches no other page however many clients there are.
DROP INDEX IF EXISTS message_arrival;
CREATE INDEX IF NOT EXISTS message_arrived_at ON message (arrived_at);
CREATE TABLE IF NOT EXISTS given_up (client_id TEXT, stream TEXT, first INTEGER, last INTEGER, told_at REAL);
CREATE TABLE IF NOT EXISTS subscription (region TEXT PRIMARY KEY, since REAL);
"""
# What a checkpoint leaves of the write-ahead log, which grows while a reader is at it; bytes.
WAL_LIMIT = 64 * 1024 * 1024
# As SQLite stores whole numbers.
HIGHEST = 2**63 - 1


class LedgerError(Exception):
    """The ledger file cannot be opened or is none."""


class MessageError(Exception):
    """A payload is not a numbered message; the text says what was found."""


@dataclass(frozen=True)
class Arrival:
    """One arrival of one message; times in epoch seconds. A duplicate is an arrival of its own."""

    client_id: str
    stream: str
    sequence: int
    region: str
    sent_at: float
    arrived_at: float


@dataclass(frozen=True)
class Dropped:
    """Numbers, both ends included, that a device gave up by itself: not lost on the way."""

    client_id: str
    stream: str
    first: int
    last: int


def parse(payload: bytes, region: str, arrived_at: float) -> Arrival:
    """Read a client's message.

    Raises:
        MessageError: it is no JSON object with client_id, stream, sequence and sent_at of the right types.
    """
    try:
        body = json.loads(payload)
        client_id, stream, sequence, sent_at = (body[key] for key in ("client_id", "stream", "sequence", "sent_at"))
        return Arrival(_text(client_id), _text(stream), _number(sequence), region, _seconds(sent_at), arrived_at)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise MessageError(f"payload {payload[:80]!r}: {type(error).__name__}: {error}") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("client_id or stream is no string")
    # Half of a UTF-16 pair, which JSON can hold and no file can.
    value.encode()
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= HIGHEST:
        raise ValueError("sequence is no whole number from 1")
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
        try:
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.executescript(
                f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA journal_size_limit={WAL_LIMIT};" + SCHEMA
            )
        except sqlite3.Error as error:
            raise LedgerError(f"ledger: {path} cannot be used: {error}") from error

    def add(self, arrivals: Iterable[Arrival], dropped: Iterable[Dropped] = ()) -> None:
        """Store arrivals, and what devices say they gave up, in one transaction."""
        now = time.time()
        self._database.execute("BEGIN")
        # Not astuple: it copies every value, which takes longer than storing it.
        self._database.executemany(
            "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?)",
            ((a.client_id, a.stream, a.sequence, a.region, a.sent_at, a.arrived_at) for a in arrivals),
        )
        self._database.executemany(
            "INSERT INTO given_up VALUES (?, ?, ?, ?, ?)",
            ((d.client_id, d.stream, d.first, d.last, now) for d in dropped),
        )
        self._database.execute("COMMIT")

    def prune(self, before: float, limit: int) -> int:
        """Delete at most `limit` of the arrivals from before a time (epoch seconds); return how many there were.

        The newest stays whatever its age: numbers of rows only grow, and readers go by them.
        """
        self._database.execute("DELETE FROM given_up WHERE told_at < ?", (before,))
        deleted = self._database.execute(
            "DELETE FROM message WHERE rowid IN (SELECT rowid FROM message WHERE arrived_at < ? "
            "ORDER BY arrived_at LIMIT ?) AND rowid < (SELECT max(rowid) FROM message)",
            (before, limit),
        )
        return deleted.rowcount

    def set_subscription(self, region: str, since: float | None) -> None:
        """Note since when the subscription in a region is live; None: it is not."""
        self._database.execute("INSERT OR REPLACE INTO subscription VALUES (?, ?)", (region, since))

    def close(self) -> None:
        self._database.close()
