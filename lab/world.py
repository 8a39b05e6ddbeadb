"""Run a command as if it had the machine to itself: `python -m lab.world COMMAND…`.

A lab of its own can then be brought up beside another. The command sees the same files, but not the other lab's
certificates and reports, and has a network, process IDs, mounts and control groups of its own. What it writes below the
checkout is kept in memory and gone with it, but for `.cache`; the internet cannot be reached. When it ends, or this
process is killed, the kernel ends all that it started.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lab import cgroup, topology
from lab.commands import run
from lab.errors import LabError

NAMESPACES = ("--mount", "--net", "--cgroup", "--pid", "--fork", "--kill-child", "--mount-proc")
# Of the checkout, what a lab makes.
GENERATED = ("certs", "reports")
GROUP = f"{cgroup.ROOT}-world-"
# Devices' own writes are overlays, which cannot be on another, as the checkout is here.
MEMORY = Path("/run")
# Connections to devices are kept by address, and another lab's devices have the same.
ENVIRONMENT = {"LAB_STATE_DIR": f"{MEMORY}/mqttlab", "ANSIBLE_SSH_CONTROL_PATH_DIR": f"{MEMORY}/ansible"}


def run_in_world(command: Sequence[str]) -> int:
    """Run a command in a world of its own and return its exit code.

    Raises:
        LabError: not root, or no control groups.
    """
    if os.geteuid() != 0:
        raise LabError(f"user ID is {os.geteuid()}, a lab of its own needs root: run it as root")
    remove_dead()
    groups = [hierarchy / f"{GROUP}{os.getpid()}" for hierarchy in cgroup.hierarchies()]
    for group in groups:
        group.mkdir()
    inside = [sys.executable, "-m", "lab.world", "--inside", *map(str, groups), "--", *command]
    try:
        return _wait(
            subprocess.Popen(
                # unshare ends its child when it dies itself, and is told to die with this process.
                ["setpriv", "--pdeathsig", "KILL", "unshare", *NAMESPACES, "--propagation", "private", "--", *inside],
                cwd=topology.REPOSITORY,
                env=os.environ | ENVIRONMENT,
                # The namespace of control groups begins at the groups that its first process is in.
                preexec_fn=lambda: _join(groups),
            )
        )
    finally:
        for group in groups:
            _remove(group)


def remove_dead() -> None:
    """Remove the control groups of worlds whose process was killed."""
    for hierarchy in cgroup.hierarchies():
        for group in hierarchy.glob(f"{GROUP}*"):
            if not Path("/proc", group.name.removeprefix(GROUP)).exists():
                _remove(group)


def _join(groups: Sequence[Path]) -> None:
    for group in groups:
        (group / "cgroup.procs").write_text("0", encoding="ascii")


def _wait(child: subprocess.Popen[bytes]) -> int:
    while True:
        # Ctrl-C reaches the command, too, which ends as it sees fit.
        with suppress(KeyboardInterrupt):
            return child.wait()


def _remove(group: Path) -> None:
    """Remove a control group and those below it; where a process still ends in one, the next world does it."""
    below = sorted((path for path in group.rglob("*") if path.is_dir()), key=lambda path: len(path.parts), reverse=True)
    for path in [*below, group]:
        with suppress(OSError):
            path.rmdir()


def _enter(groups: Sequence[Path]) -> None:
    """Make the world's mounts: control groups that begin here, an empty /run, and the checkout under an overlay."""
    for group in groups:
        run(["mount", "--bind", str(group), str(group.parent)])
    run(["mount", "-t", "tmpfs", "world", str(MEMORY)])
    checkout, cache = topology.REPOSITORY, topology.cache_directory()
    upper, work, kept = (MEMORY / name for name in ("checkout", "work", "cache"))
    for folder in (upper, work, kept, cache):
        folder.mkdir(exist_ok=True)
    run(["mount", "--bind", str(cache), str(kept)])
    for name in GENERATED:
        (upper / name).mkdir()
        # Hides what is below: another lab's certificates and runs.
        os.setxattr(upper / name, "trusted.overlay.opaque", b"y")
        if (readme := checkout / name / "README.md").exists():
            shutil.copy(readme, upper / name)
    layers = f"lowerdir={checkout},upperdir={upper},workdir={work}"
    run(["mount", "-t", "overlay", "world", "-o", layers, str(checkout)])
    run(["mount", "--move", str(kept), str(cache)])
    run(["ip", "link", "set", "dev", "lo", "up"])
    # The folder that this process is in is the one below the overlay.
    os.chdir(checkout)


def main(arguments: list[str]) -> int:
    """Run a command in a world of its own; `--inside` is how it runs itself there."""
    if arguments[:1] != ["--inside"]:
        return run_in_world(arguments)
    end = arguments.index("--")
    _enter([Path(group) for group in arguments[1:end]])
    command = arguments[end + 1 :]
    try:
        os.execvp(command[0], command)  # noqa: S606 - it takes this process's place
    except OSError as error:
        raise LabError(f"{command[0]}: {error.strerror}; name a command that is there") from error


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as error:
        sys.exit(f"lab: {error}")
