"""Whether messages of a client arrive, by the monitor's ledger."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from .modules import error_of, run_ok


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    # A name that a URI would cut.
    path = tmp_path / "ledger?mode=rwc#1.sqlite"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE message (client_id TEXT, region TEXT, arrived_at REAL)")
    return path


def arrive(ledger: Path, client_id: str, seconds_ago: float) -> None:
    with closing(sqlite3.connect(ledger)) as database, database:
        database.execute("INSERT INTO message VALUES (?, 'us-east-1', ?)", (client_id, time.time() - seconds_ago))


def asked(ledger: Path, timeout: float = 0.0) -> dict[str, Any]:
    return {"ledger": str(ledger), "client_id": "one", "timeout": timeout}


def test_message_that_arrives_from_now_on_is_seen(ledger: Path) -> None:
    arrive(ledger, "two", 1)
    # As if it arrived while the module looks.
    arrive(ledger, "one", -5)

    assert run_ok("message_arrival_info", asked(ledger))["region"] == "us-east-1"


def test_earlier_messages_and_those_of_others_do_not_count(ledger: Path) -> None:
    arrive(ledger, "one", 1)
    arrive(ledger, "two", -5)

    assert error_of("message_arrival_info", asked(ledger)).startswith(
        f"one: found no message of it in {ledger} within 0 s: check"
    )


def test_ledger_that_nobody_keeps_says_nothing(ledger: Path, tmp_path: Path) -> None:
    arrive(ledger, "one", 3600)

    assert run_ok("message_arrival_info", asked(ledger))["region"] is None
    assert run_ok("message_arrival_info", asked(tmp_path / "missing.sqlite"))["region"] is None


def test_damaged_ledger_says_nothing(ledger: Path) -> None:
    ledger.write_bytes(b"this is no database at all" * 400)

    assert run_ok("message_arrival_info", asked(ledger))["region"] is None
