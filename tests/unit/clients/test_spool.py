"""What becomes of messages when the outbox is full, the disk is, the file is damaged, or the clock is set."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mqtt_fleet import spool as spool_module
from mqtt_fleet.clock import Clock
from mqtt_fleet.config import Config
from mqtt_fleet.metrics import Metrics
from mqtt_fleet.outbox import Outbox
from mqtt_fleet.sources.submission import Answer, Refused, Stored, Submission
from mqtt_fleet.spool import Spool, set_aside


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


def test_only_what_may_be_lost_is_stored_without_waiting_for_the_disk(place: Place) -> None:
    spool = place.open()
    outbox = spool._outbox
    assert outbox
    waited: list[bool] = []
    transaction = outbox.transaction
    outbox.transaction = lambda durable=True: (waited.append(durable), transaction(durable))[1]  # type: ignore
    heartbeat, message = Submission(durable=False), Submission("a")
    # The first reserves numbers, which has to be on disk.
    for submissions in ([heartbeat], [heartbeat], [message], [heartbeat, message], [heartbeat]):
        spool.commit(submissions)
    assert waited == [True, False, True, True, False]
