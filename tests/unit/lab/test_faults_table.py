"""The table of faults: what differs from run to run is not in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import topology
from lab.faults import FAULTS, MOVES, find
from lab.rehearsal import Rehearsal, Seen
from tests.lab import faults_table


@pytest.mark.parametrize(
    ("line", "mode", "shown"),
    [
        ("report: reports/20261123T204500Z-mode3-0f3a", "3", "report: reports/RUN"),
        (f"lock {topology.REPOSITORY}/.lock since 2026-11-23T20:45:00.123Z", "3", "lock ./.lock since TIME"),
        ("dns: 12.5 s left, 3 s at least", "3", "dns: N s left, N s at least"),
        ("sweep: 94 calls, 21.5 per second, 32 throttled", "3", "sweep: N calls, N per second, N throttled"),
        ("mode 1: mqtt1: ap-northeast-1 -> us-east-1", "1", "mode 3: mqtt1: us-east-1 -> ap-northeast-1"),
        ("no answer of us-east-1 at 198.18.83.101:8883", "1", "no answer of ap-northeast-1 at 198.18.83.102:8883"),
        ("mode 3: mqtt1: us-east-1 -> ap-northeast-1", "3", "mode 3: mqtt1: us-east-1 -> ap-northeast-1"),
        ("certificate 0123456789abcdef is INACTIVE", "3", "certificate ID is INACTIVE"),
    ],
)  # fmt: skip
def test_line_is_shown_as_of_one_move(line: str, mode: str, shown: str) -> None:
    assert faults_table.normalised(line, mode) == shown


def test_row_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    seen = Seen(1, ["changed by someone else | us-east-1"], None, [], [])
    found = Rehearsal(find("record-changed"), MOVES["3"], seen, seen, 0)

    faults_table.write([faults_table.row(found)], tmp_path / "page.md")

    assert faults_table.rows(tmp_path / "page.md")["record-changed"] == faults_table.row(found)
    assert faults_table.row(found).endswith(
        "| `changed by someone else \\| us-east-1` | no report; nothing was changed | moved; 0 messages lost |"
    )


def test_page_has_every_fault_of_the_menu_in_its_order() -> None:
    named = [name for name in faults_table.rows() if name not in ("fault", "---")]

    assert named == [fault.name for fault in FAULTS]


def test_names_of_faults_are_words() -> None:
    assert all(fault.name.replace("-", "").isalnum() for fault in FAULTS)
