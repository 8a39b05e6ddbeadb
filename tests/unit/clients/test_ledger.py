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

from mqtt_fleet.outbox import Message, payload
from mqtt_monitor import monitor
from mqtt_monitor.ledger import HIGHEST, MOST_DROPPED, Arrival, ForgedError, Ledger, LedgerError, MessageError, parse
from mqtt_monitor.monitor import Arrived, Ignored, Item, Stop, Subscribed, Writer

TOPIC = "fleet/client_01/messages"


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
    for topic in (TOPIC, f"{TOPIC}/temperature"):
        assert parse(topic, body, "us-east-1", 2.5) == Arrival("client_01", "ab12", 7, "us-east-1", 1.5, 2.5)


def test_client_and_ledger_agree_on_what_is_told_of_other_streams_and_of_an_unset_clock() -> None:
    message = Message(7, 1.5, dated=False)
    body = payload("client_01", "ab12", message, [(1, 2)], {"cd34": [(5, 6), (8, 8)], "ef56": [(1, 1)]})
    assert json.loads(body)["sent_at_known"] is False
    found = parse(TOPIC, body, "us-east-1", 2.5)
    assert (found.sent_at, found.dropped) == (1.5, ((1, 2),))
    assert found.dropped_in == (("cd34", 5, 6), ("cd34", 8, 8), ("ef56", 1, 1))


def said(**changes: object) -> bytes:
    body = {"client_id": "client_01", "stream": "ab12", "sequence": 7, "sent_at": 1.0}
    return json.dumps({**body, **changes}).encode()


@pytest.mark.parametrize("named", ["client_02", "", None, 7, ["client_01"], {}, "client_01 "])
def test_message_that_names_another_client_than_its_topic_is_forged(named: object) -> None:
    with pytest.raises(ForgedError, match=r"^payload .*found another client_id than its topic's$"):
        parse(TOPIC, said(client_id=named), "us-east-1", 0.0)


@pytest.mark.parametrize(
    "topic",
    [
        "fleet/client_01/commands",
        "fleet/client_01",
        "fleet/client_01/messages/a/b",
        "other/client_01/messages",
        "fleet//messages",
        f"fleet/{'c' * 129}/messages",
        f"fleet/{'é' * 65}/messages",
        "fleet/client\x1b[2J/messages",
        "fleet/client\u202egpj/messages",
        "fleet/client\ud800/messages",
    ],
)
def test_topic_without_a_client_id_is_refused(topic: str) -> None:
    with pytest.raises(MessageError, match=r"^topic '"):
        parse(topic, said(client_id=topic.split("/")[1]), "us-east-1", 0.0)


@pytest.mark.parametrize("client_id", ["a", "c" * 128, "thing:01_a-b", "sensor.1", "é" * 64])
def test_client_id_of_aws_is_taken(client_id: str) -> None:
    assert parse(f"fleet/{client_id}/messages", said(client_id=client_id), "r", 0.0).client_id == client_id


@pytest.mark.parametrize(
    "changes",
    [
        {"stream": ""},
        {"stream": "s" * 65},
        {"stream": "a b"},
        {"stream": "a\x1b"},
        {"stream": "a\n"},
        {"stream": 7},
        {"sequence": HIGHEST + 1},
        {"sequence": -1},
        {"sequence": 1.0},
        {"dropped": None},
        {"dropped": {"1": 2}},
        {"dropped": [[5, 4]]},
        {"dropped": [[0, 4]]},
        {"dropped": [[1, HIGHEST + 1]]},
        {"dropped": [[number, number] for number in range(1, 102)]},
        {"dropped_in": None},
        {"dropped_in": [[1, 2]]},
        {"dropped_in": {"a b": [[1, 2]]}},
        {"dropped_in": {"ab12": [[2, 1]]}},
        {"dropped_in": {"ab12": {"1": 2}}},
        {"dropped_in": {f"{number}": [[1, 2]] for number in range(101)}},
        {"data": "x" * (128 << 10)},
    ],
)
def test_what_is_longer_or_higher_than_any_clients_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(MessageError, match=r"^payload .{,600}$") as refusal:
        parse(TOPIC, said(**changes), "us-east-1", 0.0)
    assert not isinstance(refusal.value, ForgedError)


