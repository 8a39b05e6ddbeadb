"""Compares everything that goes over the wire with AWS's models.

The stand-in may not be more lenient than AWS: a request that the models do not allow is a deviation whoever made it,
also where it was refused, and so is an answer with a member, a value, a status or an error code that AWS does not give.
"""

from __future__ import annotations

import json
import os
import threading
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab.aws_api.operations import Message, Models, problems_of

# Bytes of a file's first line, which is written again and again.
COUNTS_LENGTH = 80


@dataclass(frozen=True)
class Deviation:
    """What one request or answer has that the models do not allow; the first of its kind.

    Attributes:
        side: "request" or "answer".
        on_purpose: whether a test said beforehand that it would come to this.
    """

    service: str
    operation: str
    side: str
    member: str
    found: str
    expected: str
    on_purpose: bool = False

    @property
    def line(self) -> str:
        return (
            f"{self.service} {self.operation}, {self.side}, {self.member}: found {self.found}, expected {self.expected}"
        )


@dataclass
class Counts:
    """How many were compared with the models, and how many of them were as these say."""

    requests: int = 0
    answers: int = 0
    conforming_requests: int = 0
    conforming_answers: int = 0


class Contract:
    """Compares what goes over the wire, and keeps the counts and each kind of deviation once; safe for threads.

    Args:
        folder: where its file is written, `<random>.jsonl`: a line of Counts, then one line a Deviation.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.id = uuid.uuid4().hex
        self._file = os.open(folder / f"{self.id}.jsonl", os.O_RDWR | os.O_CREAT, 0o644)
        self._end = COUNTS_LENGTH
        self._lock = threading.Lock()
        self._models = Models()
        self._counts = Counts()
        self._found: list[Deviation] = []
        self._known: set[tuple[str, ...]] = set()
        # "Operation member", as tests name them.
        self.on_purpose: frozenset[str] = frozenset()
        self._write_counts()

    def note(self, service: str, operation: str, request: Message, answer: Message) -> None:
        """Compare a request and its answer with the models."""
        with self._lock:
            found = problems_of(self._models, service, operation, request, answer)
            sides = {side for side, _ in found}
            self._counts.requests += 1
            self._counts.answers += 1
            self._counts.conforming_requests += "request" not in sides
            self._counts.conforming_answers += "answer" not in sides
            for side, problem in found:
                self._keep(
                    Deviation(service, operation, side, *problem, f"{operation} {problem.member}" in self.on_purpose)
                )
            self._write_counts()

    def _keep(self, deviation: Deviation) -> None:
        kind = (
            *(deviation.service, deviation.operation, deviation.side, deviation.member, deviation.expected),
            str(deviation.on_purpose),
        )
        # On purpose each test has its own.
        if kind in self._known and not deviation.on_purpose:
            return
        self._known.add(kind)
        self._found.append(deviation)
        line = json.dumps(asdict(deviation)).encode() + b"\n"
        os.pwrite(self._file, line, self._end)
        self._end += len(line)

    def _write_counts(self) -> None:
        counts = self._counts
        numbers = [counts.requests, counts.answers, counts.conforming_requests, counts.conforming_answers]
        os.pwrite(self._file, json.dumps(numbers).ljust(COUNTS_LENGTH - 1).encode() + b"\n", 0)

    def told(self, after: int = 0) -> dict[str, Any]:
        """Return the counts and the deviations later than the n-th, for the control's answer."""
        with self._lock:
            found = [asdict(each) | {"line": each.line} for each in self._found[after:]]
            return {"id": self.id, "counts": asdict(self._counts), "last": len(self._found), "deviations": found}
