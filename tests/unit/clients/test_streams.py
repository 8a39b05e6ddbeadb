"""State that goes back: no number is used twice within a stream, and none is missing, whatever becomes of the files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mqtt_fleet import origin
from mqtt_fleet.clock import EARLIEST
from mqtt_fleet.config import Config
from mqtt_fleet.metrics import Metrics
from mqtt_fleet.origin import Mark, Reached, changed_at, file_identity
from mqtt_fleet.outbox import MOST_STREAMS, Outbox, payload
from mqtt_fleet.sources.submission import Answer, Stored, Submission
from mqtt_fleet.spool import MARK_SECONDS, Spool

from .test_spool import SetClock


class Consumer:
    """Drops what it has seen of a stream and number, as docs/clients.md says."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, int], str] = {}
        self.dropped: dict[str, list[list[int]]] = {}
        self.bodies: list[dict[str, Any]] = []

    def take(self, body: dict[str, Any]) -> None:
        self.bodies.append(body)
        self.kept.setdefault((body["stream"], body["sequence"]), body["data"])
        for stream, ranges in {**body.get("dropped_in", {}), body["stream"]: body.get("dropped", [])}.items():
            self.dropped.setdefault(stream, []).extend(ranges)

    @property
    def streams(self) -> list[str]:
        return list(dict.fromkeys(stream for stream, _ in self.kept))

    def missing(self) -> set[tuple[str, int]]:
        """Numbers from 1 to a stream's highest that neither came nor are told as dropped."""
        missing: set[tuple[str, int]] = set()
        for stream in self.streams:
            highest = max(number for name, number in self.kept if name == stream)
            told = {n for first, last in self.dropped[stream] for n in range(first, last + 1)}
            missing |= {(stream, n) for n in range(1, highest) if n not in told} - set(self.kept)
        return missing


class Device:
    """A client's spool, what was handed over to it, and what it publishes."""

    def __init__(self, folder: Path, consumer: Consumer, client_id: str = "device-1") -> None:
        self.folder = folder
        self.consumer = consumer
        self.client_id = client_id
        self.clock = SetClock()
        self.handed: list[str] = []
        self.spool: Spool | None = None

    def start(self, outbox: str = "outbox", **changes: Any) -> Device:
        config = Config(
            client_id=self.client_id, endpoint="e", library="paho", ca=self.folder, certificate=self.folder,
            private_key=self.folder, outbox=self.folder / outbox, **changes,
        )  # fmt: skip
        self.spool = Spool(config, Metrics(), self.clock)
        self.spool.open()
        return self

    def hand(self, count: int = 3) -> list[int]:
        """Hand over messages; return the numbers that were answered."""
        assert self.spool
        answers: list[Answer] = []
        data = [f"{self.client_id} {len(self.handed) + number} {os.urandom(4).hex()}" for number in range(count)]
        self.handed += data
        self.spool.commit([Submission(text, answer=answers.append) for text in data])
        return [answer.sequence for answer in answers if isinstance(answer, Stored)]

    def deliver(self, acknowledged: bool = True) -> None:
        assert self.spool
        messages, dropped = self.spool.after(0, 1000), self.spool.dropped()
        for message in messages:
            published = self.spool.published(message, dropped)
            self.consumer.take(json.loads(payload(self.client_id, *published)))
        if acknowledged:
            self.spool.commit([], messages)
            self.spool.forget_dropped(dropped)

    def stop(self) -> None:
        assert self.spool
        self.spool.close()

    def kill(self) -> None:
        """As SIGKILL does: what was written stays, and nothing is written at the end."""
        assert self.spool
        assert self.spool._outbox
        copies = {path: path.read_bytes() for path in self.folder.iterdir() if path.is_file()}
        self.spool._outbox.close()
        for path, content in copies.items():
            path.touch()
            if path.read_bytes() != content:
                path.write_bytes(content)

    def reboot(self) -> None:
        self.clock.boot_id = os.urandom(8).hex()
        self.clock.seconds = 1.0


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


@pytest.fixture
def device(tmp_path: Path, consumer: Consumer) -> Device:
    folder = tmp_path / "device"
    folder.mkdir()
    return Device(folder, consumer)


def image(device: Device) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in device.folder.iterdir()}


def put_back_anew(device: Device, files: dict[Path, bytes]) -> None:
    for path in list(device.folder.iterdir()):
        path.unlink()
    put_back_in_place(device, files)


