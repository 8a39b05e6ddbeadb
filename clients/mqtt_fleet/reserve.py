"""Disk space held ready, so that a full disk does not keep the outbox from getting smaller."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

# More than SQLite's log in ordinary times, which is copied into the database before it restarts.
RESERVE_BYTES = 1280 << 10


class Reserve:
    """A file without content, deleted when the space is needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes = 0

    @property
    def held(self) -> bool:
        return self._bytes > 0

    def take(self, needed: int = 0) -> str | None:
        """Hold RESERVE_BYTES, or what is needed if that is more; return why that cannot be had, or None."""
        wanted = max(RESERVE_BYTES, needed)
        if self._bytes == wanted:
            return None
        try:
            with self._path.open("r+b" if self._path.exists() else "wb") as file:
                file.truncate(wanted)
                os.posix_fallocate(file.fileno(), 0, wanted)
        except OSError as error:
            self.release()
            return f"{self._path.parent} has no {wanted >> 10} KiB left: {error.strerror}"
        self._bytes = wanted
        return None

    def release(self) -> None:
        """Give the space back."""
        self._bytes = 0
        with suppress(OSError):
            self._path.unlink()
