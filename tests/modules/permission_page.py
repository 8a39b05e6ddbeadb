"""docs/iam.md: the actions of the policies, the step that needs each, and what is read where it is missing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .conftest import REPOSITORY
from .permission_walk import Needed

PATH = REPOSITORY / "docs" / "iam.md"
BEGIN = """\
# Permissions, action by action

Written by `make permissions`, which makes each step of the playbooks with nothing allowed but what was needed so far; a
test compares it. How the policies are written for an inventory: [AWS](aws.md#permissions). IDs are replaced by words.

An action stands at the first step that says that it is missing. Others may need it as well, and some go on without: of
`iot:GetStatistics`, readiness takes it that nobody is connected. `sts:GetCallerIdentity` needs no permission.
"""
TITLES = {"iam-setup.json": "To set up", "iam-failover.json": "To move, and to look on"}
HEADER = "| action | step | what the operator reads without it |\n|---|---|---|\n"
# What differs from run to run.
_IDS = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"change/\w+"), "change/ID"),
    # Which of two regions answers first is chance.
    (re.compile(r"\b(us-east-1|ap-northeast-1)\b"), "REGION"),
    (re.compile(r"; or, to leave REGION without asking(?: it)?, name it in failover_source_gone"), ""),
)


def row(needed: Needed) -> str:
    line = needed.line
    for pattern, word in _IDS:
        line = pattern.sub(word, line)
    return f"| `{needed.action}` | {needed.where} | `{line.strip()}` |"


def rows(name: str) -> list[str]:
    """The rows of a policy on the page, sorted."""
    text = PATH.read_text() if PATH.exists() else ""
    section = text.partition(f"## {TITLES[name]}\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| `")]


def write(name: str, found: Sequence[str]) -> None:
    """Write the rows of a policy; those of the other stay."""
    known = {each: rows(each) for each in TITLES} | {name: list(found)}
    parts = [f"\n## {title}\n\n[`{each}`]({each})\n\n{HEADER}" + "".join(f"{line}\n" for line in known[each])
             for each, title in TITLES.items()]  # fmt: skip
    PATH.write_text(BEGIN + "".join(parts))
