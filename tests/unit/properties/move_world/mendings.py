"""Faults that the engine had: how each comes back when its mending is taken out, and a history that shows it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from ansible.module_utils.region_switch.aws import answers
from ansible.module_utils.region_switch.fleet.roster import Roster
from ansible.module_utils.region_switch.model import approval
from ansible.module_utils.region_switch.move import clients, sweep
from ansible.module_utils.region_switch.move.disconnect import Disconnector
from ansible.module_utils.region_switch.move.guard import RecordsGuard, TargetLostError
from ansible.module_utils.region_switch.record import history
from botocore.parsers import ResponseParserFactory

from .account import ENDPOINTS, REGIONS
from .events import Appears, Fails, Kill, Off, Other, OwnWay, SetClock, Stop
from .world import At, Command, World

OLD, NEW, THIRD = REGIONS
# Times of the attributes that one fault changes.
Patches = Sequence[tuple[object, str, Any]]


@dataclass(frozen=True)
class Mending:
    """One fault.

    Attributes:
        out: what the engine has to have again for the fault to be there.
        history: what shows it: raises UntrueError where the fault is there.
    """

    out: Callable[[], Patches]
    history: Callable[[World], None]

    @contextmanager
    def taken_out(self) -> Iterator[None]:
        with ExitStack() as stack:
            for place, name, value in self.out():
                stack.enter_context(mock.patch.object(place, name, value))
            yield


def fleet(world: World, *endpoints: int, delay: float = 1.0) -> None:
    """Devices of these endpoints, by number, in the old region."""
    for number, endpoint in enumerate(endpoints):
        world.account.add(f"device{number}", ENDPOINTS[endpoint], OLD, delay=delay)
    world.pass_time(100)


def left_behind(world: World) -> None:
    """A device comes to the region that was given up after the way back from it had begun."""
    fleet(world, 0, 0, 0)
    world.account.devices["device0"].delay = 15.0
    world.account.devices["device1"].delay = 22.0
    world.carry_out(Command("2"))


def killed_while_it_reads(world: World) -> None:
    """Six clients are more than may be disconnected; a run that was killed had seen two of them."""
    fleet(world, 0, 0, 0, 0, 0, 0)
    command = Command("2", max_clients=4)
    world.carry_out(command)
    world.carry_out(command, At("SearchIndex", 5, Kill()))
    world.carry_out(command)


def come_late(world: World) -> None:
    """Clients that come to the old region during the sweep are more than may be disconnected."""
    fleet(world, 0, 0)
    late = [At("journal landing", 1, Appears(f"device{number}", ENDPOINTS[0], OLD)) for number in (2, 3)]
    world.carry_out(Command("2", max_clients=3), *late)


def stopped_at_a_pace(world: World) -> None:
    """Workers wait for their turn when the run is stopped."""
    fleet(world, 0, 0, 0, 0)
    world.carry_out(Command("2", rate=1.0), At("journal delete_connection", 1, Stop()))


def swapped(world: World) -> None:
    """Two clients that were approved to leave each have the other's destination now."""
    fleet(world, 0, 1)
    command = Command("4", approval=True)
    token = str(world.carry_out(replace(command, check=True)).result["token"])
    one, two = (world.account.devices[f"device{number}"] for number in (0, 1))
    one.endpoint, two.endpoint = two.endpoint, one.endpoint
    world.carry_out(replace(command, token=token))


def others_in_their_place(world: World) -> None:
    """As many clients as were approved, but others."""
    fleet(world, 0, 0, 0, 0, 0)
    command = Command("2", approval=True, drift=34.0)
    token = str(world.carry_out(replace(command, check=True)).result["token"])
    for number in range(4):
        world.account.devices[f"device{number}"].switch_off()
        world.account.add(f"device{number + 5}", ENDPOINTS[0], OLD)
    world.carry_out(replace(command, token=token))


def own_way(world: World) -> None:
    """The controller does not get to the endpoints that devices get to."""
    fleet(world, 0, 0, 0)
    for device in world.account.devices.values():
        device.delay = 36.0
    command = Command("2", in_flight=1, landing=60.0)
    world.carry_out(command, At("journal landed", 1, OwnWay()))


def nobody_seen(world: World) -> None:
    """AWS does not say where the clients are, all of whom have landed."""
    fleet(world, 0, 0, 0)
    world.carry_out(Command("2"), At("journal sweep", 1, Fails("failing", "GetConnection")))


