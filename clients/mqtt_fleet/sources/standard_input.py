"""Each line of standard input is a message."""

from __future__ import annotations

import os
import queue
import threading
from contextlib import suppress
from typing import BinaryIO

from mqtt_fleet.sources.submission import (
    DATA_BYTES,
    Answer,
    Batch,
    Hand,
    InvalidMessageError,
    Rejected,
    Stored,
    Submission,
    check_size,
)

READ_BYTES = 64 << 10
# Longer than any line that fits: JSON at most triples what is no control character, and base64 adds a third.
LINE_BYTES = DATA_BYTES
RETRY_SECONDS = 1.0
NAME = "standard input"


class StandardInput:
    """Reads as fast as messages can be stored: a full outbox holds up the writer of the pipe, and nothing is lost."""

    def __init__(self, stream: BinaryIO, hand: Hand) -> None:
        self._stream = stream
        self._hand = hand
        self._stopping = threading.Event()
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="standard-input", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def flush(self) -> None:
        """Each answer is passed on when it is given."""

    def stop(self) -> None:
        # The thread may hang in a read: it ends with the process.
        self._stopping.set()

    def is_alive(self) -> bool:
        """True also after the end of the input, which is no failure."""
        return not self._failed

    def _run(self) -> None:
        try:
            self._read()
        except Exception:
            self._failed = True
            raise

    def _read(self) -> None:
        kept, skipping = b"", False
        while not self._stopping.is_set():
            chunk = os.read(self._stream.fileno(), READ_BYTES)
            *lines, kept = (kept + chunk).split(b"\n")
            if skipping and lines:
                # The end of the line that was too long.
                lines, skipping = lines[1:], False
            if len(kept) > LINE_BYTES:
                if not skipping:
                    self._reject("oversized", f"found a line of more than {LINE_BYTES} bytes")
                kept, skipping = b"", True
            if not chunk and kept and not skipping:
                lines.append(kept)
            self._store(lines)
            if not chunk:
                return

    def _store(self, lines: list[bytes]) -> None:
        waiting = [data for line in lines if (data := self._data(line)) is not None]
        while waiting and not self._stopping.is_set():
            answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
            batch = Batch()
            for data in waiting:
                self._hand(Submission(data, batch=batch, answer=answers.put))
            # Answers come in order, and after the first refusal there are only refusals.
            stored = sum(isinstance(answers.get(), Stored) for _ in waiting)
            waiting = waiting[stored:]
            if waiting:
                self._stopping.wait(RETRY_SECONDS)

    def _data(self, line: bytes) -> str | bytes | None:
        data: str | bytes = line
        with suppress(UnicodeDecodeError):
            data = line.decode()
        try:
            check_size(data)
        except InvalidMessageError as error:
            self._reject(error.reason, str(error))
            return None
        return data

    def _reject(self, reason: str, text: str) -> None:
        self._hand(Rejected(NAME, reason, text))
