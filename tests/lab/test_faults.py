"""Every fault of the menu: a move under it ends as it has to, the operator is told, and nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lab import rehearsal
from lab.faults import FAULTS, MOVES, Fault
from lab.sabotage import Move

from . import faults_table
from .conftest import StandIn, failover

# The variable makes a run write the rows that it is compared with otherwise.
WRITE = "WRITE_FAULTS"
# The others are in tests/soak: they take as long again, and what they go through is tested without a lab, too.
OFTEN = {
    *("controller-killed", "delete-connection-500", "device-without-policy", "record-changed", "source-dead"),
    "target-dies",
}


@pytest.fixture(scope="module")
def rows() -> Iterator[dict[str, str]]:
    """The rows of the table so far, by the name of their fault."""
    found: dict[str, str] = {}
    yield found
    if os.environ.get(WRITE):
        known = faults_table.rows() | found
        faults_table.write(known[fault.name] for fault in FAULTS if fault.name in known)


@pytest.fixture
def move(fleet: dict[str, str], stand_in: StandIn) -> Move:
    """The move to the other region: whichever the fleet is in, it leaves it."""
    found = next((each for each in MOVES.values() if rehearsal.record_regions() == [each.source.name] * 2), MOVES["3"])
    if any(stand_in.connected_regions(client) != [found.source.name] for client in fleet):
        failover(_mode_of(found.source.name))
    rehearsal.wait_for_arrivals(_mode_of(found.source.name))
    return found


def _mode_of(region: str) -> str:
    return next(each.mode for each in MOVES.values() if each.target.name == region)


def assert_handled(move: Move, rows: dict[str, str], fault: Fault) -> None:
    said: list[str] = []

    found = rehearsal.rehearse(fault, move, said.append)

    assert found.problems() == [], "\n".join(said)
    rows[fault.name] = faults_table.row(found)
    if not os.environ.get(WRITE):
        assert faults_table.rows()[fault.name] == rows[fault.name]


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.name in OFTEN], ids=lambda fault: fault.name)
def test_fault_is_handled_as_the_menu_says(move: Move, rows: dict[str, str], fault: Fault) -> None:
    assert_handled(move, rows, fault)
