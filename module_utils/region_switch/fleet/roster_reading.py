"""The clients of a run for its report, read from the roster. Reads only."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .roster import AT_HOME, NO_WAVE, VERDICT, count_clients, records_are

# Buckets that a run's duration is divided into.
BUCKETS = 240


@dataclass(frozen=True)
class Row:
    """A client of the roster; times in seconds since the start of the run, None where it did not happen."""

    client_id: str
    endpoint: str
    source: str
    target: str
    state: str
    wave: int | None
    told: float | None
    landed: float | None
    seconds: float | None
    kicks: int
    bounces: int
    note: str


@dataclass(frozen=True)
class Clients:
    """The clients of a run.

    Attributes:
        total: rows of the roster; `rows` is limited, stragglers first.
        calls: how often clients were disconnected.
        counts: those of summary.json, see `Roster.counts`.
        told, landed: how many were disconnected or seen landed, per bucket of `width` seconds from the run's start on.
    """

    total: int = 0
    rows: list[Row] = field(default_factory=list)
    width: float = 1.0
    told: dict[int, int] = field(default_factory=dict)
    landed: dict[int, int] = field(default_factory=dict)
    calls: int = 0
    counts: dict[str, int] = field(default_factory=dict)


def read_clients(path: Path, began: float, homes: Mapping[str, str], most: int) -> Clients:
    """Return the clients of a roster, which may be in use.

    Args:
        began: when the run began, in epoch seconds.
        homes: the final records, `{endpoint: region}`.
        most: limit of `rows`.

    Raises:
        sqlite3.Error: it is not a roster, or cannot be read at the moment.
    """
    # Without a write-ahead log it is not in use; reading it as immutable creates no files.
    alone = "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"
    uri = f"{path.resolve().as_uri()}?mode=ro{alone}"
    with closing(sqlite3.connect(uri, uri=True, timeout=5)) as database:
        records_are(database, homes)
        return _read_clients(database, began, most)


_COLUMNS = (
    f"client_id, endpoint, region, target, {VERDICT} AS verdict, wave, kicked_at, landed_at, kicks, bounces, note"
)
# A client that has landed may have a second row, found where it belongs.
_SHOWN = (
    "FROM client WHERE (state != 'placed' OR note = 'returned' OR NOT EXISTS (SELECT 1 FROM client AS other "
    "WHERE other.client_id = client.client_id AND (other.state != 'placed' OR other.note = 'returned')))"
)


def _read_clients(database: sqlite3.Connection, began: float, most: int) -> Clients:
    counts = count_clients(database)
    counts.pop("dark")
    (calls,) = database.execute("SELECT ifnull(sum(kicks), 0) FROM client").fetchone()
    query = f"SELECT count(*), max(max(kicked_at), max(landed_at)) {_SHOWN}"
    total, latest = database.execute(query).fetchone()
    width = max(0.05, ((latest or began) - began) / BUCKETS)
    order = f"verdict NOT IN {AT_HOME} DESC, bounces > 0 DESC, kicks DESC, client_id, region"
    query = f"SELECT {_COLUMNS} {_SHOWN} ORDER BY {order} LIMIT ?"
    rows = [_row(found, began) for found in database.execute(query, (most,))]
    rows.sort(key=lambda row: (row.client_id, row.source))
    told, landed = (_buckets(database, column, began, width) for column in ("kicked_at", "landed_at"))
    return Clients(total, rows, width, told, landed, calls, counts)


def _buckets(database: sqlite3.Connection, column: str, began: float, width: float) -> dict[int, int]:
    query = f"SELECT CAST(({column} - ?) / ? AS INTEGER), count(*) FROM client WHERE {column} > ? GROUP BY 1"  # noqa: S608
    return {max(0, bucket): count for bucket, count in database.execute(query, (began, width, began))}


def _row(found: tuple[Any, ...], began: float) -> Row:
    client_id, endpoint, source, target, state, wave, kicked, landed, kicks, bounces, note = found
    return Row(
        client_id, endpoint, source, target, state,
        wave if 0 < wave < NO_WAVE else None,
        round(kicked - began, 3) if kicked else None,
        round(landed - began, 3) if landed else None,
        round(max(0.0, landed - kicked), 3) if kicked and landed else None,
        kicks, bounces, note,
    )  # fmt: skip
