"""The record of a run, on disk before anything depends on it."""

from __future__ import annotations

import json
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
        self._file = path.open("a", encoding="utf-8")
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
