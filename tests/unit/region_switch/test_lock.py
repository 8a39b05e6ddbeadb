"""Only one run at a time goes on, and whoever comes second is told whose it is."""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from region_switch.model.errors import RefusedError, StorageError
from region_switch.move import lock
from region_switch.move.interrupt import Process
from region_switch.move.lock import Holder, current, exclusive
from region_switch.record.folder import UntrustedError, user

from .ours import given_away, mode

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited for the lock, in pieces; nobody waits here."""
    pieces: list[float] = []
    monkeypatch.setattr(lock.time, "sleep", pieces.append)
    return pieces


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".lock"


@pytest.fixture
def held(path: Path) -> Iterator[Path]:
    """A lock that a run to mode 1 holds."""
    with exclusive(path, "1"):
        yield path


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_second_run_is_told_who_when_and_what_and_leaves_the_lock_as_it_is(held: Path, slept: list[float]) -> None:
    before = content(held)

    with pytest.raises(RefusedError) as refused, exclusive(held, "3"):
        pytest.fail("two runs at once")

    assert str(refused.value) == (
        f"lock {held}: found a run to mode 1 by {getpass.getuser()} (pid {os.getpid()}) since {before['started']}, "
        "expected no other run: wait until it ends, then run again"
    )
    assert content(held) == before
    # Less than half a second in all: whoever waits for it is at a terminal.
    assert slept == [0.1] * 4


def test_lock_is_free_again_when_the_run_has_ended(path: Path, slept: list[float]) -> None:
    with exclusive(path, "1"):
        pass
    with pytest.raises(KeyError), exclusive(path, "2"):
        raise KeyError

    with exclusive(path, "3"):
        assert str(current(path)).startswith("a run to mode 3 by ")
    assert current(path) is None
    assert slept == []


def test_run_that_only_looks_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.touch()
    looking = os.open(path, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    pieces: list[float] = []

    def sleep(seconds: float) -> None:
        pieces.append(seconds)
        if len(pieces) == 4:
            os.close(looking)

    monkeypatch.setattr(lock.time, "sleep", sleep)
    with exclusive(path, "3"):
        assert len(pieces) == 4


def test_two_who_look_do_not_disturb_each_other(path: Path) -> None:
    path.touch()
    looking = os.open(path, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    assert current(path) is None
    os.close(looking)


def test_lock_says_who_holds_it_and_who_began_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "starters", lambda: [Process(41, 1), Process(42, 1)])
    with exclusive(path, "ü"):
        found = content(path)
    started = datetime.fromisoformat(found.pop("started"))

    assert found == {"who": getpass.getuser(), "pid": os.getpid(), "mode": "ü", "started_by": 42}
    assert abs((datetime.now(UTC) - started).total_seconds()) < 600


def test_lock_of_a_run_that_nobody_is_known_to_have_begun_and_of_no_mode(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "starters", list)
    with exclusive(path):
        assert content(path)["started_by"] == 0
        assert str(current(path)).startswith(f"a run by {getpass.getuser()} (pid ")


def test_shorter_content_takes_the_place_of_a_longer_one(path: Path) -> None:
    with exclusive(path, "x" * 50):
        pass
    with exclusive(path, "3"):
        assert content(path)["mode"] == "3"


@pytest.mark.parametrize("missing", [KeyError, OSError])
def test_user_without_a_name_is_a_number(path: Path, monkeypatch: pytest.MonkeyPatch, missing: type[Exception]) -> None:
    def nobody() -> str:
        raise missing

    monkeypatch.setattr(lock.getpass, "getuser", nobody)
    with exclusive(path, "1"):
        assert content(path)["who"] == str(os.getuid())


def test_nobody_holds_a_lock_that_a_killed_run_left(path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from region_switch.move.lock import exclusive\n"
        "with exclusive(Path(sys.argv[1]), '1'): os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "module_utils")}
    subprocess.run([sys.executable, "-c", program, str(path)], env=environment, check=False)

    assert content(path)["mode"] == "1"
    assert current(path) is None
    with exclusive(path, "3"):
        pass


HOLDER = {"who": "x", "pid": 1, "mode": "3", "started": "then", "started_by": 0}


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "{}", '{"who": "x"}', "\udcff", '{"pid": 1, "more": 2}', "[" * 3000, "9" * 4000),
        *(json.dumps({**HOLDER, key: None}) for key in ("who", "pid", "mode", "started")),
        json.dumps({**HOLDER, "pid": True}),
        # No longer what a run writes.
        json.dumps({**HOLDER, "mode": "x" * (4097 - len(json.dumps(HOLDER)) + 1)}),
    ],
)
def test_holder_that_cannot_be_read_is_another_run(held: Path, text: str) -> None:
    held.write_text(text, encoding="utf-8", errors="surrogateescape")

    assert current(held) == "another run"
    with pytest.raises(RefusedError, match=rf"lock {held}: found another run, expected"), exclusive(held):
        pytest.fail("two runs at once")


def test_holder_of_an_earlier_release_is_read(held: Path) -> None:
    held.write_text(json.dumps({key: value for key, value in HOLDER.items() if key != "started_by"}))
    assert current(held) == "a run to mode 3 by x (pid 1) since then"
    assert Holder("x", 1, "3", "then").started_by == 0


def test_what_the_file_says_is_shown_without_control_characters_and_cut() -> None:
    assert str(Holder("x\x1b[2J\n", 10**100, "3\u202e" + "y" * 100, "then\r")) == (
        f"a run to mode 3?{'y' * 62} by x?[2J? (pid 1{'0' * 63}) since then?"
    )


def test_looking_whether_a_run_goes_on_makes_no_lock(tmp_path: Path, path: Path) -> None:
    assert current(path) is None
    assert list(tmp_path.iterdir()) == []


def test_link_in_the_place_of_the_lock_is_left_as_it_is_and_so_is_what_it_leads_to(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("the operator's own")
    path.symlink_to(other)

    with pytest.raises(UntrustedError, match=rf"{path}: found no regular file but a link"), exclusive(path, "3"):
        pytest.fail("taken")

    assert other.read_text() == "the operator's own"
    assert path.is_symlink()
    assert str(current(path)).startswith(f"not known, {path}: found no regular file but a link, expected")


def test_second_name_of_a_file_is_no_lock(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("the operator's own")
    path.hardlink_to(other)

    with pytest.raises(UntrustedError, match="found no regular file of one name"), exclusive(path, "3"):
        pytest.fail("taken")
    assert other.read_text() == "the operator's own"


def test_lock_of_another_user_is_told(path: Path) -> None:
    path.write_text("theirs")
    given_away(path)

    with pytest.raises(UntrustedError, match="found a file of"), exclusive(path, "3"):
        pytest.fail("taken")
    assert path.read_text() == "theirs"
    assert str(current(path)).startswith("not known, ")


def test_lock_that_may_not_be_opened_is_told_in_one_line(path: Path) -> None:
    path.mkdir()

    with pytest.raises(RefusedError) as refused, exclusive(path, "3"):
        pytest.fail("taken")

    assert str(refused.value) == (
        f"lock {path}: found Is a directory, expected a file that {user()} may write to: run as its owner, or name "
        "another folder in reports_directory"
    )
    below = path.with_name("file") / ".lock"
    below.parent.touch()
    assert current(below) == f"not known, {below}: Not a directory"


def test_lock_is_for_its_owner_alone(path: Path) -> None:
    path.touch(0o644)
    with exclusive(path, "3"):
        assert mode(path) == 0o600


def test_lock_that_the_disk_does_not_take_is_told_and_given_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(lock.os, "pwrite", full)
        with pytest.raises(StorageError, match=f"{path}: No space left on device"), exclusive(path, "3"):
            pytest.fail("taken")

    with exclusive(path, "3"):
        pass


def test_no_file_stays_open(path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with exclusive(path, "1"):
        for _ in range(3):
            current(path)
            with pytest.raises(RefusedError), exclusive(path):
                pytest.fail("taken")
    current(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
