"""What a run of `make mutants` comes to: survivors are found again where lines moved, and too many of them fail it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mutants.__main__ import ROOT, known_modules, known_survivors
from tests.mutants.diff import describe
from tests.mutants.survivors import judge

SOURCE = '''\
"""A module."""

LIMIT = 5


class Bucket:
    """A bucket."""

    @property
    def full(self) -> bool:
        return self.level >= LIMIT and not (
            self.leaks
        )


def fill(bucket):
    bucket.level += 1
'''
KEY = {"where": "Bucket.full", "old": "return a", "new": "return b"}


@pytest.mark.parametrize(
    ("old", "new", "described"),
    [
        ("LIMIT = 5", "LIMIT =  6", {"where": "", "old": "LIMIT = 5", "new": "LIMIT = 6"}),
        ("level += 1", "level += 2", {"where": "fill", "old": "bucket.level += 1", "new": "bucket.level += 2"}),
        ("    @property\n", "", {"where": "Bucket.full", "old": "@property", "new": ""}),
        (
            "    return self.level >= LIMIT and not (\n            self.leaks\n        )\n",
            "    pass\n",
            {"where": "Bucket.full", "old": "return self.level >= LIMIT and not (self.leaks )", "new": "pass"},
        ),
    ],
)
def test_a_mutant_is_described_by_its_function_and_its_text(old: str, new: str, described: dict[str, str]) -> None:
    assert describe(SOURCE, SOURCE.replace(old, new)) == described
    moved = f"# One line more.\n{SOURCE}"
    assert describe(moved, moved.replace(old, new)) == described


def mutants(survived: int, of: int) -> list[dict[str, Any]]:
    return [{**KEY, "old": str(n), "outcome": "survived" if n < survived else "killed"} for n in range(of)]


def listed(*numbers: int, **more: Any) -> list[dict[str, Any]]:
    return [{**KEY, "module": "pace", "old": str(number), "reason": "why", **more} for number in numbers]


def test_equivalent_mutants_count_neither_as_survivors_nor_as_mutants() -> None:
    verdict = judge("pace", mutants(survived=3, of=42), listed(0, 1))

    assert (verdict.tested, verdict.equivalent, verdict.survived) == (40, 2, 1)
    assert (verdict.share, verdict.failed) == (0.025, False)
    assert verdict.unknown == [("Bucket.full", "2", "return b")]


@pytest.mark.parametrize(("survived", "failed"), [(5, False), (6, True)])
def test_more_than_a_twentieth_of_survivors_fails(survived: int, failed: bool) -> None:
    assert judge("pace", mutants(survived, of=100), []).failed is failed


def test_a_survivor_with_a_reason_counts_where_it_is_not_equivalent() -> None:
    verdict = judge("pace", mutants(survived=1, of=10), listed(0, equivalent=False))

    assert (verdict.survived, verdict.unknown, verdict.failed) == (1, [], True)


def test_entries_of_mutants_that_are_killed_or_gone_are_told() -> None:
    verdict = judge("pace", mutants(survived=1, of=2), [*listed(0, 1, 2), *listed(3, module="waves")])

    assert [old for _, old, _ in verdict.stale] == ["1", "2"]


def test_what_was_not_noticed_in_time_was_noticed() -> None:
    assert judge("pace", [{**KEY, "outcome": "late"}], []).survived == 0


def test_a_module_without_mutants_does_not_fail() -> None:
    assert not judge("pace", [], []).failed


def test_every_module_and_its_tests_are_there_and_every_survivor_has_a_reason() -> None:
    table = known_modules()

    assert {module["file"] for module in table.values() if not (ROOT / module["file"]).is_file()} == set()
    assert {
        test for module in table.values() for test in module["tests"] if not (ROOT / test.partition("::")[0]).is_file()
    } == set()
    assert {entry["module"] for entry in known_survivors()} <= set(table)
    assert all(entry["reason"].strip() for entry in known_survivors())
