"""The fault menu, and how a rehearsal of one is judged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lab import faults
from lab.errors import LabError
from lab.faults import FAULTS, MOVES, Fault
from lab.rehearsal import Rehearsal, Seen, operator_line

MOVED = {"outcome": "moved", "clients": {"stragglers": 0, "bounced": 0}}
SOURCE, TARGET = "us-east-1", "ap-northeast-1"


def test_menu_has_a_line_for_each_fault() -> None:
    lines = faults.menu()

    assert [line.split()[0] for line in lines] == [fault.name for fault in FAULTS]
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert all("\n" not in line for line in lines)


def test_unknown_fault_is_answered_with_the_menu_s_names() -> None:
    with pytest.raises(LabError, match=r"^fault none-such: found no such fault, expected one of api-throttled, .*$"):
        faults.find("none-such")
    assert faults.find("dns-lag").name == "dns-lag"


def rehearsal(name: str, then: Seen | None = None, lost: int = 0, **under: Any) -> Rehearsal:
    """What a rehearsal looks like in which the move succeeds, but for what is given."""
    seen = Seen(0, ["clients: 2 of 2 in their region, 0 stragglers, 0 bounced"], MOVED, [], [TARGET, TARGET])
    return Rehearsal(faults.find(name), MOVES["3"], replace(seen, **under), then or seen, lost)


def latency(**expected: Any) -> Fault:
    return replace(faults.find("api-latency"), **expected)


def test_fault_that_is_handled_has_no_problems() -> None:
    found = replace(rehearsal("api-latency"), fault=latency(then=("moved",)))

    assert found.problems() == []
    assert found.line() == "clients: 2 of 2 in their region, 0 stragglers, 0 bounced"


@pytest.mark.parametrize(
    ("under", "named"),
    [
        ({"summary": {**MOVED, "outcome": "failed"}}, "outcome: found failed, expected moved"),
        ({"summary": None}, "outcome: found None, expected moved"),
        ({"returncode": 2}, "exit code: found 2"),
        ({"lines": ["something else"]}, "lines: found none that matches"),
        ({"records": [SOURCE, TARGET]}, "records: found ['us-east-1', 'ap-northeast-1'], expected"),
        ({"writes": ["DeleteConnection"]}, "writes: found ['DeleteConnection'], expected []"),
        ({"summary": {**MOVED, "clients": {"stragglers": 0, "bounced": 1}}}, "bounced: found 1, expected 0"),
        ({"summary": {**MOVED, "clients": {"stragglers": 2, "bounced": 0}}}, "stragglers: found 2, expected 0"),
    ],
)
def test_what_is_not_as_expected_under_the_fault_is_named(under: dict[str, Any], named: str) -> None:
    found = replace(rehearsal("api-latency", **under), fault=latency(then=("moved",), writes=()))

    assert len(found.problems()) == 1
    assert found.problems()[0].startswith(named)


def test_what_is_not_as_expected_afterwards_is_named() -> None:
    found = rehearsal("api-latency", lost=3)

    assert found.problems() == [
        "outcome afterwards: found moved, expected unchanged",
        "messages: found 3 lost, expected 0",
    ]


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ('fatal: [localhost]: FAILED! => {"changed": false, "msg": "refused: 1 reason"}\n', "refused: 1 reason"),
        ("fatal: [localhost]: FAILED! => not JSON\n", "fatal: [localhost]: FAILED! => not JSON"),
        ("    sweep: 2 clients\n", "sweep: 2 clients"),
        ('        "mode 3: moved",\n', "mode 3: moved"),
        ('    "msg": [\n', None),
        ("    ]\n", None),
        ("TASK [failover : Move the fleet] ****\n", None),
        ("changed: [localhost]\n", None),
        ("\n", None),
        ("[ERROR]: Task failed: Module failed: refused: 1 reason\n", None),
        ("    ^ column 7\n", None),
        ("[ERROR]: no such playbook\n", "[ERROR]: no such playbook"),
    ],
)  # fmt: skip
def test_operator_lines_are_what_is_said_of_the_move(raw: str, line: str | None) -> None:
    assert operator_line(raw) == line
