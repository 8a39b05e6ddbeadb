"""Names of checks, by which findings are waived."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible.module_utils.region_switch.model.errors import RefusedError
from ansible.module_utils.region_switch.model.findings import CHECKS, Finding, check_waived

ENGINE = Path(__file__).parents[3] / "module_utils" / "region_switch"


def test_every_check_can_be_waived_and_nothing_else() -> None:
    text = "".join(path.read_text() for path in ENGINE.rglob("*.py"))
    found = set(re.findall(r"(?:_blocking|Finding|unanswered)\(\s*\"(\w+)\"", text))
    bounds = set(re.findall(r"^            \"(\w+)\", ", (ENGINE / "model" / "approval.py").read_text(), re.MULTILINE))

    assert bounds == {"max_clients", "max_endpoints", "share"}
    assert found | bounds == CHECKS
    check_waived(CHECKS)


@pytest.mark.parametrize("name", ["Quota", "", "all", "quota "])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(RefusedError, match=r"^waive: found .*, expected the name of a check such as "):
        check_waived([name])


@pytest.mark.parametrize(
    ("found", "expected", "advice", "line"),
    [
        (
            "TTL 300 s",
            "60 s",
            "run setup.yml",
            "record_ttl (a.example.com): found TTL 300 s, expected 60 s: run setup.yml",
        ),
        ("no record", "", "run setup.yml", "record_ttl (a.example.com): no record: run setup.yml"),
        (
            "resolver x: is no address: correct it",
            "",
            "",
            "record_ttl (a.example.com): resolver x: is no address: correct it",
        ),
    ],
)
def test_line_compares_only_where_something_is_expected(found: str, expected: str, advice: str, line: str) -> None:
    assert Finding("record_ttl", True, "", "a.example.com", found, expected, advice).line() == line