def put_back_in_place(device: Device, files: dict[Path, bytes]) -> None:
    for path, content in files.items():
        path.write_bytes(content)


def put_back_the_outbox_alone(device: Device, files: dict[Path, bytes]) -> None:
    path = device.folder / "outbox"
    path.write_bytes(files[path])


def put_back_the_outbox_alone_anew(device: Device, files: dict[Path, bytes]) -> None:
    (device.folder / "outbox").unlink()
    put_back_the_outbox_alone(device, files)


WAYS_BACK = [put_back_anew, put_back_in_place, put_back_the_outbox_alone, put_back_the_outbox_alone_anew]


@pytest.mark.parametrize("waiting", [False, True])
@pytest.mark.parametrize("back", WAYS_BACK)
def test_backup_that_is_put_back_while_the_device_is_up_costs_no_message(
    device: Device, consumer: Consumer, back: Callable[[Device, dict[Path, bytes]], None], waiting: bool
) -> None:
    device.start().hand()
    if not waiting:
        device.deliver()
    device.stop()
    backup = image(device)
    for _ in range(2):
        device.start().hand(5)
        device.deliver()
        device.stop()
        back(device, backup)
    device.start()
    assert device.hand(4) == [1, 2, 3, 4]
    device.deliver()
    device.stop()
    assert sorted(consumer.kept.values()) == sorted(device.handed)
    assert not consumer.missing()


@pytest.mark.parametrize("waiting", [False, True])
def test_disk_that_goes_back_at_each_boot_costs_no_message(device: Device, consumer: Consumer, waiting: bool) -> None:
    device.start().hand()
    if not waiting:
        device.deliver()
    device.stop()
    # As of a disk's image, or below an overlay: the same inodes, the same times.
    (device.folder / "outbox.mark").write_text((device.folder / "outbox.mark").read_text())
    backup = image(device)
    for _ in range(3):
        device.reboot()
        device.start()
        assert device.hand() == [1, 2, 3]
        device.deliver()
        device.stop()
        put_back_in_place(device, backup)
    assert sorted(consumer.kept.values()) == sorted(device.handed)
    assert not consumer.missing()
    assert len(consumer.streams) == 4


def test_copy_that_was_made_while_it_ran_and_is_put_back_after_a_kill_costs_no_message(
    device: Device, consumer: Consumer
) -> None:
    device.start().hand()
    device.deliver()
    backup = image(device)
    device.hand()
    device.deliver()
    device.clock.seconds += MARK_SECONDS
    assert device.spool
    device.spool.keep_house()
    device.kill()
    for suffix in ("", "-wal"):
        path = device.folder / f"outbox{suffix}"
        path.write_bytes(backup[path])
    (device.folder / "outbox-shm").unlink(missing_ok=True)
    device.start().hand()
    device.deliver()
    device.stop()
    assert sorted(consumer.kept.values()) == sorted(device.handed)


@pytest.mark.parametrize("waiting", [False, True])
def test_copies_of_a_card_are_streams_of_their_own(device: Device, consumer: Consumer, waiting: bool) -> None:
    device.start().hand(2)
    if not waiting:
        device.deliver()
    device.stop()
    devices = [device]
    for name in ("device-2", "device-3"):
        folder = device.folder.with_name(name)
        shutil.copytree(device.folder, folder)
        devices.append(Device(folder, consumer, name))
    for each in devices:
        if each is not device:
            each.reboot()
        each.start().hand()
        each.deliver()
        each.stop()
    # What waited on the card is one message, whichever copy sends it.
    assert sorted(consumer.kept.values()) == sorted(data for each in devices for data in each.handed)
    assert not consumer.missing()


def test_outbox_that_was_made_and_never_used_is_no_stream_that_copies_share(device: Device, consumer: Consumer) -> None:
    device.start().stop()
    copy = Device(device.folder.with_name("copy"), consumer, "device-2")
    shutil.copytree(device.folder, copy.folder)
    for each in (device, copy):
        each.start()
        assert each.hand() == [1, 2, 3]
        each.deliver()
        each.stop()
    assert len(consumer.kept) == 6


def test_outbox_that_is_copied_to_another_name_is_another_stream(device: Device, consumer: Consumer) -> None:
    device.start().hand()
    device.stop()
    for path in list(device.folder.iterdir()):
        shutil.copy2(path, path.with_name(path.name.replace("outbox", "other")))
    for name in ("outbox", "other"):
        device.start(name).hand()
        device.deliver()
        device.stop()
    assert sorted(consumer.kept.values()) == sorted(device.handed)


