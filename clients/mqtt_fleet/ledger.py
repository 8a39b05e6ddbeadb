"""The ledger: which message of which client arrived in which region, and when."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
    client_id TEXT, stream TEXT, sequence INTEGER, region TEXT, sent_at REAL, arrived_at REAL
);
CREATE INDEX IF NOT EXISTS message_arrival ON message (client_id, arrived_at);
CREATE TABLE IF NOT EXISTS subscription (region TEXT PRIMARY KEY, since REAL);
"""


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


def parse(payload: bytes, region: str, arrived_at: float) -> Arrival:
    """Read a client's message.

    Raises:
        MessageError: it is no JSON object with client_id, stream, sequence and sent_at of the right types.
    """
    try:
        body = json.loads(payload)
        client_id, stream, sequence, sent_at = (body[key] for key in ("client_id", "stream", "sequence", "sent_at"))
    except (ValueError, TypeError, KeyError) as error:
        raise MessageError(f"payload {payload[:80]!r}: {type(error).__name__}: {error}") from error
    numbered = isinstance(sequence, int) and not isinstance(sequence, bool)
    if not (isinstance(client_id, str) and isinstance(stream, str) and numbered and isinstance(sent_at, (int, float))):
        raise MessageError(f"payload {payload[:80]!r}: a value has the wrong type")
    return Arrival(client_id, stream, sequence, region, float(sent_at), arrived_at)


class Ledger:
    """The SQLite file; used by one thread. Readers are never blocked (WAL)."""

    def __init__(self, path: Path) -> None:
        """Open the file, creating it when it does not exist.

        Raises:
            LedgerError: it cannot be opened, or is no ledger.
        """
        try:
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + SCHEMA)
        except sqlite3.Error as error:
            raise LedgerError(f"ledger: {path} cannot be used: {error}") from error

    def add(self, arrivals: Iterable[Arrival]) -> None:
        """Store arrivals in one transaction."""
        rows = [astuple(arrival) for arrival in arrivals]
        self._database.execute("BEGIN")
        self._database.executemany("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?)", rows)
        self._database.execute("COMMIT")

    def set_subscription(self, region: str, since: float | None) -> None:
        """Note since when the subscription in a region is live; None: it is not."""
        self._database.execute("INSERT OR REPLACE INTO subscription VALUES (?, ?)", (region, since))

    def close(self) -> None:
        self._database.close()