@pytest.mark.parametrize("sent_at", [-1e12, 0, 1e12])
def test_clock_of_a_device_that_is_wrong_changes_nothing_but_the_time_it_says(sent_at: float) -> None:
    found = parse(TOPIC, said(sent_at=sent_at), "us-east-1", 5.0)
    assert (found.sequence, found.sent_at, found.arrived_at) == (7, sent_at, 5.0)


def test_greatest_message_is_taken() -> None:
    dropped = [[number, HIGHEST] for number in range(1, 101)]
    found = parse(TOPIC, said(stream="s" * 64, sequence=HIGHEST, dropped=dropped), "us-east-1", 0.0)
    assert (found.stream, found.sequence, len(found.dropped)) == ("s" * 64, HIGHEST, 100)


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
        parse("fleet/a/messages", body, "us-east-1", 0.0)


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
            "dropped_in": {"cd34": [[1, 2]]},
        }
        ledger.add([parse(TOPIC, json.dumps(body).encode(), "us-east-1", float(number))])

    told = [("ab12", 3, 5), ("ab12", 7, 7), ("cd34", 1, 2)]
    assert read(path, "SELECT * FROM dropped") == [("client_01", *each, 10.0) for each in told]


def test_time_that_no_float_holds_is_stored(tmp_path: Path) -> None:
    body = b'{"client_id": "a", "stream": "b", "sequence": 7, "sent_at": 1' + b"0" * 400 + b"}"
    Ledger(tmp_path / "ledger").add([parse("fleet/a/messages", body, "us-east-1", 0.0)])

    assert read(tmp_path / "ledger", "SELECT sequence FROM message") == [(7,)]


def test_ledger_grows_little_by_what_one_device_forges(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(path)
    ledger.add([replace(arrival(1), client_id="other", dropped=((1, 2),))])
    for second in range(20):
        bodies = [
            said(stream=f"{second:03}{number:03}" + "s" * 58, dropped=[[each, each] for each in range(1, 200, 2)])
            for number in range(100)
        ]
        ledger.add([parse(TOPIC, body, "us-east-1", float(second)) for body in bodies])
    ledger.close()

    # Two thousand messages, two hundred thousand ranges.
    assert read(
        path, "SELECT client_id, count(*), min(told_at) FROM dropped GROUP BY client_id ORDER BY client_id"
    ) == [
        ("client_01", MOST_DROPPED, 19.0),
        ("other", 1, 2.0),
    ]
    assert read(path, "SELECT count(*) FROM message") == [(2001,)]
    ledger = Ledger(path)
    ledger._database.execute("VACUUM")
    ledger.close()
    assert path.stat().st_size < 1 << 20


def test_what_is_ignored_is_acknowledged_and_logged_by_kind_not_by_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    acknowledged: list[str] = []
    items: queue.SimpleQueue[Item] = queue.SimpleQueue()
    kinds = ["message_forged"] * 500 + ["message_ignored"] * 300 + ["message_retained"]
    for kind in kinds:
        items.put(Ignored(kind, TOPIC, "reason", lambda kind=kind: acknowledged.append(kind)))
    items.put(Stop())
    Writer(Ledger(tmp_path / "ledger"), items).run()

    assert acknowledged == kinds
    # At once for the first, and in one line for the rest.
    logged = [(record.getMessage(), getattr(record, "fields", {}).get("messages")) for record in caplog.records]
    assert sorted(logged) == [
        ("message_forged", 1),
        ("message_forged", 499),
        ("message_ignored", 1),
        ("message_ignored", 299),
        ("message_retained", 1),
    ]


def test_write_that_failed_in_part_is_not_done_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "RETRY_SECONDS", 0.0)
    ledger, fails = Ledger(tmp_path / "ledger"), [True]
    set_subscription = ledger.set_subscription

    def fail_once(region: str, since: float | None) -> None:
        if fails.pop() if fails else False:
            raise LedgerError("disk full")
        set_subscription(region, since)

    monkeypatch.setattr(ledger, "set_subscription", fail_once)
    items: queue.SimpleQueue[Item] = queue.SimpleQueue()
    items.put(Arrived(arrival(1), lambda: None))
    items.put(Subscribed("us-east-1", 1.0))
    thread = threading.Thread(target=Writer(ledger, items).run)
    thread.start()
    deadline = time.monotonic() + 30
    while not read(tmp_path / "ledger", "SELECT 1 FROM subscription") and time.monotonic() < deadline:
        time.sleep(0.01)
    items.put(Stop())
    thread.join()

    assert read(tmp_path / "ledger", "SELECT sequence FROM message") == [(1,)]


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
