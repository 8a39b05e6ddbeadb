"""The faults of the menu that `make test` leaves out."""

from __future__ import annotations

import pytest

from lab.faults import FAULTS, Fault
from lab.sabotage import Move

from ..lab.test_faults import OFTEN, assert_handled, move, rows

__all__ = ["move", "rows"]


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.name not in OFTEN], ids=lambda fault: fault.name)
def test_fault_is_handled_as_the_menu_says(move: Move, rows: dict[str, str], fault: Fault) -> None:
    assert_handled(move, rows, fault)
