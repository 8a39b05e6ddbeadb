"""The ledger: what is stored of each arrival, when it is acknowledged, and what is no message."""

from __future__ import annotations

import json
import queue
import sqlite3
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mqtt_fleet import monitor
from mqtt_fleet.ledger import Arrival, Ledger, LedgerError, MessageError, parse
from mqtt_fleet.monitor import Arrived, Item, Stop, Subscribed, Writer
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
        b'{"client_id": "a", "stream": "b", "sequence": 1, "sent_at": NaN}',
        b'{"client_id": "a", "stream": "b", "sequence": 1, "sent_at": true}',
        b'{"client_id": "a", "stream": "b", "sequence": 0, "sent_at": 1}',
        b'{"client_id": "a", "stream": "b", "sequence": 9223372036854775808, "sent_at": 1}',
        b'{"client_id": "a", "stream": "b", "sequence": 1, "sent_at": 1, "dropped": 7}',
        b'{"client_id": "a", "stream": "b", "sequence": 1, "sent_at": 1, "dropped": [[1]]}',
        b'{"client_id": "a", "stream": "b", "sequence": 1, "sent_at": 1, "dropped": [["a", 2]]}',
        b'{"client_id": "\\ud800", "stream": "b", "sequence": 1, "sent_at": 1}',
        b'{"client_id": ["a"], "stream": "b", "sequence": 1, "sent_at": 1}',
        b'{"client_id": "a", "stream": {}, "sequence": 1, "sent_at": 1}',
        b"[" * 100_000,
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
    Writer(ledger, items).run()
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


def test_what_a_device_dropped_is_stored_once_however_often_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(path)
    for number in (9, 10):
        body = {
            "client_id": "client_01",
            "stream": "ab12",
            "sequence": number,
            "sent_at": 1,
            "dropped": [[3, 5], [7, 7]],
        }
        ledger.add([parse(json.dumps(body).encode(), "us-east-1", float(number))])

    assert read(path, "SELECT * FROM dropped") == [("client_01", "ab12", 3, 5, 10.0), ("client_01", "ab12", 7, 7, 10.0)]


def test_numbers_that_no_float_holds_are_stored(tmp_path: Path) -> None:
    body = b'{"client_id": "a", "stream": "b", "sequence": 9223372036854775807, "sent_at": 1' + b"0" * 400 + b"}"
    Ledger(tmp_path / "ledger").add([parse(body, "us-east-1", 0.0)])

    assert read(tmp_path / "ledger", "SELECT sequence FROM message") == [(2**63 - 1,)]


def test_writer_takes_what_is_there_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path / "ledger")
    sizes: list[int] = []
    monkeypatch.setattr(ledger, "add", lambda rows: sizes.append(len(rows)))
    items: queue.SimpleQueue[Item] = queue.SimpleQueue()
    for number in range(1, 2501):
        items.put(Arrived(arrival(number), lambda: None))
    items.put(Stop())
    Writer(ledger, items).run()

    assert sizes == [1000, 1000, 500]


def test_full_disk_is_waited_out_and_nothing_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(monitor, "RETRY_SECONDS", 0.01)
    path = tmp_path / "ledger"
    ledger = Ledger(path)
    ledger._database.execute("PRAGMA max_page_count=8")
    acknowledged: list[int] = []
    items: queue.SimpleQueue[Item] = queue.SimpleQueue()
    for number in range(1, 1001):
        items.put(Arrived(arrival(number), lambda number=number: acknowledged.append(number)))
    thread = threading.Thread(target=Writer(ledger, items).run)
    caplog.set_level("INFO")
    # One connection, as in the program, but made in this thread.
    thread.start()
    deadline = time.monotonic() + 30
    while "ledger_failed" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.01)
    assert acknowledged == []
    ledger._database.execute("PRAGMA max_page_count=100000")
    while len(acknowledged) < 1000 and time.monotonic() < deadline:
        time.sleep(0.01)
    items.put(Stop())
    thread.join()

    assert acknowledged == list(range(1, 1001))
    assert read(path, "SELECT count(*) FROM message") == [(1000,)]
    assert caplog.text.count("ledger_failed") == 1


def test_stop_ends_also_a_writer_whose_disk_is_full(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger._database.execute("PRAGMA max_page_count=8")
    items: queue.SimpleQueue[Item] = queue.SimpleQueue()
    for number in range(1, 1001):
        items.put(Arrived(arrival(number), lambda: None))
    items.put(Stop())
    Writer(ledger, items).run()


def test_old_arrivals_are_pruned_while_new_ones_come(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(path)
    ledger.add([replace(arrival(number), dropped=((3, 4),)) for number in range(1, 51)])
    now = time.time()
    items: queue.SimpleQueue[Item] = queue.SimpleQueue()
    for number in range(51, 61):
        items.put(Arrived(replace(arrival(number), arrived_at=now), lambda: None))
    items.put(Stop())
    Writer(ledger, items, retention=3600).run()

    assert read(path, "SELECT min(sequence), max(sequence) FROM message") == [(51, 60)]
    assert read(path, "SELECT * FROM dropped") == []


def test_pruning_is_in_small_steps(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.add([arrival(number) for number in range(1, 51)])

    assert [ledger.prune(3.0, 20) for _ in range(4)] == [20, 20, 9, 0]
    assert read(tmp_path / "ledger", "SELECT sequence FROM message") == [(50,)]


def test_ledger_of_an_earlier_version_gets_what_it_lacks(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "ledger")
    database.executescript(
        "CREATE TABLE message (client_id TEXT, stream TEXT, sequence INTEGER, region TEXT, sent_at REAL, arrived_at "
        "REAL); CREATE INDEX message_arrival ON message (client_id, arrived_at);"
    )
    database.close()
    Ledger(tmp_path / "ledger").close()

    indexes = read(tmp_path / "ledger", "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'message%'")
    assert indexes == [("message_arrived_at",)]


def test_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"this is no database at all" * 40)
    with pytest.raises(LedgerError, match=r"^ledger: "):
        Ledger(path)


def test_region_is_subscribed_when_each_of_its_connections_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    seen = []
    for number in range(1, 5):
        items: queue.SimpleQueue[Item] = queue.SimpleQueue()
        for each in [(1.0, 1), (2.0, 2), (None, 1), (3.0, 1)][:number]:
            items.put(Subscribed("us-east-1", *each))
        items.put(Stop())
        Writer(Ledger(path), items, connections=2).run()
        seen += read(path, "SELECT since FROM subscription")

    assert seen == [(None,), (2.0,), (None,), (3.0,)]
