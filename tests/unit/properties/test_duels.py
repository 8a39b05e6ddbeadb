"""Two controllers at the same time: never records that no mode has, and whoever loses is told what the other did.

`make soak` has the long form.
"""

from __future__ import annotations

import pytest

from .move_world.duel import PAIRS, fight


@pytest.mark.parametrize("seed", range(len(PAIRS)), ids=lambda seed: "{} and {}".format(*PAIRS[seed]))
def test_each_pair_of_modes_once(seed: int) -> None:
    fight(seed)


# What was wrong once: who took another's switch for its own restored it; who was on its way back did not look at the
# records, nor did who found nobody to move; and nobody looked in the end.
@pytest.mark.parametrize("seed", [2, 21, 68, 121, 267, 337])
def test_duels_that_ended_wrong_once(seed: int) -> None:
    fight(seed)
