"""The record of a run, on disk before anything depends on it."""

from __future__ import annotations

import json
import mmap
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

VERSION = 1
SYNC_SECONDS = 0.5


def timestamp() -> str:
    """Now, as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Journal:
    """Appends one JSON object per line, `{"at": ISO 8601, "step": name, …}`."""

    def __init__(self, path: Path) -> None:
        _cut_unfinished(path)
        # Half of a UTF-16 pair, which JSON can hold and UTF-8 cannot, becomes JSON's own escape of it.
        self._file = path.open("a", encoding="utf-8", errors="backslashreplace")
        self._lock = threading.Lock()
        self._synced = time.monotonic()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, step: str, **details: Any) -> None:
        """Append a decision or its result; it is on disk when this returns."""
        self._append(step, details, sync=True)

    def note(self, step: str, **details: Any) -> None:
        """Append what is one of many, such as the answer for one client.

        It outlives this process at once, and the machine within SYNC_SECONDS: what is lost of it is found out again.
        """
        self._append(step, details, sync=time.monotonic() - self._synced >= SYNC_SECONDS)

    def _append(self, step: str, details: dict[str, Any], sync: bool) -> None:
        line = json.dumps({"at": timestamp(), "step": step, **details}, ensure_ascii=False)
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()
            if sync:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()


def _cut_unfinished(path: Path) -> None:
    """Cut off a last line without an end, which a run that was killed left: the next one would be joined to it."""
    if not path.exists() or not path.stat().st_size:
        return
    with path.open("r+b") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            end = content.rfind(b"\n") + 1
        file.truncate(end)
