"""The control groups the lab's processes live in: how every one of them is found and ended.

A process cannot leave its group by forking or losing its parent, so the lab's processes are known
exactly, whatever was killed before. Works with version 1, hybrid and version 2 hierarchies.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from lab.errors import LabError

MOUNT = Path("/sys/fs/cgroup")
ROOT = "mqttlab"
SUPERVISOR = "supervisor"
END_TIMEOUT = 15.0
COLLECT_TIMEOUT = 3.0


def hierarchies(mount: Path = MOUNT) -> list[Path]:
    """Return the hierarchies that systemd keeps processes in: the only one of version 2, or the named ones.

    Raises:
        LabError: no control groups are mounted.
    """
    if (mount / "cgroup.controllers").exists():
        return [mount]
    found = [path for path in (mount / "systemd", mount / "unified") if (path / "cgroup.procs").exists()]
    if not found:
        raise LabError(f"{mount}: no control groups mounted, systemd-nspawn needs them; mount them and retry")
    return found


def join(name: str) -> None:
    """Move this process to the group `mqttlab/<name>`, which is made when absent."""
    for hierarchy in hierarchies():
        group = hierarchy / ROOT / name
        group.mkdir(parents=True, exist_ok=True)
        (group / "cgroup.procs").write_text("0", encoding="ascii")


def processes(name: str = "") -> set[int]:
    """Return the IDs of the processes in a group of the lab and the groups below; all without a name."""
    found: set[int] = set()
    for group in _groups(name):
        with suppress(OSError):
            found.update(int(pid) for pid in (group / "cgroup.procs").read_text(encoding="ascii").split())
    return found - {0}


def end_processes(name: str = "", also: Iterable[int] = ()) -> set[int]:
    """Kill every process of a group and wait until none runs any more.

    Args:
        name: group below the lab's own; all of the lab's when empty.
        also: IDs of further processes to end.

    Returns:
        The IDs of those that were found.

    Raises:
        LabError: some are still there after 15 s.
    """
    extra = set(also)
    seen: set[int] = set()
    deadline = time.monotonic() + END_TIMEOUT
    while alive := {pid for pid in processes(name) | extra if _is_alive(pid)}:
        seen |= alive
        for pid in alive:
            kill(pid)
        if time.monotonic() > deadline:
            raise LabError(f"processes {sorted(alive)} are still there {END_TIMEOUT:g} s after they were killed")
        time.sleep(0.02)
    return seen


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to a process that may have ended meanwhile."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def wait_until_collected(pids: Iterable[int]) -> None:
    """Give whoever became the parent of ended processes time to collect them: until then their IDs are in use."""
    deadline = time.monotonic() + COLLECT_TIMEOUT
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)


def remove() -> None:
    """Remove the lab's groups, which must be empty of processes."""
    for group in sorted(_groups(""), key=lambda path: len(path.parts), reverse=True):
        with suppress(FileNotFoundError):
            group.rmdir()


def _groups(name: str) -> list[Path]:
    groups: list[Path] = []
    # Where no control groups are mounted there is none of the lab's.
    with suppress(LabError):
        for top in (hierarchy / ROOT / name for hierarchy in hierarchies()):
            if top.is_dir():
                groups += [top, *(path for path in top.rglob("*") if path.is_dir())]
    return groups


def _is_alive(pid: int) -> bool:
    with suppress(OSError):
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        return status.rpartition(")")[2].split()[0] != "Z"
    return False
