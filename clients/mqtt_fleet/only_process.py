"""One process per outbox: two would take the same client ID from each other, and each other's messages."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Of the process that holds the lock, for the error of the one that does not.
PID_BYTES = 20


class InUseError(Exception):
    """Another process uses the outbox; the text is one line."""


@contextmanager
def only_process(outbox: Path) -> Iterator[None]:
    """Hold `<outbox>.lock` for as long as this process uses the outbox; the kernel frees it when the process ends.

    Raises:
        InUseError: another process holds it.
    """
    path = outbox.with_name(f"{outbox.name}.lock")
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        # A full disk, or a folder that cannot be written: what that means is for the outbox to find out and tell.
        yield
        return
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, PID_BYTES).decode("ascii", "replace").strip()
            raise InUseError(
                f"outbox {outbox}: found process {holder or 'unknown'} using it, expected one client per outbox: stop "
                "that one, or give this one a client ID and an outbox of its own"
            ) from None
        except OSError:
            # Some network file systems have no such locks: there a second process is not noticed.
            pass
        with suppress(OSError):
            os.pwrite(lock, f"{os.getpid()}\n".ljust(PID_BYTES).encode("ascii"), 0)
        yield
    finally:
        os.close(lock)
