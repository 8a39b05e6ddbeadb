"""Two clients never share an outbox, and a process that is gone keeps nobody out."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mqtt_fleet import client
from mqtt_fleet import only_process as only_process_module
from mqtt_fleet.only_process import InUseError, only_process

CLIENTS = Path(__file__).parent.parent.parent.parent / "clients"
HOLD = """
import sys
from pathlib import Path
from mqtt_fleet.only_process import only_process
with only_process(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_second_process_is_told_which_one_is_there(tmp_path: Path) -> None:
    outbox = tmp_path / "outbox"
    with (
        only_process(outbox),
        pytest.raises(InUseError, match=rf"^outbox {outbox}: found process {os.getpid()} "),
        only_process(outbox),
    ):
        pytest.fail("two processes use one outbox")


def test_outboxes_in_one_folder_are_not_in_each_others_way(tmp_path: Path) -> None:
    with only_process(tmp_path / "one"), only_process(tmp_path / "two"):
        pass


def test_process_that_was_killed_keeps_nobody_out(tmp_path: Path) -> None:
    outbox = tmp_path / "outbox"
    command = [sys.executable, "-c", HOLD, str(outbox)]
    environment = {**os.environ, "PYTHONPATH": str(CLIENTS)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(InUseError, match=str(holder.pid)), only_process(outbox):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()

    with only_process(outbox):
        pass


def test_where_no_lock_can_be_made_the_outbox_says_what_is_wrong(tmp_path: Path) -> None:
    with only_process(tmp_path / "missing folder" / "outbox"):
        pass


def test_file_system_without_locks_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with only_process(tmp_path / "outbox"):
        assert (tmp_path / "outbox.lock").read_text().strip() == str(os.getpid())


def test_process_that_may_wait_goes_on_when_the_other_one_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(only_process_module, "WAIT_SECONDS", 0.01)
    outbox = tmp_path / "outbox"
    told: list[str] = []
    holder = contextlib.ExitStack()
    holder.enter_context(only_process(outbox))

    def waiting(problem: str) -> None:
        told.append(problem)
        if len(told) == 3:
            holder.close()

    with only_process(outbox, waiting):
        assert len(told) == 3
    assert told[0].startswith(f"outbox {outbox}: found process {os.getpid()} using it")


def test_service_manager_is_told_of_the_wait_and_its_start_limit_extended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(client, "notify", said.append)
    client._tell_waiting("outbox x: found process 7\x1b[2J")
    assert said == ["EXTEND_TIMEOUT_USEC=30000000\nSTATUS=waiting: outbox x: found process 7\ufffd[2J"]
    assert 1e6 * only_process_module.WAIT_SECONDS < client.WAIT_MICROSECONDS
