"""Room for a run's files: how much is needed, what is kept back for the end, and the line where it does not suffice."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from pathlib import Path

from ..model.errors import StorageError
from ..model.findings import Finding

MEGABYTE = 1_000_000
# Of any run: its page (4 MB at most), its reserve, and SQLite's write-ahead log.
RUN_BYTES = 20 * MEGABYTE
# Of each client, beside its row in the roster: journal, clients.csv, and the roster of a move that is taken back.
CLIENT_BYTES = 1_000
# For the end of a run: its last entries and its summary.
RESERVE_BYTES = 4 * MEGABYTE
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NEEDED = f"{RUN_BYTES // MEGABYTE} MB and {CLIENT_BYTES // 1000} kB for each client"


def failed(path: Path, error: OSError | sqlite3.Error) -> StorageError:
    """The line of a write that failed."""
    words = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if not _no_room(error):
        return StorageError(
            f"{path}: found {words}, expected a file that can be written to: mend that, then run the same again"
        )
    return StorageError(
        f"{path}: found {words} ({_free(path)} free), expected room for a run's files ({_NEEDED}): make room there, "
        "then run the same again"
    )


def _no_room(error: OSError | sqlite3.Error) -> bool:
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF == sqlite3.SQLITE_FULL


def free(path: Path) -> int:
    """How many bytes this user may still write to the file system of a path, which need not be there yet.

    Raises:
        OSError: nobody can tell.
    """
    while not path.exists() and path != path.parent:
        path = path.parent
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def _free(path: Path) -> str:
    try:
        return f"{free(path) / MEGABYTE:.1f} MB"
    except OSError:
        return "an unknown part"


def findings(reports: Path, clients: int) -> list[Finding]:
    """What speaks against a move of so many clients: too little room for its report. A quota is not seen here."""
    needed = RUN_BYTES + clients * CLIENT_BYTES
    try:
        found = free(reports.absolute())
    except OSError:
        return []
    if found >= needed:
        return []
    return [
        Finding(
            "report_room", True, "", "", f"{found / MEGABYTE:.1f} MB free for {reports}",
            f"{needed / MEGABYTE:.1f} MB ({_NEEDED})", "make room there, or name another folder in reports_directory",
        )
    ]  # fmt: skip


class Reserve:
    """Room that nobody else gets while a run goes on, and the run itself only for its end.

    It is a file without a name: the kernel gives it back if the process is killed.

    Raises:
        StorageError: there is not even room for it.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by release
        except OSError as error:
            raise failed(folder, error) from error
        try:
            os.posix_fallocate(self._file.fileno(), 0, RESERVE_BYTES)
        except (AttributeError, OSError) as error:
            # Where a file system cannot keep room back, a run goes on without.
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                self.release()
                raise failed(folder, error) from error

    def release(self) -> None:
        """Give it back."""
        self._file.close()

    def __enter__(self) -> Reserve:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
