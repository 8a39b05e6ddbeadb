"""docs/lifecycle.md and CONTRIBUTING.md name files that are there, and the former has a place for each journal step."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .test_runbook import first_column, section

REPOSITORY = Path(__file__).parent.parent.parent
ENGINE = REPOSITORY / "module_utils" / "region_switch"
LIFECYCLE = (REPOSITORY / "docs" / "lifecycle.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("page", "least"), [("docs/lifecycle.md", 50), ("CONTRIBUTING.md", 20)])
def test_every_file_that_is_named_is_there(page: str, least: int) -> None:
    """Relative to the repository or to the engine."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    files = re.findall(r"`([\w./]+/[\w.]+\.(?:py|yml|json|md))`", text)

    ours = [name for name in files if not name.startswith("reports/")]
    assert len(ours) >= least
    assert [name for name in ours if not (ENGINE / name).is_file() and not (REPOSITORY / name).is_file()] == []


def test_every_step_of_the_journal_has_its_place() -> None:
    explained = first_column(section("Reading the report").split("journal.jsonl")[1])
    rows = re.findall(r"^\| .* \|$", LIFECYCLE, re.MULTILINE)
    named = {step for row in rows if len(cells := row.split(" | ")) == 4 for step in re.findall(r"`(\w+)`", cells[2])}

    assert named - {"found"} == explained
