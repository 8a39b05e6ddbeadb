"""One run at a time."""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from .errors import RefusedError
from .interrupt import starters
from .journal import timestamp

# Somebody who only looks whether a run goes on holds the lock for an instant.
ATTEMPTS = 5
ATTEMPT_SECONDS = 0.1


@dataclass(frozen=True)
class Holder:
    """Who holds the lock: the content of the lock file.

    Attributes:
        who: name of the user.
        mode: the mode that the run moves to, empty where it does not say.
        started: ISO 8601, UTC.
        started_by: pid of the ansible-playbook that began it, 0 where unknown.
    """

    who: str
    pid: int
    mode: str
    started: str
    started_by: int = 0

    def __str__(self) -> str:
        mode = f" to mode {self.mode}" if self.mode else ""
        return f"a run{mode} by {self.who} (pid {self.pid}) since {self.started}"


@contextmanager
def exclusive(path: Path, mode: str = "") -> Iterator[None]:
    """Hold the lock file while the block runs; the kernel gives it back if the process is killed.

    Raises:
        RefusedError: another run holds it; says whose, since when and to which mode.
    """
    with path.open("a+", encoding="utf-8") as file:
        if not _taken(file):
            raise RefusedError(
                f"lock {path}: found {_read(path) or 'another run'}, expected no other run: wait until it ends, then "
                "run again"
            )
        by = starters()
        holder = Holder(_user(), os.getpid(), mode, timestamp(), by[-1].pid if by else 0)
        file.truncate(0)
        json.dump(asdict(holder), file)
        file.flush()
        yield


def _taken(file: IO[str]) -> bool:
    for attempt in range(ATTEMPTS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if attempt < ATTEMPTS - 1:
                time.sleep(ATTEMPT_SECONDS)
    return False


def current(path: Path) -> str | None:
    """Who holds the lock, in words; None when nobody does. Changes nothing."""
    try:
        with path.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return str(_read(path) or "another run")
    return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _read(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
