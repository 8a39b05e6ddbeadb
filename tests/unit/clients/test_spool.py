"""What becomes of messages when the outbox is full, the disk is, the file is damaged, or the clock is set."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mqtt_fleet import spool as spool_module
from mqtt_fleet.clock import Clock
from mqtt_fleet.config import Config
from mqtt_fleet.metrics import Metrics
from mqtt_fleet.outbox import MOST_TRANSACTION_BYTES, Outbox, payload
from mqtt_fleet.reserve import RESERVE_BYTES
from mqtt_fleet.sources.submission import Answer, Refused, Stored, Submission
from mqtt_fleet.spool import LOOK_BYTES, Spool, parts, set_aside


class SetClock(Clock):
    """Goes only when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 1000.0
        self.epoch = 1.8e9

    def monotonic(self) -> float:
        return self.seconds

    def since_boot(self) -> float:
        return self.seconds

    def wall(self) -> float:
        return self.epoch


class Place:
    """A folder with an outbox, and what a client has of it."""

    def __init__(self, folder: Path) -> None:
        self.clock = SetClock()
        self.metrics = Metrics()
        self.folder = folder
        self.spool: Spool | None = None

    def open(self, **changes: Any) -> Spool:
        config = Config(
            client_id="client_01",
            endpoint="mqtt1.example.com",
            library="paho",
            ca=self.folder,
            certificate=self.folder,
            private_key=self.folder,
            outbox=self.folder / "outbox",
        )
        self.close()
        self.spool = Spool(replace(config, **changes), self.metrics, self.clock)
        return self.spool

    def close(self) -> None:
        if self.spool:
            self.spool.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.close()


def store(spool: Spool, *data: str) -> list[Answer]:
    answers: list[Answer] = []
    spool.commit([Submission(text, answer=answers.append) for text in data])
    return answers


def numbers(spool: Spool) -> list[int]:
    return [message.sequence for message in spool.after(0, 100_000)]


KILOBYTE = "x" * 960


