"""Whether all that went to and from the AWS API stand-ins was as AWS's models say: `python -m tests.contract`.

`--clear` forgets what earlier stand-ins found, before a run of tests.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from lab import topology
from lab.aws_api.contract import Counts, Deviation

MARKER = "deviates"


def deviations_on_purpose(test: pytest.Item) -> list[str]:
    """Return each "Operation member" that a test's markers name."""
    return [name for marker in test.iter_markers(MARKER) for name in marker.args]


def judge(on_purpose: Iterable[str], deviations: Sequence[Mapping[str, Any]]) -> None:
    """Fail the test for deviations that it did not name, and for those it named that did not come to be."""
    found = [each["line"] for each in deviations if not each["on_purpose"]]
    made = {f"{each['operation']} {each['member']}" for each in deviations if each["on_purpose"]}
    found += [
        f"{name}: found as the models say, expected otherwise: take it out of the marker"
        for name in on_purpose
        if name not in made
    ]
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def read_file(path: Path) -> tuple[Counts, list[Deviation]]:
    """Read a file that a Contract wrote.

    Raises:
        ValueError: another kind of file.
    """
    first, *lines = path.read_text(encoding="utf-8").splitlines()
    try:
        return Counts(*json.loads(first)), [Deviation(**json.loads(line)) for line in lines if line.strip()]
    except TypeError as error:
        raise ValueError(f"{path}: not a file of the contract check ({error})") from error


def add_up(paths: Iterable[Path]) -> tuple[Counts, list[Deviation]]:
    """Return the counts of files together, and their deviations that nobody made on purpose, each once."""
    total = Counts()
    found: dict[Deviation, None] = {}
    for path in paths:
        counts, deviations = read_file(path)
        total = Counts(*(a + b for a, b in zip(asdict(total).values(), asdict(counts).values(), strict=True)))
        found |= dict.fromkeys(each for each in deviations if not each.on_purpose)
    return total, list(found)


def report(folder: Path) -> tuple[str, int]:
    """Return what the stand-ins of a folder found, in lines, and an exit code."""
    try:
        counts, deviations = add_up(sorted(folder.glob("*.jsonl")))
    except (OSError, ValueError) as error:
        return f"contract: {error}", 1
    said = (
        f"contract: {counts.conforming_requests:,} of {counts.requests:,} requests and"
        f" {counts.conforming_answers:,} of {counts.answers:,} answers were as AWS's models say"
        " (tests that go against them on purpose included)"
    )
    return "\n".join([*(f"contract: {each.line}" for each in deviations), said]), int(bool(deviations))


def main(arguments: Sequence[str]) -> int:
    """Report, or clear."""
    folder = topology.contract_directory()
    if "--clear" in arguments:
        for path in folder.glob("*.jsonl"):
            path.unlink()
        return 0
    said, code = report(folder)
    sys.stdout.write(f"{said}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
