"""The record of every AWS call that was served."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READ_PREFIXES = ("Get", "List", "Describe", "Search", "Export", "Test")


def is_write(operation: str) -> bool:
    """Return whether an operation changes something, by AWS's naming."""
    return not operation.startswith(READ_PREFIXES)


@dataclass(frozen=True)
class Entry:
    """One call.

    Attributes:
        n: counts from 1 since the start.
        time: in seconds since the epoch.
        denied: IAM's name of the action that the caller's policies did not allow; empty where they did.
    """

    n: int
    time: float
    service: str
    operation: str
    region: str
    status: int
    write: bool
    denied: str = ""


class RequestLog:
    """Calls in memory and, one JSON object a line, in a file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._count = self._forgotten = 0
        self._stream = path.open("w", buffering=1)

    def add(self, service: str, operation: str, region: str, status: int, denied: str = "") -> None:
        with self._lock:
            self._count += 1
            entry = Entry(self._count, time.time(), service, operation, region, status, is_write(operation), denied)
            self._entries.append(entry)
            self._stream.write(json.dumps(vars(entry)) + "\n")

    def after(self, n: int) -> list[dict[str, Any]]:
        """Return the calls later than the n-th."""
        with self._lock:
            return [dict(vars(entry)) for entry in self._entries[max(0, n - self._forgotten) :]]

    def reset(self) -> None:
        """Drop the calls in memory; numbering continues."""
        with self._lock:
            self._entries.clear()
            self._forgotten = self._count
