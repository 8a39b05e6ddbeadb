"""The outbox: nothing stored is lost, numbers have no hole, order is kept."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mqtt_fleet.dead_letter_table import DeadLetter
from mqtt_fleet.outbox import LOG_BYTES, Message, Outbox, OutboxDamagedError, OutboxError, payload, ranges
from mqtt_fleet.refusals import Suspect

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


def pragma(outbox: Outbox, name: str) -> object:
    (value,) = outbox._database.execute(f"PRAGMA {name}").fetchone()
    return value


NORMAL, FULL = 1, 2


def test_what_is_stored_is_on_disk_and_what_only_leaves_is_not_waited_for(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    assert pragma(outbox, "synchronous") == FULL
    with outbox.transaction(durable=False):
        assert pragma(outbox, "synchronous") == NORMAL
    with outbox.transaction():
        assert pragma(outbox, "synchronous") == FULL
    with outbox.transaction(durable=False):
        # It is part of what began as not to be waited for: SQLite cannot change it any more.
        outbox.put(0.0)
        assert pragma(outbox, "synchronous") == NORMAL
    outbox.put(0.0)
    assert pragma(outbox, "synchronous") == FULL


def test_sqlite_that_is_built_to_promise_less_promises_as_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    def built_otherwise(path: Path, **options: Any) -> sqlite3.Connection:
        database = connect(path, **options)
        database.execute("PRAGMA synchronous=OFF")
        return database

    monkeypatch.setattr(sqlite3, "connect", built_otherwise)
    assert pragma(Outbox(tmp_path / "outbox"), "synchronous") == FULL


def test_file_is_kept_as_a_log_that_is_short_and_a_file_that_gets_smaller(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    assert pragma(outbox, "journal_mode") == "wal"
    assert pragma(outbox, "wal_autocheckpoint") == 128
    incremental = 2
    assert pragma(outbox, "auto_vacuum") == incremental
    # A client's reserve on a full disk holds it.
    assert pragma(outbox, "journal_size_limit") == LOG_BYTES == 1024 * 1024


def test_file_whose_check_is_not_passed_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    Outbox(path).close()
    content = bytearray(path.read_bytes())
    # Number of free pages, https://sqlite.org/fileformat2.html#the_database_header: nothing that any query needs.
    content[36:40] = (7).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(OutboxDamagedError, match=r"^outbox: .*/outbox is damaged: .*[Ff]reelist.*$") as refusal:
        Outbox(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("access", [os.R_OK, os.W_OK])
def test_file_that_may_not_be_used_is_taken_for_a_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, access: int
) -> None:
    outbox = Outbox(tmp_path / "outbox")
    monkeypatch.setattr(os, "access", lambda _, mode: not mode & access)
    outbox.close()
    with pytest.raises(OutboxDamagedError, match=r"^outbox: .* cannot be used: "):
        full(outbox)
    (tmp_path / "outbox").unlink()
    with pytest.raises(OutboxError) as refusal:
        full(outbox)
    assert type(refusal.value) is OutboxError


def full(outbox: Outbox) -> None:
    """As when the disk is: an error that says nothing of the file."""
    with outbox._errors:
        raise sqlite3.OperationalError("database or disk is full")


def test_full_disk_is_no_damage_and_what_cannot_be_read_is(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    with pytest.raises(OutboxError, match=r"^outbox: .*/outbox cannot be used: database or disk is full$") as refusal:
        full(outbox)
    assert type(refusal.value) is OutboxError
    with pytest.raises(OutboxDamagedError), outbox._errors:
        raise sqlite3.DatabaseError("database disk image is malformed")


def test_folder_in_its_place_is_taken_for_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(OutboxDamagedError, match=r"^outbox: .* cannot be used: "):
        Outbox(tmp_path)


def test_file_that_is_refused_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[sqlite3.Connection] = []

    def fail(outbox: Outbox) -> None:
        opened.append(outbox._database)
        raise OutboxError("outbox: full")

    monkeypatch.setattr(Outbox, "recount", fail)
    with pytest.raises(OutboxError, match=r"^outbox: full$"):
        Outbox(tmp_path / "outbox")
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")


def test_closed_outbox_is_closed(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    outbox.close()
    with pytest.raises(OutboxError, match="closed"):
        outbox.put(0.0)


@pytest.mark.parametrize(
    "work",
    [
        lambda outbox: outbox.put(0.0),
        lambda outbox: outbox.after(0, 1),
        lambda outbox: outbox.remove([Message(1, 0.0)]),
        lambda outbox: outbox.drop_oldest(1),
        lambda outbox: outbox.drop_stored_before(1.0),
        lambda outbox: outbox.dropped(1),
        lambda outbox: outbox.forget_dropped([(1, 1)]),
        lambda outbox: outbox.offset("boot", 1.0),
        lambda outbox: outbox.oldest_stored_at(),
        lambda outbox: outbox.recount(),
        lambda outbox: outbox.shrink(),
        lambda outbox: outbox.transaction().__enter__(),
    ],
)
def test_what_sqlite_cannot_do_is_told_in_one_line(tmp_path: Path, work: Callable[[Outbox], object]) -> None:
    outbox = Outbox(tmp_path / "outbox")
    outbox._database.executescript("DROP TABLE message; DROP TABLE dropped; DROP TABLE clock")
    outbox.close()
    with pytest.raises(OutboxError, match=r"^outbox: .*/outbox cannot be used: .*$"):
        work(outbox)


def test_transaction_keeps_other_writers_out_until_it_ends(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    with closing(sqlite3.connect(tmp_path / "outbox", timeout=0, isolation_level=None)) as other:
        with outbox.transaction():
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
            outbox.put(0.0)
            assert other.execute("SELECT count(*) FROM message").fetchone() == (0,)
        assert other.execute("SELECT count(*) FROM message").fetchone() == (1,)
        other.execute("BEGIN IMMEDIATE")
        outbox._database.execute("PRAGMA busy_timeout=0")
        with pytest.raises(OutboxError, match="locked"), outbox.transaction():
            pytest.fail("begun while another writes")


def test_transaction_that_sqlite_ended_by_itself_is_counted_anew(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    outbox.put(0.0)
    with pytest.raises(OutboxError, match="cannot commit"), outbox.transaction():
        outbox.put(0.0)
        outbox._database.execute("ROLLBACK")
    assert (outbox.count, outbox.bytes) == (1, Message(1, 0.0).size)
    with outbox.transaction():
        outbox.put(0.0)
    assert sequences(outbox) == [1, 2]


def test_size_counts_row_data_and_topic() -> None:
    assert Message(1, 0.0).size == 64
    assert Message(1, 0.0, "éé", "t").size == 64 + 4 + 1
    assert Message(1, 0.0, b"\xff\xff\xff", "é").size == 64 + 3 + 2


def test_outbox_counts_what_is_stored_removed_and_dropped(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    stored = [outbox.put(0.0, "x" * number) for number in (100, 200, 300, 400)]
    assert (outbox.count, outbox.bytes) == (4, 4 * 64 + 1000)
    outbox.remove([stored[1], stored[1]])
    assert (outbox.count, outbox.bytes) == (3, 3 * 64 + 800)
    assert outbox.drop_oldest(1) == 1
    assert (outbox.count, outbox.bytes) == (2, 2 * 64 + 700)
    outbox.recount()
    assert (outbox.count, outbox.bytes) == (2, 2 * 64 + 700)


def test_oldest_are_dropped_no_more_of_them_than_needed(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    stored = [outbox.put(0.0) for _ in range(6)]
    size = stored[0].size
    assert outbox.drop_oldest(0) == 0
    assert outbox.drop_oldest(2 * size) == 2
    assert outbox.drop_oldest(size + 1) == 2
    assert sequences(outbox) == [5, 6]
    assert outbox.drop_oldest(100 * size) == 2
    assert (outbox.count, outbox.bytes) == (0, 0)
    assert outbox.drop_oldest(1) == 0
    assert outbox.dropped(9) == [(1, 6)]


def test_age_drops_what_is_older_and_not_what_is_as_old(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    for stored_at in (5.0, 1.0, 9.0, 2.0):
        outbox.put(0.0, stored_at=stored_at)
    assert outbox.oldest_stored_at() == 5.0
    assert outbox.drop_stored_before(2.0) == 1
    assert sequences(outbox) == [1, 3, 4]
    assert outbox.drop_stored_before(6.0) == 2
    assert outbox.dropped(9) == [(1, 1), (2, 2), (4, 4)]
    assert outbox.dropped(1) == [(1, 1)]
    assert outbox.drop_stored_before(10.0) == 1
    assert outbox.oldest_stored_at() is None


def test_numbers_behind_a_hole_are_a_range_of_their_own(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    stored = [outbox.put(0.0) for _ in range(6)]
    size = stored[0].size
    assert outbox.drop_oldest(size) == 1
    outbox.remove([stored[1]])
    # The first of these touches nothing that was dropped; the next ones are its.
    assert outbox.drop_oldest(2 * size) == 2
    assert outbox.dropped(9) == [(1, 1), (3, 4)]
    outbox.forget_dropped([(1, 1)])
    assert outbox.dropped(9) == [(3, 4)]
    # Only what is the same at both ends.
    outbox.forget_dropped([(3, 3), (2, 4)])
    assert outbox.dropped(9) == [(3, 4)]


def test_clock_of_an_earlier_boot_is_forgotten(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    for boot in ("one", "two", "three"):
        outbox.offset(boot, 10.0)
    assert outbox._database.execute("SELECT * FROM clock").fetchall() == [("three", -10.0)]
    outbox.put(0.0, stored_at=7.0)
    outbox.put(0.0, stored_at=3.0)
    # On from the latest that was stored.
    assert outbox.offset("four", 10.0) == -3.0
    assert outbox.offset("four", 99.0) == -3.0


def test_space_of_what_left_is_given_back_a_part_at_each_call(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    outbox = Outbox(path)
    with outbox.transaction():
        stored = [outbox.put(0.0, b"x" * 100_000) for _ in range(200)]
    with outbox.transaction():
        outbox.remove(stored)
    # What the log holds is in the file now.
    outbox._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    free, size = pragma(outbox, "freelist_count"), path.stat().st_size
    assert isinstance(free, int)
    outbox.shrink()
    assert pragma(outbox, "freelist_count") == free - 64 * 64
    # The last step is in the log still; some pages are SQLite's own.
    assert path.stat().st_size <= size - 63 * 64 * 4096
    outbox.shrink()
    assert pragma(outbox, "freelist_count") == 0
    outbox.shrink()
    assert path.stat().st_size < 100_000
    assert (tmp_path / "outbox-wal").stat().st_size == 0


def test_two_that_open_a_new_file_agree_on_its_stream(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "outbox")
    second = Outbox(tmp_path / "outbox")
    assert first.stream == second.stream
    assert len(first.stream) == 16
    assert first._database.execute("SELECT count(*) FROM stream").fetchone() == (1,)


def test_message_without_a_time_of_its_own_is_as_old_as_the_outbox(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    message = outbox.put(1.5)
    assert outbox.oldest_stored_at() == 0.0
    # It is told from others by all that it says, whoever holds it.
    assert message == Message(1, 1.5)
    assert {message} == {Message(1, 1.5)}


def test_payload_is_text_as_it_is() -> None:
    assert "é中".encode() in payload("c", "s", Message(1, 0.0, "é中"))
    assert b"dropped" not in payload("c", "s", Message(1, 0.0), [])


def test_message_that_is_set_aside_leaves_alone_and_its_number_is_told_as_dropped(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    stored = [outbox.put(1.8e9, "x" * number) for number in range(4)]
    with outbox.transaction():
        assert outbox.set_aside(stored[1], DeadLetter(2, 0x87, "denied", 1.8e9), 1 << 20) == 0
    assert sequences(outbox) == [1, 3, 4]
    assert outbox.count == 3
    assert outbox.bytes == sum(each.size for each in (stored[0], *stored[2:]))
    assert outbox.dropped(9) == [(2, 2)]
    outbox.close()


def test_message_that_left_before_it_is_set_aside_is_not_told_as_dropped(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    stored = [outbox.put(1.8e9) for _ in range(3)]
    outbox.remove([stored[1]])
    with outbox.transaction():
        outbox.set_aside(stored[1], DeadLetter(2, 0x87, "denied", 1.8e9), 1 << 20)
    assert sequences(outbox) == [1, 3]
    assert outbox.count == 2
    assert outbox.dropped(9) == []
    outbox.close()


def test_suspects_are_kept_and_not_waited_for(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    one, other = Suspect(1, 2, 3), Suspect(4, 5, 6)
    outbox.keep_suspects({7: one, 8: other})
    assert pragma(outbox, "synchronous") == NORMAL
    outbox.keep_suspects({}, [8])
    outbox.close()
    reopened = Outbox(tmp_path / "outbox")
    assert reopened.suspects() == {7: one}
    reopened.close()


def test_what_another_process_writes_is_counted_once_it_is_asked_for(tmp_path: Path) -> None:
    outbox, other = Outbox(tmp_path / "outbox"), Outbox(tmp_path / "outbox")
    assert not outbox.changed_elsewhere()
    stored = other.put(0.0, "x")
    assert outbox.changed_elsewhere()
    assert (outbox.count, outbox.bytes, outbox.highest) == (1, stored.size, 1)
    assert not outbox.changed_elsewhere()
    other.close()
    outbox.close()


def test_message_of_a_clock_that_was_set_is_dated(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    outbox.put(1.8e9)
    outbox.put(5.0)
    assert [each.dated for each in outbox.after(0, 2)] == [True, False]
    outbox.close()


def test_log_that_is_not_there_has_no_bytes(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    outbox.put(0.0)
    assert outbox.log_bytes() > 0
    outbox.close()
    assert outbox.log_bytes() == 0


def test_damage_that_is_met_when_the_clock_is_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = Outbox(tmp_path / "outbox")

    def fails(durable: bool = True) -> None:
        raise (OutboxDamagedError if damaged else OutboxError)(f"{durable}")

    monkeypatch.setattr(outbox, "transaction", fails)
    damaged = False
    assert outbox.offset("boot", 10.0) == -10.0
    damaged = True
    with pytest.raises(OutboxDamagedError):
        outbox.offset("boot", 10.0)
    outbox.close()


def test_file_that_somebody_else_holds_is_not_taken_for_a_file_system_without_shared_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(outbox: Outbox) -> bool:
        if outbox.exclusive:
            return True
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(Outbox, "_write_ahead", held)
    with pytest.raises(OutboxError, match="database is locked"):
        Outbox(tmp_path / "outbox")
