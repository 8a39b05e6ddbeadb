"""A world of its own: a lab beside another, and nothing of it is left."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from pathlib import Path

from lab import cgroup, world

from .conftest import REPOSITORY, wait_for


def start(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lab.world", *command], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )


def groups(process: subprocess.Popen[str]) -> list[Path]:
    paths = [hierarchy / f"{world.GROUP}{process.pid}" for hierarchy in cgroup.hierarchies()]
    return [path for path in paths if path.exists()]


def test_a_command_has_the_machine_for_itself() -> None:
    name = f".world-{uuid.uuid4().hex}"
    script = f"echo $$; ls reports | wc -l; ip -brief link | wc -l; echo here > {name}; cat {name}; exit 3"

    done = start("sh", "-c", script)
    said, _ = done.communicate(timeout=60)

    assert done.returncode == 3
    # The first process of its own IDs, no interface but lo, and a file that nobody else sees.
    assert said.split()[0] == "1"
    assert said.split()[1:] == ["0", "1", "here"]
    assert not (REPOSITORY / name).exists()
    assert groups(done) == []


def test_a_killed_world_leaves_no_process_and_the_next_one_its_groups() -> None:
    # A name that only this test's process has.
    mark = f"{uuid.uuid4().int % 10**6}"
    killed = start("sh", "-c", f"echo ready; sleep 1{mark}")
    assert killed.stdout
    assert killed.stdout.readline() == "ready\n"

    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert groups(killed) != []

    wait_for("the world's processes ending", lambda: not _runs(f"sleep\0001{mark}"))
    assert start("true").wait() == 0
    assert groups(killed) == []


def test_a_command_that_is_none_is_said_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lab.world", "no-such-command"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr == "lab: no-such-command: No such file or directory; name a command that is there\n"


def _runs(command_line: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_text().rstrip("\0") == command_line:
                return True
        except OSError:
            continue
    return False
