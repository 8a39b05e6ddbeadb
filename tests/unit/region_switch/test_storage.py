"""Disks that are full, or fail: one line, at the first write that fails, and the end of the run is written."""

from __future__ import annotations

import errno
import json
import os
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from ansible.module_utils.region_switch.fleet.roster import Roster
from ansible.module_utils.region_switch.fleet.source import Connection
from ansible.module_utils.region_switch.model.errors import StorageError
from ansible.module_utils.region_switch.record import events, folder, storage
from ansible.module_utils.region_switch.record.folder import UntrustedError
from ansible.module_utils.region_switch.record.journal import Journal
from ansible.module_utils.region_switch.record.storage import Reserve

from .ours import given_away, mode

OLD, NEW = "us-east-1", "ap-northeast-1"
ENDPOINT = "mqtt1.example.com"
DESIRED = {ENDPOINT: NEW}


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """No file grows beyond so many bytes: what a full disk does, and the kernel does it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def entries(path: Path) -> list[str]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk_is_told_with_what_is_free_and_what_is_needed(tmp_path: Path, number: int) -> None:
    error = storage.failed(tmp_path / "gone" / "journal.jsonl", OSError(number, os.strerror(number)))

    free = f"{storage.free(tmp_path) / 1e6:.1f}"[:-2]
    assert str(error).startswith(f"{tmp_path}/gone/journal.jsonl: {os.strerror(number)} ({free}")
    assert str(error).endswith(
        " MB free): free space for a run's files (20 MB and 1 kB for each client), then run the same command again"
    )


def test_other_failures_of_a_disk_are_no_lack_of_room(tmp_path: Path) -> None:
    error = storage.failed(tmp_path / "file", OSError(errno.EIO, "Input/output error"))
    assert str(error) == (
        f"{tmp_path}/file: cannot be written (Input/output error): correct that, then run the same command again"
    )


def test_room_is_asked_for_by_the_number_of_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "free", lambda _: 21_000_000)

    assert storage.findings(tmp_path, 1000) == []
    [found] = storage.findings(tmp_path, 1001)

    assert found.blocking
    assert found.line() == (
        f"report_room: found 21.0 MB free for {tmp_path}, expected 21.0 MB (20 MB and 1 kB for each client): free "
        "space there, or name another folder in reports_directory"
    )


def test_room_is_that_of_the_folder_above_where_there_is_none_yet(tmp_path: Path) -> None:
    assert storage.free(tmp_path / "gone" / "gone") > 0
    assert storage.findings(tmp_path / "gone", 0) == []


def test_reserve_is_room_that_nobody_else_has(tmp_path: Path) -> None:
    with Reserve(tmp_path) as reserve:
        assert os.fstat(reserve._file.fileno()).st_blocks * 512 >= storage.RESERVE_BYTES
        assert list(tmp_path.iterdir()) == []
        reserve.release()
        assert reserve._file.closed
        reserve.release()


def test_reserve_that_finds_no_room_is_told(tmp_path: Path) -> None:
    with at_most(1000), pytest.raises(StorageError, match=f"{tmp_path}: File too large .* free space"):
        Reserve(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_file_system_that_keeps_nothing_back_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(storage.os, "posix_fallocate", refused)
    with Reserve(tmp_path) as reserve:
        assert not reserve._file.closed


def test_journal_says_the_first_entry_that_fails_and_keeps_it_where_there_is_room_now(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    made = []

    def make_room() -> None:
        made.append(path.read_bytes())
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with Journal(path, make_room) as journal:
        journal.write(events.Start())
        before = path.read_bytes()
        with at_most(len(before) + 20), pytest.raises(StorageError, match=f"{path}: File too large"):
            journal.note(events.Landed(client_id="a", region="us-east-1", seconds=None))
        # Nothing is left of the half that fitted.
        assert made == [before]
        journal.write(events.End(outcome="failed"))

    assert entries(path) == ["start", "landed", "end"]


def test_entry_that_never_fits_leaves_no_half_of_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.write(events.Start())
        with at_most(path.stat().st_size + 20), pytest.raises(StorageError):
            journal.write(events.Plan(plan={}))
        journal.write(events.End(outcome="failed"))

    assert entries(path) == ["start", "end"]


def test_journal_that_is_not_synced_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with Journal(tmp_path / "journal.jsonl") as journal:
        monkeypatch.setattr("ansible.module_utils.region_switch.record.journal.os.fsync", failing)
        with pytest.raises(StorageError, match=r"cannot be written \(Input/output error\)"):
            journal.write(events.Start())


def test_journal_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text("")
    path.chmod(0o644)
    Journal(path).__exit__(None, None, None)
    assert mode(path) == 0o600


def test_journal_in_the_place_of_which_there_is_a_link_or_nothing_can_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").symlink_to("other")
    with pytest.raises(UntrustedError):
        Journal(tmp_path / "journal.jsonl")
    assert not (tmp_path / "other").exists()
    with pytest.raises(StorageError, match=r"cannot be written \(No such file or directory\)"):
        Journal(tmp_path / "gone" / "journal.jsonl")


def clients(count: int) -> list[Connection]:
    return [Connection(f"client-{number:06}-{'x' * 100}", ENDPOINT, OLD, 1.0) for number in range(count)]


@contextmanager
def full(roster: Roster) -> Iterator[None]:
    """No room for another page of the roster, as SQLite itself finds out."""
    [pages] = roster._db.execute("PRAGMA page_count").fetchone()
    roster._db.execute(f"PRAGMA max_page_count = {pages}")
    yield


def test_roster_says_the_first_write_that_fails_and_goes_on_from_its_last_commit(tmp_path: Path) -> None:
    path = tmp_path / "clients.sqlite"
    made: list[str] = []
    with Roster(path, lambda: made.append("room")) as roster:
        roster.add(clients(1), DESIRED)
        roster.commit()
        with full(roster), pytest.raises(StorageError, match=f"{path}: database or disk is full .*free space"):
            roster.add(clients(5000), DESIRED)
        assert made == ["room"]

        # Not "cannot commit - no transaction is active".
        roster.settle()
        assert roster.counts()["total"] == 1
        roster._db.execute("PRAGMA max_page_count = 1000000")
        roster.add(clients(3), DESIRED)
    with Roster(path) as roster:
        assert roster.counts()["total"] == 3


def test_clients_that_can_only_be_looked_for_need_room_as_well(tmp_path: Path) -> None:
    with Roster(tmp_path / "clients.sqlite") as roster:
        with full(roster), pytest.raises(StorageError, match="database or disk is full"):
            roster.expect(clients(5000), DESIRED)
        assert roster.count() == 0


def test_what_was_not_committed_is_gone_after_any_failure(tmp_path: Path) -> None:
    with Roster(tmp_path / "clients.sqlite") as roster:
        roster.add(clients(2), DESIRED)
        [first, _] = roster.misplaced(2)
        # Not every failure ends SQLite's transaction.
        with pytest.raises(StorageError, match=r"cannot be written \(NOT NULL constraint failed"):
            roster.update(first, "told", connected_since=None)
        assert roster.count() == 0
        roster.add(clients(1), DESIRED)
        assert roster.count() == 1


def test_roster_that_cannot_be_made_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError, match=r"gone/clients.sqlite: cannot be written \(No such file or directory\)"):
        Roster(tmp_path / "gone" / "clients.sqlite")

    def refused(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(sqlite3, "connect", refused)
    with pytest.raises(StorageError, match=r"clients.sqlite: cannot be written \(unable to open database file\)"):
        Roster(tmp_path / "clients.sqlite")


def test_table_of_another_shape_is_told_in_one_line(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "clients.sqlite")) as other:
        other.execute("CREATE TABLE client (client_id TEXT)")

    with pytest.raises(StorageError, match=r"clients.sqlite: cannot be written \(no such column: wave\)"):
        Roster(tmp_path / "clients.sqlite")


def test_copy_is_for_its_owner_alone_and_nothing_is_beside_it(tmp_path: Path) -> None:
    with Roster(tmp_path / "old.sqlite") as roster:
        roster.add(clients(1), DESIRED)
    before = os.umask(0)
    try:
        Roster.copy(tmp_path / "old.sqlite", tmp_path / "new.sqlite")
    finally:
        os.umask(before)

    assert {each.name: mode(each) for each in tmp_path.iterdir()} == {"old.sqlite": 0o600, "new.sqlite": 0o600}


def test_commit_that_the_disk_does_not_take_is_told(tmp_path: Path) -> None:
    with Roster(tmp_path / "clients.sqlite") as roster:
        roster.add(clients(200), DESIRED)
        with at_most((tmp_path / "clients.sqlite-wal").stat().st_size + 100), pytest.raises(StorageError):
            roster.commit()
        roster.commit()
        assert roster.counts()["total"] in (0, 200)


def test_roster_and_what_sqlite_makes_beside_it_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Roster(tmp_path / "clients.sqlite") as roster:
            roster.add(clients(1), DESIRED)
            roster.write_csv(tmp_path / "clients.csv")
            modes = {each.name: mode(each) for each in tmp_path.iterdir()}
    finally:
        os.umask(before)

    names = ("clients.csv", "clients.sqlite", "clients.sqlite-shm", "clients.sqlite-wal")
    assert modes == dict.fromkeys(names, 0o600)


@pytest.mark.parametrize("name", ["clients.sqlite", "clients.sqlite-wal", "clients.sqlite-shm"])
def test_roster_that_somebody_else_has_made_is_not_opened_or_copied(tmp_path: Path, name: str) -> None:
    path = tmp_path / "clients.sqlite"
    Roster(path).close()
    (tmp_path / name).touch()
    given_away(tmp_path / name)

    with pytest.raises(UntrustedError, match=f"{tmp_path / name}: found a file of"):
        Roster(path)
    with pytest.raises(UntrustedError):
        Roster.copy(path, tmp_path / "copy.sqlite")
    assert not (tmp_path / "copy.sqlite").exists()


@pytest.mark.parametrize("content", [b"no database", b"", b"SQLite format 3\0" + bytes(4080)])
def test_damaged_roster_is_named_and_not_copied(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "old.sqlite").write_bytes(content)

    with pytest.raises(UntrustedError, match=r"old.sqlite: passed over, found .*, expected the clients of a run"):
        Roster.copy(tmp_path / "old.sqlite", tmp_path / "new.sqlite")

    assert [each.name for each in tmp_path.iterdir()] == ["old.sqlite"]


def test_roster_with_a_damaged_page_is_named_and_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with Roster(path) as roster:
        roster.add(clients(500), DESIRED)
    content = bytearray(path.read_bytes())
    content[-4096:] = b"\xff" * 4096
    path.write_bytes(content)

    with pytest.raises(UntrustedError, match="passed over"):
        Roster.copy(path, tmp_path / "new.sqlite")


def test_copy_that_the_disk_does_not_take_is_told_and_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(sqlite3.Connection):
        def backup(self, *_: object, **__: object) -> None:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

    Roster(tmp_path / "old.sqlite").close()
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path: connect(path, factory=Full))

    with pytest.raises(StorageError, match=r"new.sqlite: database or disk is full"):
        Roster.copy(tmp_path / "old.sqlite", tmp_path / "new.sqlite")

    assert not (tmp_path / "new.sqlite").exists()


def test_table_of_clients_that_the_disk_does_not_take_leaves_nothing(tmp_path: Path) -> None:
    with Roster(tmp_path / "clients.sqlite") as roster:
        roster.add(clients(500), DESIRED)
        roster.commit()
        with at_most(20_000), pytest.raises(StorageError, match=r"clients.csv: File too large"):
            roster.write_csv(tmp_path / "clients.csv")
    assert not (tmp_path / ".clients.csv").exists()
    assert not (tmp_path / "clients.csv").exists()


def test_folder_module_is_loaded_where_there_is_no_fallocate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(storage.os, "posix_fallocate")
    with Reserve(tmp_path) as reserve:
        reserve.release()
    assert folder.runs(tmp_path) == []
