"""Two controllers with modes of their own at the same time, and what may come of it."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import Any

from .account import ENDPOINTS, HOSTS, record
from .events import POINTS, Other
from .world import MODES, At, Command, Run, UntrueError, World

# Modes that move different endpoints, the same, and some of both; each against each, and against itself.
REACHED = [point for point in POINTS if not point.endswith(("again", "restore", "restored", "returned"))]
PAIRS = list(itertools.product(sorted(MODES), repeat=2))


@dataclass(frozen=True)
class Duel:
    """What was tried, and what came of it."""

    start: str
    first: Run
    second: Run | None

    def __str__(self) -> str:
        runs = [each for each in (self.first, self.second) if each]
        said = "; ".join(f"{each.command.mode}: {each.outcome} {each.error}" for each in runs)
        return f"from mode {self.start}, {said}"


def fight(seed: int) -> Duel:
    """Have a second controller begin at some point of the first one's run.

    Raises:
        UntrueError: records that no mode has, a client elsewhere than its record and nobody told, or a loser who does
            not learn what the other did.
    """
    chance = random.Random(seed)
    world = World(seed)
    try:
        landing = chance.choice([20.0, 60.0, 60.0])
        first, second = (Command(mode, landing=landing) for mode in PAIRS[seed % len(PAIRS)])
        start = chance.choice([mode for mode in sorted(MODES) if mode != first.mode])
        _begin(world, start, chance)
        event = At(chance.choice(REACHED), chance.choice([1, 1, 1, 2]), Other(second))
        run = world.carry_out(first, event)
        others = [each for each in world.runs if each.controller == "second"]
        duel = Duel(start, run, others[0] if others else None)
        _judge(world, duel)
        return duel
    finally:
        world.close()


def _begin(world: World, start: str, chance: random.Random) -> None:
    regions = MODES[start]
    sets: dict[str, dict[str, Any]] = {name: record(name, HOSTS[region]) for name, region in regions.items()}
    world.account.zone.write(sets)
    for number in range(6):
        endpoint = ENDPOINTS[number % 2]
        delay, caches = chance.choice([0.5, 3.0, 28.0]), chance.random() < 0.3
        world.account.add(f"device{number}", endpoint, regions[endpoint], delay=delay, caches=caches)
    world.account.index_lag = chance.choice([0.0, 0.0, 4.0])
    world.pass_time(100)


def _judge(world: World, duel: Duel) -> None:
    where = world.account.where()
    if where not in MODES.values():
        raise UntrueError(f"the records are {where}, which no mode has: {duel}")
    runs = [each for each in (duel.first, duel.second) if each]
    # Who is on its way when the last run ends has a moment to come.
    world.pass_time(60)
    told = [each for each in runs if each.outcome not in ("moved", "unchanged")]
    if (wrong := world.misplaced(where)) and not told:
        raise UntrueError(f"{sorted(wrong)} are elsewhere than their records, and nobody was told: {duel}")
    for run in told:
        _judge_loser(run, duel)


def _judge_loser(run: Run, duel: Duel) -> None:
    """One whose records somebody else has changed says so, and what they are."""
    if run.left in (run.desired, run.before or run.desired):
        return
    found = [f"{name} = {HOSTS[region]}" for name, region in run.left.items()]
    found += [f"{name}: found {HOSTS[region]}" for name, region in run.left.items()]
    if not any(each in run.error for each in found) or not any(
        words in run.error for words in ("changed by someone else", "somebody else changes it")
    ):
        raise UntrueError(f"the line does not name the other's change to {run.left}: {duel}")
