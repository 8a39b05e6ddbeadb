"""Disk space for a run's files: how much is needed, what is reserved for the end, and the error when it is short."""

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
# Of each client, beside its row in the roster: journal, clients.csv, and the roster of a move that is restored.
CLIENT_BYTES = 1_000
# For the end of a run: its last entries and its summary.
RESERVE_BYTES = 4 * MEGABYTE
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NEEDED = f"{RUN_BYTES // MEGABYTE} MB and {CLIENT_BYTES // 1000} kB for each client"


def failed(path: Path, error: OSError | sqlite3.Error) -> StorageError:
    """The error of a write that failed."""
    words = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if not _no_room(error):
        return StorageError(f"{path}: cannot be written ({words}): correct that, then run the same command again")
    return StorageError(
        f"{path}: {words} ({_free(path)} free): free space for a run's files ({_NEEDED}), then run the same command "
        "again"
    )


def _no_room(error: OSError | sqlite3.Error) -> bool:
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF == sqlite3.SQLITE_FULL


def free(path: Path) -> int:
    """How many bytes this user may still write to the file system of a path, which need not be there yet.

    Raises:
        OSError: it cannot be determined.
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
    """Findings that block a move of so many clients: too little space for its report. Disk quotas are not checked."""
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
            f"{needed / MEGABYTE:.1f} MB ({_NEEDED})", "free space there, or name another folder in reports_directory",
        )
    ]  # fmt: skip


class Reserve:
    """Disk space that is reserved during a run, and released for the run's end.

    It is a file without a name: the kernel releases it if the process is killed.

    Raises:
        StorageError: there is no space for it.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by release
        except OSError as error:
            raise failed(folder, error) from error
        try:
            os.posix_fallocate(self._file.fileno(), 0, RESERVE_BYTES)
        except (AttributeError, OSError) as error:
            # Where a file system cannot reserve space, a run continues without.
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                self.release()
                raise failed(folder, error) from error

    def release(self) -> None:
        """Release it."""
        self._file.close()

    def __enter__(self) -> Reserve:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
