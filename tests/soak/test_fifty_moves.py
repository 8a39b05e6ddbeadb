"""Fifty moves in a row between two modes: every client lands each time, and not one message is lost."""

from __future__ import annotations

import time

import pytest

from lab import rehearsal

from ..lab.conftest import StandIn
from ..lab.moves import move_and_prove

MOVES = 50


@pytest.mark.timeout(3600)
def test_fifty_moves_in_a_row(fleet: dict[str, str], stand_in: StandIn) -> None:
    began = time.time()
    for number in range(MOVES):
        move_and_prove(fleet, stand_in, "1" if number % 2 else "3")

    assert rehearsal.lost_since(began) == 0