def test_full_outbox_refuses_and_takes_again_what_fits(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    spool = place.open(outbox_max_bytes=10 << 10)
    answers = store(spool, *[KILOBYTE] * 12)
    assert [type(answer) for answer in answers] == [Stored] * 10 + [Refused] * 2
    assert isinstance(answers[-1], Refused)
    assert answers[-1].text == "not stored: the outbox holds 10240 of 10240 bytes"
    assert (place.metrics.accepted, place.metrics.refused) == (10, {"full": 2})
    # Said at once for the first, and in one line for the rest.
    assert caplog.messages.count("refused") == 1
    place.clock.seconds += 60
    spool.keep_house()
    assert caplog.messages.count("refused") == 2
    spool.commit([], spool.after(0, 3))
    assert store(spool, KILOBYTE) == [Stored(11)]
    assert numbers(spool) == [4, 5, 6, 7, 8, 9, 10, 11]


def test_full_outbox_drops_its_oldest_where_asked_to(place: Place) -> None:
    spool = place.open(outbox_max_bytes=10 << 10, outbox_when_full="drop_oldest")
    assert store(spool, *[KILOBYTE] * 12) == [Stored(number) for number in range(1, 13)]
    assert numbers(spool) == list(range(3, 13))
    assert spool.dropped() == [(1, 2)]
    assert place.metrics.dropped == {"full": 2}
    spool.forget_dropped([(1, 2)])
    assert spool.dropped() == []


def test_limit_counts_what_an_earlier_process_left(place: Place) -> None:
    store(place.open(outbox_max_bytes=10 << 10), *[KILOBYTE] * 10)
    assert isinstance(store(place.open(outbox_max_bytes=10 << 10), KILOBYTE)[0], Refused)


def test_message_is_dropped_at_its_age_whatever_the_clock_is_set_to(place: Place) -> None:
    spool = place.open(outbox_max_age=100.0)
    store(spool, "old")
    place.clock.seconds += 60
    store(spool, "young")
    for jump in (-3600.0, 1e9):
        place.clock.epoch += jump
        spool.keep_house()
        assert numbers(spool) == [1, 2]
    place.clock.seconds += 41
    spool.keep_house()
    assert numbers(spool) == [2]
    assert spool.dropped() == [(1, 1)]
    assert place.metrics.dropped == {"age": 1}
    assert place.metrics.oldest_age == 41.0


def test_age_counts_across_a_restart_but_not_while_the_device_is_off(place: Place) -> None:
    store(place.open(outbox_max_age=100.0), "message")
    place.clock.seconds += 60
    spool = place.open(outbox_max_age=100.0)
    spool.keep_house()
    assert place.metrics.oldest_age == 60.0
    place.clock.boot_id, place.clock.seconds = "after a reboot", 3.0
    spool = place.open(outbox_max_age=100.0)
    spool.keep_house()
    assert place.metrics.oldest_age == 0.0
    place.clock.seconds += 101
    spool.keep_house()
    assert numbers(spool) == []


def test_clock_set_back_an_hour_loses_and_reorders_nothing(place: Place) -> None:
    spool = place.open(outbox_max_age=7200.0)
    store(spool, "a", "b")
    place.clock.epoch -= 3600
    store(spool, "c", "d")
    spool = place.open(outbox_max_age=7200.0)
    store(spool, "e")
    spool.keep_house()
    assert [(message.sequence, message.data) for message in spool.after(0, 9)] == list(enumerate("abcde", 1))
    assert spool.after(2, 1)[0].sent_at == spool.after(0, 1)[0].sent_at - 3600


@pytest.mark.parametrize("content", [b"no database" * 100, b"SQLite format 3\0" + b"\xa5" * 8192])
def test_damaged_file_is_set_aside_whole_and_a_new_one_begun(
    place: Place, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (place.folder / "outbox").write_bytes(content)
    (place.folder / "outbox-wal").write_bytes(b"log")
    spool = place.open()
    assert store(spool, "x") == [Stored(1)]
    kept = sorted(path for path in place.folder.iterdir() if ".damaged-" in path.name)
    assert kept[0].read_bytes() == content
    assert place.metrics.outboxes_set_aside == 1
    said = next(vars(record)["fields"] for record in caplog.records if record.message == "outbox_set_aside")
    assert said["kept_as"] == str(kept[0])
    assert said["reason"].startswith(f"outbox: {place.folder / 'outbox'} ")


def test_files_set_aside_at_the_same_second_do_not_replace_one_another(tmp_path: Path) -> None:
    for content in ("one", "two", "three"):
        for suffix in ("", "-wal", "-shm"):
            (tmp_path / f"outbox{suffix}").write_text(content)
        set_aside(tmp_path / "outbox", 0.0)
    kept = [path for path in tmp_path.iterdir() if path.read_text() in ("one", "two", "three")]
    assert len(kept) == 9
    assert sorted(path.name for path in kept if path.read_text() == "one") == [
        f"outbox.damaged-1970-01-01T000000Z{suffix}" for suffix in ("", "-shm", "-wal")
    ]


def test_folder_in_place_of_the_file_is_set_aside(place: Place) -> None:
    (place.folder / "outbox").mkdir()
    assert store(place.open(), "x") == [Stored(1)]


def test_outbox_that_cannot_be_opened_is_tried_again(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    missing = place.folder / "missing"
    spool = place.open(outbox=missing / "outbox")
    (answer,) = store(spool, "x")
    assert isinstance(answer, Refused)
    assert answer.reason == "disk"
    assert "unable to open database file" in answer.text
    missing.mkdir()
    place.clock.seconds += spool_module.RETRY_SECONDS
    spool.keep_house()
    assert store(spool, "x") == [Stored(1)]
    assert "outbox_works_again" in caplog.messages


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.fail("mounting a small disk needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder], check=True)
    yield folder
    # Lazily: a test that failed leaves files open.
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(spool: Spool) -> list[int]:
    """Store until the disk is full; return the numbers that were stored."""
    stored = []
    while isinstance(answer := store(spool, KILOBYTE * 20)[0], Stored):
        stored.append(answer.sequence)
    return stored


def test_disk_that_the_outbox_filled_is_drained_and_takes_again(small_disk: Path) -> None:
    place = Place(small_disk)
    spool = place.open()
    stored = fill(spool)
    assert len(stored) > 100
    assert place.metrics.refused == {"disk": 1}
    assert numbers(spool) == stored
    # One by one: each removal takes room of its own.
    for message in spool.after(0, len(stored) - 1):
        spool.commit([], [message])
    spool.keep_house()
    number = stored[-1]
    assert store(spool, "after", "wards") == [Stored(number + 1), Stored(number + 2)]
    assert len(fill(spool)) > 100
    place.close()
    assert kept_on_disk(small_disk)[:3] == [number, number + 1, number + 2]


def test_disk_that_others_filled_refuses_until_there_is_room(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    place = Place(small_disk)
    spool = place.open()
    store(spool, *"abcdefg")
    take_everything(small_disk / "other")
    while isinstance(store(spool, KILOBYTE * 20)[0], Stored):
        pass
    take_everything(small_disk / "more")
    kept = numbers(spool)
    # The broker goes on to acknowledge; what cannot be removed is not sent twice by this process.
    spool.commit([], spool.after(0, 3))
    assert spool.backlog == len(kept) - 3
    assert numbers(spool) == kept[3:]
    assert [message.sequence for message in spool.after(0, 2)] == kept[3:5]
    for _ in range(3):
        spool.keep_house()
        assert isinstance(store(spool, KILOBYTE)[0], Refused)
    (small_disk / "other").unlink()
    spool.keep_house()
    assert store(spool, "after") == [Stored(kept[-1] + 1)]
    place.close()
    assert kept_on_disk(small_disk) == [*kept[3:], kept[-1] + 1]
    events = ("outbox_failed", "outbox_works_again")
    assert [message for message in caplog.messages if message in events][-1] == "outbox_works_again"


def take_everything(path: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        path.write_bytes(b"x" * (16 << 20))


def kept_on_disk(folder: Path) -> list[int]:
    outbox = Outbox(folder / "outbox")
    try:
        return [message.sequence for message in outbox.after(0, 10_000)]
    finally:
        outbox.close()


def test_full_disk_at_the_start_is_no_damage(small_disk: Path) -> None:
    place = Place(small_disk)
    store(place.open(), "a", "b")
    place.close()
    (small_disk / "outbox.reserve").unlink()
    take_everything(small_disk / "other")
    spool = place.open()
    assert isinstance(store(spool, "c")[0], Refused)
    assert place.metrics.outboxes_set_aside == 0
    (small_disk / "other").unlink()
    place.clock.seconds += spool_module.RETRY_SECONDS
    spool.keep_house()
    assert store(spool, "c") == [Stored(3)]
    assert numbers(spool) == [1, 2, 3]
    place.close()


def test_full_disk_at_the_start_lets_go_what_is_kept(small_disk: Path) -> None:
    place = Place(small_disk)
    store(place.open(), *"abcd")
    place.close()
    (small_disk / "outbox.reserve").unlink()
    take_everything(small_disk / "other")
    place.clock.boot_id = "after a reboot"
    spool = place.open()
    assert numbers(spool) == [1, 2, 3, 4]
    assert isinstance(store(spool, "e")[0], Refused)
    assert numbers(spool) == [1, 2, 3, 4]
    place.close()


def test_large_messages_that_come_together_leave_the_log_short(place: Place) -> None:
    spool = place.open()
    assert store(spool, *[KILOBYTE * 100] * 60) == [Stored(number) for number in range(1, 61)]
    log = place.folder / "outbox-wal"
    assert log.stat().st_size < 1 << 20
    # Nor is what is removed written once more.
    spool.commit([], spool.after(0, 100))
    assert log.stat().st_size < 1 << 20
    assert numbers(spool) == []


def test_burst_before_the_disk_is_full_leaves_and_is_removed(small_disk: Path) -> None:
    place = Place(small_disk)
    spool = place.open()
    store(spool, *[KILOBYTE * 100] * 30)
    take_everything(small_disk / "other")
    while isinstance(store(spool, KILOBYTE)[0], Stored):
        pass
    take_everything(small_disk / "more")
    for message in spool.after(0, 100_000):
        spool.commit([], [message])
    for _ in range(3):
        spool.keep_house()
    place.close()
    assert kept_on_disk(small_disk) == []


def test_parts_of_what_comes_together_keep_its_order_and_are_small() -> None:
    submissions = [Submission("x" * size) for size in (10, 200_000, 200_000, 10, 10, 300_000, 10)]
    found = parts(submissions)
    assert [submission for part in found for submission in part] == submissions
    assert [len(part) for part in found] == [2, 3, 1, 1]
    assert parts([]) == []
    assert len(parts([Submission("x")] * 1000)) == 1


def test_many_that_are_acknowledged_or_too_old_are_removed_in_small_transactions(place: Place) -> None:
    spool = place.open(outbox_max_age=100.0)
    store(spool, *["x" * 2000] * 1500)
    spool.commit([], spool.after(0, 700))
    assert (place.folder / "outbox-wal").stat().st_size < 1 << 20
    assert numbers(spool) == list(range(701, 1501))
    place.clock.seconds += 101
    spool.keep_house()
    assert (place.folder / "outbox-wal").stat().st_size < 1 << 20
    assert numbers(spool) == []
    assert place.metrics.dropped == {"age": 800}


def test_reserve_grows_with_the_log_that_a_reader_keeps_from_being_copied(place: Place) -> None:
    spool = place.open()
    store(spool, "x")
    log, reserve = place.folder / "outbox-wal", place.folder / "outbox.reserve"
    with closing(sqlite3.connect(place.folder / "outbox", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM message").fetchall()
        store(spool, *[KILOBYTE * 100] * 40)
        assert log.stat().st_size > 4 << 20
        assert reserve.stat().st_size >= log.stat().st_size
    store(spool, *[KILOBYTE] * 2)
    store(spool, *[KILOBYTE] * 2)
    spool.keep_house()
    assert log.stat().st_size <= 1 << 20
    assert RESERVE_BYTES <= reserve.stat().st_size <= (1 << 20) + LOOK_BYTES + MOST_TRANSACTION_BYTES


def test_length_of_the_log_is_not_asked_for_at_each_commit(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking makes the next write of the file dearer."""
    spool = place.open()
    asked: list[Outbox] = []
    length = Outbox.log_bytes
    monkeypatch.setattr(Outbox, "log_bytes", lambda outbox: asked.append(outbox) or length(outbox))
    for _ in range(80):
        store(spool, "x")
    few = len(asked)
    assert 0 < few <= 12
    spool.keep_house()
    assert len(asked) == few + 1


def test_log_that_leaves_no_room_for_its_reserve_has_messages_refused(small_disk: Path) -> None:
    place = Place(small_disk)
    spool = place.open()
    store(spool, "x")
    with closing(sqlite3.connect(small_disk / "outbox", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM message").fetchall()
        stored = fill(spool)
        spool.commit([], spool.after(0, 10))
    spool.keep_house()
    spool.commit([], spool.after(0, len(stored) - 10))
    spool.keep_house()
    assert isinstance(store(spool, "after")[0], Stored)
    place.close()


@pytest.fixture
def read_only_disk(small_disk: Path) -> Iterator[Path]:
    place = Place(small_disk)
    store(place.open(), "a")
    place.close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    yield small_disk
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)


def test_file_system_that_is_read_only_is_no_damage_and_is_tried_again(
    read_only_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = Place(read_only_disk)
    spool = place.open()
    (answer,) = store(spool, "b")
    assert isinstance(answer, Refused)
    assert "cannot be set aside" not in answer.text
    assert place.metrics.outboxes_set_aside == 0
    subprocess.run(["mount", "-o", "remount,rw", read_only_disk], check=True)
    place.clock.seconds += spool_module.RETRY_SECONDS
    spool.keep_house()
    assert isinstance(store(spool, "b")[0], Stored)
    assert [message.data for message in spool.after(0, 9)] == ["a", "b"]
    place.close()


def times(spool: Spool) -> list[float | None]:
    """What is published as `sent_at`; None where that is marked as not known."""
    bodies = [json.loads(payload("c", *spool.published(message, ()))) for message in spool.after(0, 100)]
    return [body["sent_at"] if body.get("sent_at_known", True) else None for body in bodies]


NINETEEN_SEVENTY = 40.0
NOW = 1.8e9


def test_time_of_before_the_clock_was_set_is_corrected_once_it_is(place: Place) -> None:
    place.clock.epoch = NINETEEN_SEVENTY
    spool = place.open()
    store(spool, "a")
    place.clock.seconds += 60
    store(spool, "b")
    assert times(spool) == [None, None]
    place.clock.seconds += 40
    place.clock.epoch = NOW
    store(spool, "c")
    assert times(spool) == [NOW - 100, NOW - 40, NOW]
    # Clocks are set again; what was found out stays, over restarts and reboots.
    place.clock.epoch = NOW + 500
    assert times(place.open()) == [NOW - 100, NOW - 40, NOW]
    place.clock.boot_id, place.clock.seconds, place.clock.epoch = "after a reboot", 3.0, NINETEEN_SEVENTY
    assert times(place.open()) == [NOW - 100, NOW - 40, NOW]


def test_time_is_corrected_by_a_process_that_finds_the_clock_set(place: Place) -> None:
    place.clock.epoch = NINETEEN_SEVENTY
    store(place.open(), "a")
    place.clock.seconds += 100
    place.clock.epoch = NOW
    assert times(place.open()) == [NOW - 100]


def test_time_of_an_earlier_boot_without_a_set_clock_is_marked(place: Place) -> None:
    place.clock.epoch = NINETEEN_SEVENTY
    store(place.open(), "a")
    place.clock.boot_id, place.clock.seconds = "after a reboot", 3.0
    spool = place.open()
    store(spool, "b")
    place.clock.seconds += 10
    place.clock.epoch = NOW
    assert times(spool) == [None, NOW - 10]
    (body, _) = [json.loads(payload("c", *spool.published(message, ()))) for message in spool.after(0, 9)]
    assert body["sent_at"] == NINETEEN_SEVENTY


def test_time_of_a_boot_that_the_kernel_does_not_name_is_corrected_in_its_process_alone(place: Place) -> None:
    place.clock.boot_id = ""
    place.clock.epoch = NINETEEN_SEVENTY
    store(place.open(), "a")
    spool = place.open()
    store(spool, "b")
    place.clock.seconds += 10
    place.clock.epoch = NOW
    assert times(spool) == [None, NOW - 10]


def test_only_what_may_be_lost_is_stored_without_waiting_for_the_disk(place: Place) -> None:
    spool = place.open()
    spool.open()
    outbox = spool._outbox
    assert outbox
    waited: list[bool] = []
    transaction = outbox.transaction
    outbox.transaction = lambda durable=True: (waited.append(durable), transaction(durable))[1]  # type: ignore
    heartbeat, message = Submission(durable=False), Submission("a")
    for submissions in ([heartbeat], [heartbeat], [message], [heartbeat, message], [heartbeat]):
        spool.commit(submissions)
    assert waited == [False, False, True, True, False]


def test_other_process_that_looks_into_the_outbox_leaves_its_log_there(place: Place) -> None:
    spool = place.open()
    store(spool, "a")
    script = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT data FROM message').fetchall())"
    for expected in ([("a",)], [("a",), ("b",)]):
        look = [sys.executable, "-c", script, str(place.folder / "outbox")]
        assert subprocess.run(look, capture_output=True, text=True, check=True).stdout.strip() == str(expected)
        assert (place.folder / "outbox-wal").exists()
        store(spool, "b")
