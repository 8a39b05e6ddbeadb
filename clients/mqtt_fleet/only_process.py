"""One process per outbox: two would take the client ID, and messages, from each other."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Of the process that holds the lock, for the error of the one that does not.
PID_BYTES = 20
WAIT_SECONDS = 1.0


class InUseError(Exception):
    """Another process uses the outbox; the text is one line."""


@contextmanager
def only_process(outbox: Path, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold `<outbox>.lock` for as long as this process uses the outbox; the kernel frees it when the process ends.

    Args:
        waiting: called every second, with the line that says so, while another process holds it; None: do not wait.

    Raises:
        InUseError: another process holds it.
    """
    path = outbox.with_name(f"{outbox.name}.lock")
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        # A full disk, or a folder that cannot be written: the outbox finds that out and reports it.
        yield
        return
    try:
        while problem := _take(lock, outbox):
            if waiting is None:
                raise InUseError(problem)
            waiting(problem)
            time.sleep(WAIT_SECONDS)
        with suppress(OSError):
            os.pwrite(lock, f"{os.getpid()}\n".ljust(PID_BYTES).encode("ascii"), 0)
        yield
    finally:
        os.close(lock)


def _take(lock: int, outbox: Path) -> str:
    """Take the lock; return why that is not possible, or ""."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, PID_BYTES, 0).decode("ascii", "replace").strip()
        return (
            f"outbox {outbox}: found process {holder or 'unknown'} using it, expected one client per outbox: stop "
            "that one, or give this one a client ID and an outbox of its own"
        )
    except OSError:
        # Some network file systems have no such locks: there a second process is not noticed.
        pass
    return ""
