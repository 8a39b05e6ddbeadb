"""The ledger: what is stored of each arrival, when it is acknowledged, and what is no message."""

from __future__ import annotations

import queue
import sqlite3
from pathlib import Path

import pytest

from mqtt_fleet.ledger import Arrival, Ledger, LedgerError, MessageError, parse
from mqtt_fleet.monitor import Arrived, Item, Stop, Subscribed, write
from mqtt_fleet.outbox import Message, payload


def arrival(sequence: int, region: str = "us-east-1") -> Arrival:
    return Arrival("client_01", "ab12", sequence, region, 1.0, 2.0)


def read(path: Path, query: str) -> list[tuple[object, ...]]:
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


def test_client_and_ledger_agree_on_the_payload() -> None:
    body = payload("client_01", "ab12", Message(7, 1.5))
    assert parse(body, "us-east-1", 2.5) == Arrival("client_01", "ab12", 7, "us-east-1", 1.5, 2.5)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"7",
        b'{"client_id": "a"}',
        b'{"client_id": "a", "stream": "b", "sequence": true, "sent_at": 1}',
        b'{"client_id": "a", "stream": "b", "sequence": 1, "sent_at": "now"}',
    ],
)
def test_other_payload_is_refused(body: bytes) -> None:
    with pytest.raises(MessageError, match=r"^payload "):
        parse(body, "us-east-1", 0.0)


def test_duplicates_are_rows_and_acknowledged_after_they_are_stored(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(path)
    stored_when_acknowledged: list[int] = []

    def acknowledge() -> None:
        stored_when_acknowledged.append(len(read(path, "SELECT 1 FROM message")))

    items: queue.SimpleQueue[Item] = queue.SimpleQueue()
    items.put(Subscribed("us-east-1", 5.0))
    items.put(Arrived(arrival(1), acknowledge))
    items.put(Arrived(arrival(1, "ap-northeast-1"), acknowledge))
    items.put(Stop())
    write(ledger, items)
    assert stored_when_acknowledged == [2, 2]
    assert read(path, "SELECT * FROM message") == [
        ("client_01", "ab12", 1, "us-east-1", 1.0, 2.0),
        ("client_01", "ab12", 1, "ap-northeast-1", 1.0, 2.0),
    ]
    assert read(path, "SELECT * FROM subscription") == [("us-east-1", 5.0)]


def test_subscription_ends_and_begins_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    for since in (1.0, None, 3.0, None):
        ledger.set_subscription("us-east-1", since)
        assert read(tmp_path / "ledger.sqlite", "SELECT * FROM subscription") == [("us-east-1", since)]


def test_reader_does_not_block_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(path)
    reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM message").fetchone() == (0,)
    ledger.add([arrival(1)])
    assert reader.execute("SELECT count(*) FROM message").fetchone() == (0,)
    reader.execute("COMMIT")
    assert reader.execute("SELECT count(*) FROM message").fetchone() == (1,)
    reader.close()


def test_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"this is no database at all" * 40)
    with pytest.raises(LedgerError, match=r"^ledger: "):
        Ledger(path)
