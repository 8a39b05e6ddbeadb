"""The table of faults in the documentation, made of what rehearsals came to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from lab import topology
from lab.faults import MOVES
from lab.rehearsal import Rehearsal

PATH = topology.REPOSITORY / "docs" / "faults.md"

HEADER = """\
# Faults that a move is rehearsed under

Written by `make faults`, which rehearses each fault of the lab's menu; the tests compare it with what they see.
`make drill FAULT=<name>` shows one of them. Run IDs, times and paths are replaced by words; the move is always shown as
one to mode 3, from us-east-1 to ap-northeast-1.

| fault | what it does | what the operator sees | outcome | then, the same command again |
|---|---|---|---|---|
"""
# What differs from run to run.
_VARYING = (
    (re.compile(r"\d{8}T\d{6}Z-mode\w+-[0-9a-f]{4}"), "RUN"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)"), "TIME"),
    (re.compile(r"\d+(?:\.\d+)? (s|calls|per second|throttled|passes)\b"), r"N \1"),
    (re.compile(re.escape(str(topology.REPOSITORY))), "."),
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "ID"),
)


def row(rehearsal: Rehearsal) -> str:
    """Return the table's row of a rehearsal."""
    fault, under = rehearsal.fault, rehearsal.under
    line = normalised(rehearsal.line() or "", rehearsal.move.mode)
    outcome = under.outcome or "no report"
    written = " nothing was changed" if under.writes == [] else ""
    cells = [
        fault.name,
        fault.description,
        f"`{line}`",
        f"{outcome};{written}" if written else outcome,
        # Where more than one is right, chance says which it was.
        f"{' or '.join(fault.then)}; {rehearsal.lost} messages lost",
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def normalised(line: str, mode: str) -> str:
    """Return a line without what differs from run to run, as if the move had been the one to mode 3."""
    for pattern, word in _VARYING:
        line = pattern.sub(word, line)
    shown, made = MOVES["3"], MOVES[mode]
    names = {f"mode {mode}": "mode 3"}
    for old, new in ((made.source, shown.source), (made.target, shown.target)):
        names |= {old.name: new.name, str(old.address): str(new.address)}
    return re.sub("|".join(map(re.escape, names)), lambda found: names[found[0]], line)


def rows(path: Path = PATH) -> dict[str, str]:
    """Return the committed rows by the name of their fault."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {line.split(" | ")[0].removeprefix("| "): line for line in lines if line.startswith("| ")}


def write(found: Iterable[str], path: Path = PATH) -> None:
    """Write the whole page."""
    path.write_text(HEADER + "".join(f"{line}\n" for line in found), encoding="utf-8")
