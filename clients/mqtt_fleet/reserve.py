"""Disk space held ready, so that a full disk does not keep the outbox from getting smaller."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

# More than SQLite's log, which is copied into the database before it is begun anew.
RESERVE_BYTES = 1 << 20


class Reserve:
    """A file that holds nothing, given back when the space is needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.held = False

    def take(self) -> str | None:
        """Hold the space if it can be had; return why not, or None."""
        if self.held:
            return None
        try:
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
        except OSError as error:
            self.release()
            return f"{self._path.parent} has no {RESERVE_BYTES >> 10} KiB left: {error.strerror}"
        self.held = True
        return None

    def release(self) -> None:
        """Give the space back."""
        self.held = False
        with suppress(OSError):
            self._path.unlink()