@pytest.mark.parametrize("end", [Device.stop, Device.kill])
def test_restart_goes_on_with_stream_and_numbers(
    device: Device, consumer: Consumer, end: Callable[[Device], None]
) -> None:
    assert device.start().hand() == [1, 2, 3]
    end(device)
    assert device.start().hand() == [4, 5, 6]
    device.deliver(acknowledged=False)
    end(device)
    assert device.start().hand() == [7, 8, 9]
    device.deliver()
    device.stop()
    assert len(consumer.streams) == 1
    assert list(consumer.kept.values()) == device.handed


def test_what_waits_keeps_stream_and_number_over_a_reboot(device: Device, consumer: Consumer) -> None:
    device.start().hand()
    device.deliver(acknowledged=False)
    device.stop()
    device.reboot()
    device.start().hand()
    device.deliver()
    device.stop()
    assert list(consumer.kept.values()) == device.handed
    assert [body["sequence"] for body in consumer.bodies] == [1, 2, 3, 1, 2, 3, 1, 2, 3]
    assert len(consumer.streams) == 2


@pytest.mark.parametrize("what", ["machine", "client", "no boot"])
def test_other_machine_client_or_unknown_boot_is_another_stream(
    device: Device, consumer: Consumer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    if what == "no boot":
        device.clock.boot_id = ""
    device.start().hand()
    device.deliver()
    device.stop()
    if what == "machine":
        (tmp_path / "machine-id").write_text("another\n")
        monkeypatch.setattr(origin, "MACHINE_ID", tmp_path / "machine-id")
    elif what == "client":
        device.client_id = "device-2"
    assert device.start().hand(1) == [1]
    device.deliver()
    device.stop()
    assert len(consumer.streams) == 2


def test_outbox_of_before_gets_a_new_stream_and_sends_what_it_kept_under_the_old_one(
    device: Device, consumer: Consumer
) -> None:
    outbox = Outbox(device.folder / "outbox")
    old = outbox.stream
    for number in range(3):
        outbox.put(EARLIEST, f"{number}")
    outbox.close()
    device.start().hand(1)
    device.deliver()
    device.stop()
    assert [(body["stream"] == old, body["sequence"]) for body in consumer.bodies] == [
        (True, 1), (True, 2), (True, 3), (False, 1),
    ]  # fmt: skip


def test_dropped_numbers_are_told_with_their_streams(device: Device, consumer: Consumer) -> None:
    device.start(outbox_max_age=100.0).hand(4)
    assert device.spool
    first = device.spool.stream
    device.spool.commit([], device.spool.after(0, 1))
    device.stop()
    device.reboot()
    device.start(outbox_max_age=100.0).hand(2)
    device.clock.seconds += 60
    device.hand(1)
    assert device.spool
    second = device.spool.stream
    device.clock.seconds += 60
    device.spool.keep_house()
    device.deliver()
    device.stop()
    (body,) = consumer.bodies
    assert (body["stream"], body["sequence"]) == (second, 3)
    # One run of the outbox's own numbers, in two streams.
    assert body["dropped_in"] == {first: [[2, 4]]}
    assert body["dropped"] == [[1, 2]]


def kept_streams(outbox: Outbox) -> list[int]:
    """The first number of each."""
    return [first for (first,) in outbox._database.execute("SELECT first FROM stream ORDER BY first")]


def test_stream_whose_transaction_failed_is_begun_by_the_next(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    outbox.put(EARLIEST, "old")
    outbox.claim(origin.Origin("c", "m", "b", "f"), continued=True)
    with pytest.raises(KeyError), outbox.transaction():
        outbox.put(EARLIEST, "new")
        raise KeyError
    stored = outbox.put(EARLIEST, "new")
    assert outbox.published(stored).stream == outbox.stream
    assert outbox.published(stored).message.sequence == 1
    assert outbox.published(outbox.after(0, 1)[0]).message.sequence == 1
    outbox.close()
    reopened = Outbox(tmp_path / "outbox")
    assert reopened.published(reopened.after(1, 1)[0]).stream == outbox.stream
    reopened.close()


def test_each_number_is_of_the_stream_that_began_last_before_it(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    streams = []
    for boot in range(4):
        outbox.claim(origin.Origin("c", "m", f"b{boot}", "f"), continued=True)
        streams += [outbox.put(EARLIEST, "x") and outbox.stream for _ in range(2)]
    assert [outbox.stream_of(number).id for number in range(1, 9)] == streams
    assert len(set(streams)) == 4
    assert [outbox.number(number) for number in range(1, 9)] == [1, 2] * 4
    # A number of before all that is remembered.
    assert outbox.stream_of(0).id == streams[0]
    assert outbox.published(outbox.after(7, 1)[0], [(2, 2), (3, 6), (7, 7)]).dropped == [(1, 1)]
    assert outbox.published(outbox.after(7, 1)[0], [(2, 2), (3, 6)]).elsewhere == {
        streams[0]: [(2, 2)], streams[2]: [(1, 2)], streams[4]: [(1, 2)],
    }  # fmt: skip
    outbox.close()


def test_stream_that_no_message_was_in_is_not_kept(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    outbox.claim(origin.Origin("c", "m", "b", "f"), continued=True)
    outbox.put(EARLIEST, "x")
    assert outbox._database.execute("SELECT id, first FROM stream").fetchall() == [(outbox.stream, 1)]
    outbox.close()


def test_streams_of_nothing_that_waits_are_forgotten_but_for_some(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    first = outbox.stream
    kept = outbox.put(EARLIEST, "waits")
    for boot in range(MOST_STREAMS + 50):
        outbox.claim(origin.Origin("c", "m", f"b{boot}", "f"), continued=True)
        outbox.remove([outbox.put(EARLIEST, "x")])
    assert outbox.published(kept).stream == first
    outbox.remove([kept])
    outbox.claim(origin.Origin("c", "m", "last", "f"), continued=True)
    outbox.put(EARLIEST, "x")
    assert MOST_STREAMS == 100
    # Without those before, of which each has a stream after it.
    assert kept_streams(outbox) == list(range(51, MOST_STREAMS + 53))
    outbox.close()


def test_stream_before_the_one_of_the_oldest_that_waits_is_forgotten(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    for boot in range(MOST_STREAMS + 3):
        outbox.claim(origin.Origin("c", "m", f"b{boot}", "f"), continued=True)
        # Only the first message of the second stream waits.
        stored = outbox.put(EARLIEST, "x")
        if boot != 1:
            outbox.remove([stored])
    assert kept_streams(outbox) == list(range(2, MOST_STREAMS + 4))
    outbox.close()


def test_file_is_told_from_another_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert (file_identity(tmp_path / "missing" / "outbox"), changed_at(path)) == ("", 0)
    seen = set()
    for _ in range(5):
        path.write_text("x")
        assert file_identity(path) == file_identity(path)
        seen.add(file_identity(path))
        path.unlink()
    # Where the file system gives the inode's number again, its generation differs.
    assert len(seen) == 5


@pytest.mark.parametrize("content", ["", "a b", "a b c", "\xff"])
def test_mark_that_is_none_is_as_if_there_were_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "mark").write_text(content, encoding="latin-1")
    assert Mark(tmp_path / "mark").read() is None
    assert Mark(tmp_path / "nowhere" / "mark").read() is None
    Mark(tmp_path / "nowhere" / "mark").write(Reached("s", 1))


def test_mark_says_what_was_written_last(tmp_path: Path) -> None:
    mark = Mark(tmp_path / "mark")
    mark.write(Reached("f" * 64, 10**12, 10**18))
    mark.write(Reached("s", 1))
    assert Mark(tmp_path / "mark").read() == Reached("s", 1, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_root_that_lives_in_memory_costs_no_message(tmp_path: Path, consumer: Consumer) -> None:
    lower = tmp_path / "lower"
    lower.mkdir()
    workshop = Device(lower, consumer)
    workshop.start().hand()
    workshop.stop()
    handed = list(workshop.handed)
    memory, root = tmp_path / "memory", tmp_path / "root"
    root.mkdir()
    memory.mkdir()
    for _ in range(3):
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", memory], check=True)
        (memory / "upper").mkdir()
        (memory / "work").mkdir()
        options = f"lowerdir={lower},upperdir={memory}/upper,workdir={memory}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, root], check=True)
        try:
            device = Device(root, consumer)
            device.reboot()
            for _ in range(2):
                device.start().hand()
                device.deliver()
                device.stop()
            handed += device.handed
        finally:
            subprocess.run(["umount", root, memory], check=True)
    assert sorted(consumer.kept.values()) == sorted(handed)
    assert len(consumer.streams) == 4
