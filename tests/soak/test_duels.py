"""Two controllers at the same time, in many ways; and two processes that move the fleet of the stand-in."""

from __future__ import annotations

from collections import Counter

import pytest

from ..unit.properties.move_world.duel import fight

DUELS = 500


@pytest.mark.timeout(1800)
def test_hundreds_of_duels_of_two_controllers() -> None:
    ends: Counter[tuple[str, str]] = Counter()
    for seed in range(DUELS):
        duel = fight(seed)
        ends[duel.first.outcome, duel.second.outcome if duel.second else "did not begin"] += 1
    print("; ".join(f"{count} x {first} and {second}" for (first, second), count in ends.most_common()))  # noqa: T201
    fought = DUELS - sum(count for (_, second), count in ends.items() if second == "did not begin")
    assert fought > DUELS * 3 / 4
    assert {first for first, _ in ends} >= {"moved", "failed", "rolled_back", "refused"}
