"""One run at a time."""

from __future__ import annotations

import fcntl
import getpass
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import RefusedError
from .journal import timestamp


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file while the block runs; the kernel gives it back if the process is killed.

    Raises:
        RefusedError: another run holds it; says whose and since when.
    """
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RefusedError(
                f"lock {path}: found {_holder(path)}, expected no other run: wait until it ends, then run again"
            ) from error
        file.truncate(0)
        json.dump({"who": _user(), "pid": os.getpid(), "started": timestamp()}, file)
        file.flush()
        yield


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"a run of {holder['who']} (pid {holder['pid']}) since {holder['started']}"
    except (ValueError, KeyError, TypeError):
        return "another run"
