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

from ..model.errors import RefusedError, SwitchError
from ..record.folder import open_file, user
from ..record.journal import timestamp
from ..record.storage import failed
from .interrupt import starters

# Somebody who only looks whether a run goes on holds the lock for an instant.
ATTEMPTS = 5
ATTEMPT_SECONDS = 0.1
MOST_BYTES = 4096
# Of a word that is shown.
MOST_SHOWN = 64


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
        mode = f" to mode {_shown(self.mode)}" if self.mode else ""
        return f"a run{mode} by {_shown(self.who)} (pid {_shown(str(self.pid))}) since {_shown(self.started)}"


@contextmanager
def exclusive(path: Path, mode: str = "") -> Iterator[None]:
    """Hold the lock file while the block runs; the kernel gives it back if the process is killed.

    Raises:
        RefusedError: another run holds it; says whose, since when and to which mode. Or it cannot be taken.
        UntrustedError: there is something else than a lock file of this user's; it is left as it is.
        StorageError: there is no room for its content.
    """
    try:
        descriptor = open_file(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise RefusedError(
            f"lock {path}: found {error.strerror}, expected a file that {user()} may write to: run as its owner, or "
            "name another folder in reports_directory"
        ) from error
    try:
        if not _taken(descriptor):
            raise RefusedError(
                f"lock {path}: found {_read(descriptor) or 'another run'}, expected no other run: wait until it ends, "
                "then run again"
            )
        _write(path, descriptor, mode)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    for attempt in range(ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if attempt < ATTEMPTS - 1:
                time.sleep(ATTEMPT_SECONDS)
    return False


def _write(path: Path, descriptor: int, mode: str) -> None:
    by = starters()
    holder = Holder(_user(), os.getpid(), mode, timestamp(), by[-1].pid if by else 0)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(holder)).encode(), 0)
    except OSError as error:
        raise failed(path, error) from error


def current(path: Path) -> str | None:
    """Who holds the lock, in words, also where that cannot be told; None when nobody does. Changes nothing."""
    try:
        descriptor = open_file(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"not known, {path}: {error.strerror}"
    except SwitchError as error:
        return f"not known, {error}"
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return str(_read(descriptor) or "another run")
    finally:
        os.close(descriptor)
    return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _read(descriptor: int) -> Holder | None:
    """What the lock file says; None where that is nothing that a run writes, or not yet all of it."""
    try:
        found = Holder(**json.loads(os.pread(descriptor, MOST_BYTES, 0)))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    words = (found.who, found.mode, found.started)
    return found if type(found.pid) is int and all(isinstance(word, str) for word in words) else None


def _shown(text: str) -> str:
    """A word from the file, as it is shown: no control characters, and no longer than any name."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:MOST_SHOWN])
