"""The outbox: nothing stored is lost, numbers have no hole, order is kept."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mqtt_fleet.outbox import Message, Outbox, OutboxDamagedError, OutboxError, payload, ranges

CLIENTS = Path(__file__).parent.parent.parent.parent / "clients"

# Prints each number once it is stored, until it is killed.
WRITER = """
import sys, time
from pathlib import Path
from mqtt_fleet.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]))
while True:
    sys.stdout.write(f"{outbox.put(time.time()).sequence}\\n")
    sys.stdout.flush()
"""


def sequences(outbox: Outbox, after: int = 0, limit: int = 1000) -> list[int]:
    return [message.sequence for message in outbox.after(after, limit)]


def test_messages_come_in_order_after_a_number(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    stored = [outbox.put(100.0 + number) for number in range(5)]
    assert [message.sequence for message in stored] == [1, 2, 3, 4, 5]
    assert outbox.after(0, 10) == stored
    assert sequences(outbox, after=2, limit=2) == [3, 4]


def test_acknowledged_message_leaves_in_any_order(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    stored = [outbox.put(0.0) for _ in range(4)]
    outbox.remove([stored[2], stored[0], Message(99, 0.0)])
    assert sequences(outbox) == [2, 4]
    assert outbox.count == 2


def test_numbers_go_on_after_emptied_and_reopened(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    outbox.remove([outbox.put(0.0), outbox.put(0.0)])
    stream = outbox.stream
    outbox.close()
    reopened = Outbox(tmp_path / "outbox")
    assert reopened.stream == stream
    assert reopened.put(0.0).sequence == 3


def test_each_file_is_a_stream_of_its_own(tmp_path: Path) -> None:
    assert Outbox(tmp_path / "one").stream != Outbox(tmp_path / "two").stream


def test_killed_writer_loses_nothing_it_stored(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    said = []
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            env={**os.environ, "PYTHONPATH": str(CLIENTS)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout
        said += [int(writer.stdout.readline()) for _ in range(20)]
        writer.send_signal(signal.SIGKILL)
        said += [int(line) for line in writer.stdout.read().splitlines() if line]
        writer.wait()
        writer.stdout.close()
    kept = sequences(Outbox(path), limit=1_000_000)
    assert kept == list(range(1, len(kept) + 1))
    assert set(said) <= set(kept)


@pytest.mark.parametrize("content", [b"this is no database at all, but longer than a header" * 4])
def test_file_that_is_no_outbox_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "outbox"
    path.write_bytes(content)
    with pytest.raises(OutboxDamagedError, match=r"^outbox: "):
        Outbox(path)
    assert path.read_bytes() == content


def test_damaged_page_is_noticed_when_opened(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    outbox = Outbox(path)
    for _ in range(100):
        outbox.put(0.0, "x" * 1000)
    outbox.close()
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 8192] = b"\xa5" * 8192
    path.write_bytes(content)
    with pytest.raises(OutboxDamagedError, match=r"^outbox: "):
        Outbox(path)


def test_file_that_cannot_be_opened_is_not_taken_for_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(OutboxError, match=r"^outbox: ") as refusal:
        Outbox(tmp_path / "missing folder" / "outbox")
    assert not isinstance(refusal.value, OutboxDamagedError)


def test_outbox_of_the_first_release_is_opened_and_that_one_opens_this(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            "CREATE TABLE stream (id TEXT NOT NULL); INSERT INTO stream VALUES ('ab12');"
            "CREATE TABLE message (sequence INTEGER PRIMARY KEY AUTOINCREMENT, sent_at REAL NOT NULL);"
            "INSERT INTO message (sent_at) VALUES (1.5), (2.5);"
        )
    outbox = Outbox(path)
    assert outbox.stream == "ab12"
    assert outbox.put(3.5, b"data", "topic").sequence == 3
    assert outbox.after(0, 9) == [Message(1, 1.5), Message(2, 2.5), Message(3, 3.5, b"data", "topic")]
    outbox.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("INSERT INTO message (sent_at) VALUES (4.5)")
    assert Outbox(path).after(3, 9) == [Message(4, 4.5)]


@pytest.mark.parametrize("data", [None, "", "é\0x", b"", b"\0\xff"])
def test_data_and_size_survive_reopening(tmp_path: Path, data: str | bytes | None) -> None:
    outbox = Outbox(tmp_path / "outbox")
    stored = outbox.put(1.0, data, "tópic")
    size = outbox.bytes
    outbox.close()
    outbox = Outbox(tmp_path / "outbox")
    assert outbox.after(0, 1) == [stored]
    assert outbox.bytes == size == stored.size
    outbox.remove([stored])
    assert (outbox.count, outbox.bytes) == (0, 0)


def test_transaction_that_fails_changes_nothing(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    first = outbox.put(0.0)
    with pytest.raises(KeyError), outbox.transaction():
        outbox.put(0.0)
        outbox.remove([first])
        raise KeyError
    assert sequences(outbox) == [1]
    assert (outbox.count, outbox.bytes) == (1, first.size)
    assert outbox.put(0.0).sequence == 2


def test_dropped_numbers_are_told_as_ranges_until_forgotten(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    stored = [outbox.put(0.0, stored_at=float(number)) for number in range(10)]
    outbox.remove([stored[2]])
    size = stored[0].size
    assert outbox.drop_oldest(2 * size) == 2
    assert outbox.dropped(9) == [(1, 2)]
    assert outbox.drop_oldest(size) == 1
    assert outbox.drop_oldest(size - 1) == 1
    assert outbox.dropped(9) == [(1, 2), (4, 5)]
    # What grew since it was told is told again.
    outbox.forget_dropped([(1, 2), (4, 4)])
    assert outbox.dropped(9) == [(4, 5)]
    assert outbox.drop_stored_before(7.0) == 2
    assert outbox.dropped(9) == [(4, 7)]
    assert sequences(outbox) == [8, 9, 10]
    assert outbox.bytes == 3 * size


def test_clock_of_the_outbox_goes_on_within_a_boot_and_stands_while_the_device_is_off(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    offset = outbox.offset("boot 1", since_boot=1000.0)
    assert 1000.0 + offset == 0.0
    outbox.put(0.0, stored_at=1060.0 + offset)
    outbox.close()
    outbox = Outbox(tmp_path / "outbox")
    assert outbox.offset("boot 1", since_boot=2000.0) == offset
    assert 5.0 + outbox.offset("boot 2", since_boot=5.0) == 60.0


def test_ranges() -> None:
    assert ranges([]) == []
    assert ranges([1, 2, 3, 5, 7, 8]) == [(1, 3), (5, 5), (7, 8)]


@pytest.mark.parametrize(
    ("data", "published"),
    [
        (None, {}),
        ("", {"data": ""}),
        ("é", {"data": "é"}),
        (b"\xff", {"data_base64": "/w=="}),
        (b"", {"data_base64": ""}),
    ],
)
def test_payload_carries_data_and_dropped_ranges(data: str | bytes | None, published: dict[str, str]) -> None:
    body = json.loads(payload("c", "s", Message(7, 1.5, data, "topic"), [(1, 2)]))
    assert body == {"client_id": "c", "stream": "s", "sequence": 7, "sent_at": 1.5, "dropped": [[1, 2]], **published}


def test_payload_names_client_stream_number_and_time() -> None:
    assert json.loads(payload("client_01", "ab12", Message(7, 1.5))) == {
        "client_id": "client_01",
        "stream": "ab12",
        "sequence": 7,
        "sent_at": 1.5,
    }