def nobody_told(world: World) -> None:
    """AWS refuses to disconnect half of the clients."""
    fleet(world, 0, 0, 0, 0)
    world.carry_out(Command("2"), At("journal sweep", 1, Fails("refused", "DeleteConnection", share=2)))


def clock_set_back(world: World) -> None:
    """Somebody sets the controller's clock back by an hour during the sweep."""
    fleet(world, 0, 0, 0)
    world.carry_out(Command("2"), At("journal delete_connection", 1, SetClock(-3600.0)))


def index_unreadable(world: World) -> None:
    """A proxy answers in the place of the index."""
    fleet(world, 0, 0, 0)
    world.carry_out(Command("2"), At("journal start", 1, Fails("unreadable", "SearchIndex")))


def stayed(world: World) -> None:
    """A move is taken back that also moved clients of a name whose record it had not to change."""
    fleet(world, 0, 1, 1)
    world.carry_out(Command("2", restore=False), At("journal sweep", 1, Stop()))
    world.account.devices["device1"].delay = 28.0
    world.carry_out(Command("4"))


def stopped_on_the_way_back(world: World) -> None:
    """The run is stopped while the clients of a move that did not land are brought back."""
    fleet(world, 0, 0, 0)
    world.account.devices["device1"].delay = 28.0
    world.carry_out(Command("2", rate=1.0), At("DeleteConnection", 4, Stop()))


def at_the_same_time(world: World) -> None:
    """Two controllers each move one name at the same time."""
    fleet(world, 0, 1)
    world.carry_out(Command("2"), At("SearchIndex", 1, Other(Command("3"))))


def from_a_third_region(world: World) -> None:
    """A move is taken back that also moved a client which had been in neither of the two regions."""
    fleet(world, 0, 0)
    world.account.add("device2", ENDPOINTS[0], THIRD)
    world.account.devices["device1"].delay = 28.0
    world.pass_time(100)
    run = world.carry_out(Command("2"))
    steps = [json.loads(line) for line in (Path(run.result["report"]) / "journal.jsonl").open(encoding="utf-8")]
    returned = next(step for step in steps if step["step"] == "returned")
    if (returned["told"], returned["back"]) != (3, 3):
        world.untrue(run, f"{returned}, expected three of three")
    world.carry_out(Command("1", check=True))


def dead_when_resumed(world: World) -> None:
    """The region that is left falls silent after the run was killed."""
    fleet(world, 0, 0, 0)
    world.carry_out(Command("2"), At("DeleteConnection", 1, Kill()))
    world.carry_out(Command("2"), At("journal start", 1, Fails("silent", "", OLD)))


def came_since(world: World) -> None:
    """A run is killed when everybody has landed, and a client comes to the old region before the next."""
    fleet(world, 0, 0)
    world.carry_out(Command("2"), At("SearchIndex", 4, Kill()))
    world.account.add("device5", ENDPOINTS[0], OLD)
    world.pass_time(60)
    world.carry_out(Command("2"))


def _give_each_other_s_endpoint(world: World, *names: str) -> None:
    one, two = (world.account.devices[name] for name in names)
    one.endpoint, two.endpoint = two.endpoint, one.endpoint


def swapped_when_resumed(world: World) -> None:
    """A run is killed when the records have changed; before it is resumed two things change their endpoints."""
    fleet(world, 0, 1, 0)
    world.carry_out(Command("2"), At("ChangeResourceRecordSets", 1, Kill()))
    _give_each_other_s_endpoint(world, "device0", "device1")
    world.pass_time(5)
    world.carry_out(Command("2"))


def swapped_on_the_way(world: World) -> None:
    """As before, but the run is killed when it has told somebody to leave, who belongs where he was by now."""
    fleet(world, 0, 1, 0)
    world.account.devices["device0"].delay = world.account.devices["device2"].delay = 28.0
    world.carry_out(Command("2"), At("DeleteConnection", 2, Kill()))
    _give_each_other_s_endpoint(world, "device0", "device1")
    world.carry_out(Command("2"))
    world.carry_out(Command("2"))


def answers_when_resumed(world: World) -> None:
    """A region that did not answer the run that was killed answers the one that goes on from it."""
    fleet(world, 0, 0, 0)
    world.account.add("device3", ENDPOINTS[0], THIRD)
    world.carry_out(Command("1"), At("SearchIndex", 4, Kill()), At("journal start", 1, Fails("silent", "", THIRD)))
    run = world.carry_out(Command("1"))
    if run.outcome != "moved":
        world.untrue(run, run.outcome)
    world.carry_out(Command("1", check=True))


