"""docs/lifecycle.md: each file that it names is there, and each step of the journal has its place."""

from __future__ import annotations

import re
from pathlib import Path

from .test_runbook import first_column, section

REPOSITORY = Path(__file__).parent.parent.parent
ENGINE = REPOSITORY / "module_utils" / "region_switch"
LIFECYCLE = (REPOSITORY / "docs" / "lifecycle.md").read_text(encoding="utf-8")
FILES = re.findall(r"`([\w./]+/[\w.]+\.(?:py|yml))`", LIFECYCLE)


def test_every_file_that_a_step_names_is_there() -> None:
    assert len(FILES) > 50
    assert [name for name in FILES if not (ENGINE / name).is_file() and not (REPOSITORY / name).is_file()] == []


def test_every_step_of_the_journal_has_its_place() -> None:
    explained = first_column(section("Reading the report").split("journal.jsonl")[1])
    rows = re.findall(r"^\| .* \|$", LIFECYCLE, re.MULTILINE)
    named = {step for row in rows if len(cells := row.split(" | ")) == 4 for step in re.findall(r"`(\w+)`", cells[2])}

    assert named - {"found"} == explained
