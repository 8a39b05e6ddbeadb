"""Generated histories of moves, many more of them; and the search finds every fault that the engine once had."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from ..unit.properties.move_world.history import Histories
from ..unit.properties.move_world.mendings import MENDINGS
from ..unit.properties.move_world.world import UntrueError

SEARCH = settings(
    max_examples=2000, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck), database=None,
    print_blob=True, derandomize=False,
)  # fmt: skip
# Found is found: nobody reads the shortest history of a fault that was put there.
FIND = settings(SEARCH, max_examples=1000, derandomize=True, phases=[Phase.generate])


@pytest.mark.timeout(3 * 3600)
def test_other_histories_each_time() -> None:
    run_state_machine_as_test(Histories, settings=SEARCH)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", MENDINGS)
def test_the_search_finds(name: str) -> None:
    with MENDINGS[name].taken_out(), pytest.raises(UntrueError):
        run_state_machine_as_test(Histories, settings=FIND)