def late_and_dark(world: World) -> None:
    """Everybody has landed, and one that came late does not come to the new region: nobody is sent back for it."""
    fleet(world, 0, 0, 0)
    run = world.carry_out(Command("2"), At("journal landing", 1, Appears("device5", ENDPOINTS[0], OLD, delay=500.0)))
    if run.outcome != "partial" or "device5" not in run.error:
        world.untrue(run, f"{run.outcome}: {run.error}")
    world.carry_out(Command("2", check=True))


def canary_off(world: World) -> None:
    """The canary is switched off between plan and sweep; another takes its place, and the others are moved."""
    fleet(world, 0, 0, 0, 0, 0)
    first = min(world.account.devices, key=lambda name: zlib.crc32(name.encode()))
    run = world.carry_out(Command("2", waves=(20,)), At("journal sweep", 1, Off(first)))
    there = {name for name, device in world.account.devices.items() if device.region == NEW}
    if run.outcome != "partial" or there != set(world.account.devices) - {first} or first not in run.error:
        world.untrue(run, f"{run.outcome}, {sorted(there)} were moved: {run.error}")
    world.carry_out(Command("2", check=True))


def _interrupted(root: Path, desired: dict[str, str], _since: float) -> Path | None:
    """As it was: any run without an end counts."""
    newest = max(root.glob("2*/journal.jsonl"), default=None)
    if newest is None:
        return None
    steps = [json.loads(line) for line in newest.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    if not steps or steps[0].get("desired") != desired or any(each["step"] == "end" for each in steps):
        return None
    return newest.parent


def _all_missing(roster: Roster, wave: int) -> tuple[int, int]:
    told = "wave = ? AND kicks > 0 AND state NOT IN ('placed', 'landed')"
    return roster._count(told, wave), 0


def _untold_missing(roster: Roster, wave: int) -> tuple[int, int]:
    return roster._count("wave = ? AND state NOT IN ('placed', 'landed')", wave), 0


def _digest_of_names(roster: Roster) -> str:
    return approval.digest(approval.line((client, region, "")) for client, region, _ in roster.leaving())


def _by_the_wall_clock() -> Patches:
    take_told, tell = Roster.take_told, Disconnector.move
    last: list[Disconnector] = []

    def telling(sweeper: Disconnector, client: Any) -> Any:
        last[:] = [sweeper]
        told = tell(sweeper, client)
        return replace(told, at=told.epoch)

    def taking(roster: Roster, now: float, limit: int) -> Any:
        return take_told(roster, last[0].runtime.now() if last else now, limit)

    return [(Disconnector, "move", telling), (Roster, "take_told", taking), (Roster, "not_landed", _all_missing)]


def _lost(_guard: RecordsGuard, region: str, *_: object) -> TargetLostError:
    return TargetLostError(f"region {region}: found no answer")


MENDINGS = {
    "told_again_without_a_wave": Mending(lambda: [(sweep, "NO_WAVE", -1)], left_behind),
    "killed_while_it_reads_the_fleet": Mending(lambda: [(history, "interrupted", _interrupted)], killed_while_it_reads),
    "later_rounds_pass_limits": Mending(lambda: [(clients, "_refuse_late", lambda *_: None)], come_late),
    "stopped_workers_send": Mending(lambda: [(Disconnector, "stop", lambda _: None)], stopped_at_a_pace),
    "token_without_destinations": Mending(lambda: [(Roster, "client_digest", _digest_of_names)], swapped),
    "drift_by_numbers": Mending(
        lambda: [(approval.Difference, "within", lambda each, drift: abs(each.came - each.gone) <= drift)],
        others_in_their_place,
    ),
    "own_way_lost": Mending(lambda: [(RecordsGuard, "_lost_or_unreachable", _lost)], own_way),
    "unseen_taken_for_missing": Mending(lambda: [(Roster, "not_landed", _all_missing)], nobody_seen),
    "untold_taken_for_missing": Mending(lambda: [(Roster, "not_landed", _untold_missing)], nobody_told),
    "unreadable_taken_for_empty": Mending(
        lambda: [(answers.Parsers, "create_parser", ResponseParserFactory.create_parser)], index_unreadable
    ),
    "clock_set_back": Mending(_by_the_wall_clock, clock_set_back),
}
# What the search found, and what has been mended since.
FOUND = [
    swapped_when_resumed,
    swapped_on_the_way,
    answers_when_resumed,
    late_and_dark,
    canary_off,
    stayed,
    from_a_third_region,
    at_the_same_time,
    dead_when_resumed,
    stopped_on_the_way_back,
    came_since,
]
