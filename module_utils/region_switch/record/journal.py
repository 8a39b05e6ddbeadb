"""The record of a run, on disk before anything depends on it."""

from __future__ import annotations

import json
import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from .events import Event
from .folder import open_file
from .storage import failed

SYNC_SECONDS = 0.5
# The longest is the list of findings, each of which is a line: far below.
MOST_OF_LINE = 16 * 2**20


def timestamp(at: float | None = None) -> str:
    """Epoch seconds, or now, as ISO 8601 in UTC."""
    found = datetime.now(UTC) if at is None else datetime.fromtimestamp(at, UTC)
    return found.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def no_room() -> None:
    """There is no reserved space to release."""


class Journal:
    """Appends one JSON object per line, `{"at": ISO 8601, "step": name, …}`.

    The first entry that cannot be written is an error, after which a run may only end. `make_room` is called then, so
    that the entry, and those of the run's end, are written nevertheless.

    Raises:
        StorageError: it cannot be written.
        UntrustedError: the file is not a journal of this user.
    """

    def __init__(self, path: Path, make_room: Callable[[], None] = no_room) -> None:
        self._path = path
        self._make_room = make_room
        self._lock = threading.Lock()
        self._synced = time.monotonic()
        try:
            self._descriptor = open_file(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        except OSError as error:
            raise failed(path, error) from error
        _cut_unfinished(self._descriptor)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def write(self, event: Event) -> None:
        """Append a decision or its result; it is on disk when this returns."""
        self._append(event, sync=True)

    def note(self, event: Event) -> None:
        """Append one of many entries, such as the answer for one client.

        It survives the end of this process at once, and a crash of the machine after SYNC_SECONDS: a later
        run finds out lost ones again.
        """
        self._append(event, sync=time.monotonic() - self._synced >= SYNC_SECONDS)

    def _append(self, event: Event, sync: bool) -> None:
        text = json.dumps({"at": timestamp(), "step": event.step, **event.details()}, ensure_ascii=False)
        # Half of a UTF-16 pair, which JSON can hold and UTF-8 cannot, becomes JSON's own escape of it.
        line = f"{text}\n".encode(errors="backslashreplace")
        with self._lock:
            try:
                self._put(line, sync)
            except OSError as error:
                self._make_room()
                with suppress(OSError):
                    self._put(line, sync)
                raise failed(self._path, error) from error

    def _put(self, line: bytes, sync: bool) -> None:
        end = os.fstat(self._descriptor).st_size
        try:
            rest = line
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            if sync:
                os.fsync(self._descriptor)
                self._synced = time.monotonic()
        except OSError:
            # The next entry would be joined to a part of this one.
            with suppress(OSError):
                os.ftruncate(self._descriptor, end)
            raise


def lines(path: Path) -> Iterator[bytes]:
    """The lines of a journal; one that is longer than any entry comes in parts, of which only the last has an end.

    Raises:
        OSError: it cannot be read.
        UntrustedError: another user owns it, or may write to it.
    """
    with os.fdopen(open_file(path, os.O_RDONLY), "rb") as stream:
        while line := stream.readline(MOST_OF_LINE):
            yield line


def _cut_unfinished(descriptor: int) -> None:
    """Cut off a last line without an end, which a run that was killed left: the next entry would be joined to it."""
    if not os.fstat(descriptor).st_size:
        return
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
        end = content.rfind(b"\n") + 1
    os.ftruncate(descriptor, end)
