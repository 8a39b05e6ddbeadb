"""Messages on disk until the broker has acknowledged them."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# AUTOINCREMENT keeps the last number in a table of its own, so that numbers go on without a hole or
# a repetition after the outbox was emptied and reopened.
SCHEMA = """
CREATE TABLE IF NOT EXISTS stream (id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS message (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    sent_at REAL NOT NULL
);
"""


class OutboxError(Exception):
    """The outbox file cannot be opened or is none."""


@dataclass(frozen=True)
class Message:
    """One numbered message; `sent_at` is when it was stored, in epoch seconds."""

    sequence: int
    sent_at: float


class Outbox:
    """A queue in an SQLite file; used by one thread.

    Attributes:
        stream: random ID of this file: sequence numbers are unique within it.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, creating it when it does not exist.

        Raises:
            OutboxError: it cannot be opened, or is no outbox.
        """
        try:
            self._database = sqlite3.connect(path, isolation_level=None)
            # FULL: a message that was stored survives a power cut, https://sqlite.org/pragma.html#pragma_synchronous
            self._database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" + SCHEMA)
            self.stream = self._read_stream()
        except sqlite3.Error as error:
            raise OutboxError(f"outbox: {path} cannot be used: {error}") from error

    def _read_stream(self) -> str:
        # In one statement: two processes that open a new file agree on its ID.
        self._database.execute(
            "INSERT INTO stream SELECT ? WHERE NOT EXISTS (SELECT 1 FROM stream)", (secrets.token_hex(8),)
        )
        (stream,) = self._database.execute("SELECT id FROM stream").fetchone()
        return str(stream)

    def put(self, sent_at: float) -> Message:
        """Store a new message; it is on disk when this returns."""
        cursor = self._database.execute("INSERT INTO message (sent_at) VALUES (?)", (sent_at,))
        return Message(int(cursor.lastrowid or 0), sent_at)

    def after(self, sequence: int, limit: int) -> list[Message]:
        """Messages not yet acknowledged with a higher sequence number, in order."""
        rows = self._database.execute(
            "SELECT sequence, sent_at FROM message WHERE sequence > ? ORDER BY sequence LIMIT ?", (sequence, limit)
        )
        return [Message(*row) for row in rows]

    def remove(self, sequences: Iterable[int]) -> None:
        """Forget acknowledged messages, all in one transaction."""
        self._database.execute("BEGIN")
        self._database.executemany("DELETE FROM message WHERE sequence = ?", [(number,) for number in sequences])
        self._database.execute("COMMIT")

    def __len__(self) -> int:
        (count,) = self._database.execute("SELECT count(*) FROM message").fetchone()
        return int(count)

    def close(self) -> None:
        self._database.close()


def payload(client_id: str, stream: str, message: Message) -> bytes:
    """The message as published: {"client_id", "stream", "sequence", "sent_at"} in JSON."""
    body = {"client_id": client_id, "stream": stream, "sequence": message.sequence, "sent_at": message.sent_at}
    return json.dumps(body).encode()
