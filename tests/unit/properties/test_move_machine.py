"""Whatever is asked, fails, crashes or comes to pass: records and clients are where somebody asked for them to be.

`make soak` searches longer, and has the search find each fault of `move_world/mendings.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

from .move_world import mendings
from .move_world.history import Histories
from .move_world.mendings import MENDINGS
from .move_world.world import UntrueError, World


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


@pytest.mark.parametrize("name", MENDINGS)
def test_a_mended_fault_does_not_show(world: World, name: str) -> None:
    MENDINGS[name].history(world)


@pytest.mark.parametrize("name", MENDINGS)
def test_a_fault_shows_where_its_mending_is_taken_out(world: World, name: str) -> None:
    with MENDINGS[name].taken_out(), pytest.raises(UntrueError):
        MENDINGS[name].history(world)


@pytest.mark.parametrize("history", mendings.FOUND, ids=lambda history: history.__name__)
def test_histories_that_were_wrong_once(world: World, history: Callable[[World], None]) -> None:
    history(world)


TestHistories = Histories.TestCase
# The shortest history of a failure takes minutes to find: `make soak` does that.
TestHistories.settings = settings(
    max_examples=settings().max_examples * 2 // 5, stateful_step_count=8, suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)  # fmt: skip
