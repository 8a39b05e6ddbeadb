"""Messages that were set aside, in the outbox's own file: moved in one transaction, so that none is in both or none.

Functions take the connection to the outbox's database and raise sqlite3.Error; the caller begins the transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mqtt_fleet.refusals import Suspect

SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS dead_letter (
        sequence INTEGER PRIMARY KEY,
        sent_at REAL NOT NULL,
        topic TEXT,
        data,
        code INTEGER,
        reason TEXT NOT NULL,
        at REAL NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS suspect (
        sequence INTEGER PRIMARY KEY,
        ends INTEGER NOT NULL,
        trials INTEGER NOT NULL,
        strikes INTEGER NOT NULL
    )
    """,
)
ROW_BYTES = 128
LENGTHS = "coalesce(length(CAST(data AS BLOB)), 0) + coalesce(length(CAST(topic AS BLOB)), 0)"
SIZE = f"{ROW_BYTES} + length(CAST(reason AS BLOB)) + {LENGTHS}"


@dataclass(frozen=True)
class DeadLetter:
    """Why a message was set aside.

    Attributes:
        code: MQTT 5 reason code, where there was one.
        at: epoch seconds.
    """

    sequence: int
    code: int | None
    reason: str
    at: float


@dataclass(frozen=True)
class Entry:
    """A row as it is shown; `size`: bytes of data and topic; `data`: its beginning."""

    sequence: int
    sent_at: float
    topic: str | None
    data: str | bytes | None
    size: int
    code: int | None
    reason: str
    at: float


def prepare(database: sqlite3.Connection) -> None:
    """Create the tables."""
    for statement in SCHEMA:
        database.execute(statement)


def put(database: sqlite3.Connection, letter: DeadLetter, most_bytes: int) -> int:
    """Copy a message of the outbox; return how many of the oldest were deleted to keep to `most_bytes`."""
    database.execute(
        "INSERT OR REPLACE INTO dead_letter (sequence, sent_at, topic, data, code, reason, at) "
        "SELECT sequence, sent_at, topic, data, ?, ?, ? FROM message WHERE sequence = ?",
        (letter.code, letter.reason, letter.at, letter.sequence),
    )
    # Newest first; all beyond the bytes go, but never the one that has just come.
    kept, gone = 0, []
    for sequence, size in database.execute(
        f"SELECT sequence, {SIZE} FROM dead_letter ORDER BY sequence DESC"  # noqa: S608
    ):
        kept += size
        if kept > most_bytes and sequence != letter.sequence:
            gone.append((sequence,))
    database.executemany("DELETE FROM dead_letter WHERE sequence = ?", gone)
    return len(gone)


def entries(database: sqlite3.Connection, beginning: int) -> list[Entry]:
    """All of them, oldest first, with so many characters or bytes of their data."""
    rows = database.execute(
        f"SELECT sequence, sent_at, topic, substr(data, 1, ?), {LENGTHS}, code, reason, at "  # noqa: S608
        "FROM dead_letter ORDER BY sequence",
        (beginning,),
    )
    return [Entry(*row) for row in rows]


def send_again(database: sqlite3.Connection, sequence: int, stored_at: float) -> int:
    """Move one back into the outbox, as its newest; return its new number.

    Args:
        stored_at: time on the outbox's own clock.
    """
    cursor = database.execute(
        "INSERT INTO message (sent_at, data, topic, stored_at) "
        "SELECT sent_at, data, topic, ? FROM dead_letter WHERE sequence = ?",
        (stored_at, sequence),
    )
    delete(database, sequence)
    return int(cursor.lastrowid or 0)


def delete(database: sqlite3.Connection, sequence: int) -> None:
    """Delete one."""
    database.execute("DELETE FROM dead_letter WHERE sequence = ?", (sequence,))


def suspects(database: sqlite3.Connection) -> dict[int, Suspect]:
    """Return what is known of messages that may end connections."""
    rows = database.execute("SELECT sequence, ends, trials, strikes FROM suspect")
    return {sequence: Suspect(*rest) for sequence, *rest in rows}


def keep_suspects(database: sqlite3.Connection, known: Mapping[int, Suspect], gone: Iterable[int]) -> None:
    """Write down what has changed.

    Args:
        known: new or changed.
        gone: numbers that nothing is known of any more.
    """
    rows = [(sequence, each.ends, each.trials, each.strikes) for sequence, each in known.items()]
    database.executemany("INSERT OR REPLACE INTO suspect (sequence, ends, trials, strikes) VALUES (?, ?, ?, ?)", rows)
    database.executemany("DELETE FROM suspect WHERE sequence = ?", [(sequence,) for sequence in gone])
