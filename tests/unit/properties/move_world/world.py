"""Controllers that move the fleet of an account with the real engine, and the truth that they are held to."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from ansible.module_utils.region_switch import report
from ansible.module_utils.region_switch.aws import paced
from ansible.module_utils.region_switch.aws.token_bucket import TokenBucket
from ansible.module_utils.region_switch.checks import preflight
from ansible.module_utils.region_switch.checks.probe import ProbeError
from ansible.module_utils.region_switch.dns import gate
from ansible.module_utils.region_switch.fleet import roster, stream
from ansible.module_utils.region_switch.model.errors import SwitchError
from ansible.module_utils.region_switch.model.options import Options
from ansible.module_utils.region_switch.module import FailedResultError
from ansible.module_utils.region_switch.move import course, guard, lock, run, survey, sweep
from ansible.module_utils.region_switch.move.interrupt import Interrupted
from ansible.module_utils.region_switch.move.runtime import Runtime
from ansible.module_utils.region_switch.record import environment, journal, summary

from .account import ATTRIBUTE, ENDPOINTS, EPOCH, REGIONS, Account, Answer, WorldAws
from .scheduler import Event, Pool, Process, Queue, Scheduler, wait
from .zone import NAME_SERVERS, RESOLVER, TTL

A, B, C = REGIONS
MODES = {
    "1": {ENDPOINTS[0]: A, ENDPOINTS[1]: A},
    "2": {ENDPOINTS[0]: B, ENDPOINTS[1]: A},
    "3": {ENDPOINTS[0]: A, ENDPOINTS[1]: C},
    "4": {ENDPOINTS[0]: B, ENDPOINTS[1]: C},
}
LANDING_TIMEOUT = 20.0
# Seconds in which what a run has just seen may have become another thing without its knowing.
MOMENT = 5.0
# Memory, where there is such a file system: every step of a journal is synchronised.
_SHM = Path("/dev/shm")  # noqa: S108 - folders of random names are made there


class UntrueError(AssertionError):
    """What a run did or said is not what may be."""


@dataclass(frozen=True)
class Command:
    """What an operator types.

    Attributes:
        max_clients: 0 for no limit; waves: cumulative percents; drift: percent.
        rate: DeleteConnection per second; landing: seconds.
    """

    mode: str = "1"
    check: bool = False
    rollback: bool = False
    max_clients: int = 0
    waves: tuple[int, ...] = ()
    approval: bool = False
    token: str = ""
    drift: float = 0.0
    rate: float = 100.0
    restore: bool = True
    in_flight: int = 0
    landing: float = LANDING_TIMEOUT

    def options(self, folder: Path) -> Options:
        chosen: Answer = {
            "mode": None if self.rollback else self.mode, "modes": MODES, "endpoints": ENDPOINTS, "regions": REGIONS,
            "hosted_zone_id": "Z1", "ttl": TTL, "resolvers": [RESOLVER], "name_servers": NAME_SERVERS,
            "dns_consecutive": 2, "dns_timeout": 40.0, "endpoint_attribute": ATTRIBUTE,
            "delete_connection_rate": self.rate, "waves": list(self.waves), "landing_timeout": self.landing,
            "max_in_flight": self.in_flight,
            "restore": self.restore, "require_approval": self.approval, "approve": self.token or None,
            "approval_drift": self.drift, "max_clients": self.max_clients, "reports_directory": str(folder),
            "rollback": self.rollback,
        }  # fmt: skip
        return Options.of(chosen)


@dataclass(frozen=True)
class Approval:
    """A plan that check mode has shown: who leaves from where to where, under which command and records."""

    command: Command
    records: dict[str, str]
    leaving: frozenset[tuple[str, str, str]]

    def to(self, target: str) -> int:
        return sum(target == each[2] for each in self.leaving)


@dataclass
class At:
    """Something that happens to a run when it passes a point, such as `SearchIndex` or `journal plan`, for the so
    manieth time."""

    point: str
    number: int
    event: Callable[[Run], None]


class Run(Process):
    """A command being carried out, and what it did.

    Attributes:
        desired: `{endpoint: region}` that it was asked for; before: the records when it first changed them.
        sent, fulfilled: clients that it told to leave, on the way there; sent_back: on the way back.
        misplaced: `(client ID, region)` of those who were in a wrong region when it made its plan.
        known: those of them whom its plan had to know, or that of the killed run that it goes on from.
        found: `(client ID, region, endpoint)` of everyone that the index told it of.
        skipped: regions of which it says that their API does not answer.
        searched: when it last began to search a region.
        others_wrote: when another run last changed the records; left: the records when it ended.
    """

    def __init__(self, world: World, controller: str, command: Command, events: list[At]) -> None:
        super().__init__(controller)
        self.world = world
        self.controller = controller
        self.command = command
        self.events = events
        self.counts: Counter[str] = Counter()
        self.folder = world.folders[controller]
        self.options = command.options(self.folder)
        self.desired = world.before.get(controller, {}) if command.rollback else MODES[command.mode]
        self.before: dict[str, str] = {}
        self.began = world.scheduler.time
        self.misplaced: set[tuple[str, str]] = set()
        self.known: set[tuple[str, str]] = set()
        self.planned: dict[str, str] | None = None
        self.switching = self.wrote = self.restored = False
        self.sent: set[str] = set()
        self.fulfilled: dict[str, float] = {}
        self.sent_back: set[str] = set()
        self.found: set[tuple[str, str, str]] = set()
        self.skipped: set[str] = set()
        self.searched: dict[str, float] = {}
        self.others_wrote = -math.inf
        self.left: dict[str, str] = {}
        self.result: Answer = {}
        self.error = ""
        self.snapshot: Path | None = None

    @property
    def outcome(self) -> str:
        if self.dead:
            return "killed"
        return str(self.result.get("outcome", "refused" if self.error else "checked"))

    def work(self) -> None:
        try:
            self._work()
        finally:
            self.left = self.world.account.where()

    def _work(self) -> None:
        try:
            self.result = run.run(self.options, self.command.check, self.world.runtime)
        except FailedResultError as error:
            self.result, self.error = error.result, str(error)
        except SwitchError as error:
            self.error = str(error)
        except Exception:  # noqa: BLE001 - whatever it is, an operator would see it
            self.world.untrue(self, f"traceback: {traceback.format_exc()}")


class World:
    """Everything outside the engine.

    Attributes:
        runs: all there were, newest last; running: those that are under way.
        before: by controller, the records that a rollback returns to.
        tokens: what check mode has shown.
        wrong: what was found untrue.
    """

    def __init__(self, seed: int = 0) -> None:
        self.scheduler = Scheduler()
        self.account = Account(self.scheduler, seed)
        self.account.point = self._point
        self.account.on_delete = self._on_delete
        self.account.on_deleted = self._on_deleted
        self.account.on_write = self._on_write
        self.account.on_search = self._on_search
        self._folder = tempfile.TemporaryDirectory(dir=_SHM if _SHM.is_dir() else None)
        self.folders = {name: Path(self._folder.name) / name for name in ("first", "second")}
        self.skew = dict.fromkeys(self.folders, 0.0)
        self.own_way = dict.fromkeys(self.folders, True)
        self.runs: list[Run] = []
        self.running: list[Run] = []
        self.before: dict[str, dict[str, str]] = {}
        self.tokens: dict[str, Approval] = {}
        self.wrong: list[str] = []
        self.shut_until: dict[str, float] = {}
        self._named = itertools.count()
        self._stack = ExitStack()
        self.runtime = Runtime(
            monotonic=lambda: self.scheduler.time, now=self._wall, sleep=self.scheduler.sleep, wait=self._wait,
            pool=partial(Pool, self.scheduler), take=self._take, ask=gate.ask, caller=lambda _: None,
        )  # fmt: skip
        self._install()

    def close(self) -> None:
        self._stack.close()
        self.scheduler.close()
        self._folder.cleanup()

    # --- what the engine takes from its machine

    def _wall(self) -> float:
        process = self.scheduler.current.process
        return EPOCH + self.scheduler.time + (self.skew[process.controller] if isinstance(process, Run) else 0.0)

    def _now(self, zone: Any = None) -> datetime:
        return datetime.fromtimestamp(self._wall(), zone or UTC)

    def _wait(self, event: Any, seconds: float) -> bool:
        self.scheduler.block(seconds, event.is_set)
        return bool(event.is_set())

    def _take(self, results: Any, seconds: float) -> Any | None:
        if results.empty():
            self.scheduler.block(seconds, lambda: not results.empty())
        return None if results.empty() else results.get_nowait()

    def _handshake(self, host: str, *_: Any) -> Any:
        """In place of a TLS handshake."""
        self.scheduler.sleep(0.1)
        run = self.scheduler.current.process
        assert isinstance(run, Run)
        if self.account.region_of(host) in self.account.shut or not self.own_way[run.controller]:
            raise ProbeError(host, "no answer")

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        process = self.scheduler.current.process
        process.heeds = True
        try:
            yield
        finally:
            process.heeds = False

    def _install(self) -> None:
        """Put the world in the place of what the engine takes from modules, and not from its runtime."""
        scheduler = self.scheduler
        pool = partial(Pool, scheduler)
        clock = SimpleNamespace(monotonic=lambda: scheduler.time, time=self._wall, sleep=scheduler.sleep)
        append = journal.Journal._append

        def appending(this: Any, event: Any, sync: bool) -> None:
            process = scheduler.current.process
            self._point(process, f"journal {event.step}")
            append(this, event, sync)
            self._journalled(process, event.step, event.details())
            self._point(process, f"journal {event.step} done")

        places: list[tuple[object, dict[str, Any]]] = [
            (course, {"Aws": partial(WorldAws, self.account)}),
            (run, {"stoppable": self._stoppable, "undisturbed": nullcontext}),
            (preflight, {"check": lambda *_: []}),
            (report, {"write": lambda *_: []}),
            (environment, {"versions": lambda *_: {}}),
            (guard.probe, {"locate": lambda host, _: host, "handshake": self._handshake}),
            (gate, {"_query": self.account.zone.query, "ThreadPoolExecutor": pool, "INTERVAL": 0.5,
                        "wait_futures": partial(wait, scheduler)}),
            (paced, {"TokenBucket": partial(TokenBucket, clock=clock.monotonic),
                     "threading": SimpleNamespace(Event=partial(Event, scheduler))}),
            (stream, {"ThreadPoolExecutor": pool, "BATCH_SIZE": 2,
                     "threading": SimpleNamespace(Event=partial(Event, scheduler)),
                     "queue": SimpleNamespace(Queue=partial(Queue, scheduler), Full=stream.queue.Full)}),
            (survey, {"ThreadPoolExecutor": pool}),
            (sweep, {"TICK": 0.5}),
            (roster, {"time": clock, "COMMIT_SECONDS": 0.1}),
            (lock, {"time": clock}),
            (journal, {"time": clock, "datetime": SimpleNamespace(now=self._now)}),
            (journal.Journal, {"_append": appending}),
            (summary, {"time": clock, "datetime": SimpleNamespace(now=self._now),
                      "secrets": SimpleNamespace(token_hex=lambda _: f"{next(self._named):04x}")}),
        ]  # fmt: skip
        for place, values in places:
            for name, value in values.items():
                self._stack.enter_context(mock.patch.object(place, name, value))

    # --- what happens

    def carry_out(self, command: Command, *events: At, controller: str = "first") -> Run:
        """Carry a command out to its end, with that of every run that begins meanwhile.

        Raises:
            UntrueError: what may not be.
        """
        run = self.begin(controller, command, list(events))
        self.scheduler.rest()
        self._lift()
        for each in self.running:
            self._end(each)
        self.running = []
        if self.wrong:
            raise UntrueError(self.wrong[0])
        return run

    def begin(self, controller: str, command: Command, events: list[At]) -> Run:
        run = Run(self, controller, command, events)
        self.runs.append(run)
        self.running.append(run)
        self.scheduler.spawn(run, run.work)
        return run

    def pass_time(self, seconds: float) -> None:
        self.scheduler.sleep(seconds)

    def _lift(self) -> None:
        """Faults are over when the run is that they were meant for."""
        self.account.faults = []
        self.account.shut = set()
        self.account.zone.mute = set()
        self.own_way = dict.fromkeys(self.folders, True)

    def kill(self, run: Run) -> None:
        """As SIGKILL does: what is on disk stays, and nothing else is done."""
        if run.dead or run.first is None or run.first.done:
            return
        run.snapshot = Path(self._folder.name) / f"snapshot-{len(self.runs)}"
        if run.folder.exists():
            shutil.copytree(run.folder, run.snapshot, symlinks=True, ignore=shutil.ignore_patterns("*-shm"))
        run.dead = True
        self.scheduler.check()

    def stop(self, run: Run) -> None:
        """As Ctrl-C does."""
        if not run.stopped:
            run.stop = Interrupted("run: found SIGINT, expected the run to end by itself: run it again")
            self.scheduler.check()

    def shut(self, region: str, seconds: float) -> None:
        """A region's MQTT endpoint lets nobody in for a time."""
        self.account.shut.add(region)
        self.shut_until[region] = self.scheduler.time + seconds
        self.scheduler.after(seconds, lambda: self.account.shut.discard(region))

    def _point(self, process: Process, name: str) -> None:
        if not isinstance(process, Run):
            return
        self.scheduler.check()
        process.counts[name] += 1
        for each in [each for each in process.events if each.point == name]:
            each.number -= 1
            if not each.number:
                process.events.remove(each)
                each.event(process)

    def _journalled(self, process: Process, step: str, details: Answer) -> None:
        if not isinstance(process, Run):
            return
        if step == "plan":
            self._note_plan(process)
            process.planned = {name: move["from"] for name, move in details["plan"].items()}
        if step == "skipped":
            process.skipped.add(details["region"])
        if step == "switch":
            process.switching = True
        if step == "unforeseen":
            self.untrue(process, f"an error that nobody has thought of: {details['error']}")

    def _note_plan(self, run: Run) -> None:
        run.misplaced |= self.misplaced(run.desired)
        earlier = next((each for each in reversed(self.runs) if each.controller == run.controller and each is not run
                        and not each.command.check), None)  # fmt: skip
        if earlier is not None and earlier.dead and earlier.planned and earlier.desired == run.desired:
            run.known = earlier.known
            return
        begun = run.began - self.account.index_lag
        connections = self.account.connections
        run.known = {(name, region) for name, region in run.misplaced if connections[region][name].since < begun}

    # --- what may be

    def untrue(self, run: Run, what: str) -> None:
        command = run.command
        self.wrong.append(f"{run.controller}, {command}: {what}")
        for each in self.running:
            each.dead = True

    def misplaced(self, desired: dict[str, str]) -> set[tuple[str, str]]:
        """`(client ID, region)` of every connection that is not where it belongs."""
        return {
            (name, region)
            for region, there in self.account.connections.items()
            for name, each in there.items()
            if desired and desired[each.device.endpoint] != region
        }

    def _on_search(self, run: Process, region: str, things: list[Answer], first: bool) -> None:
        assert isinstance(run, Run)
        if first:
            run.searched[region] = self.scheduler.time
        run.found |= {(each["thingName"], region, each["attributes"][ATTRIBUTE]) for each in things}

    def _on_delete(self, run: Process, region: str, client: str) -> None:
        assert isinstance(run, Run)
        device = self.account.devices[client]
        goal = run.before if run.restored else run.desired
        if run.command.check:
            self.untrue(run, f"check mode disconnected {client}")
        if run.stopped:
            self.untrue(run, f"{client} was disconnected after the stop")
        if goal[device.endpoint] == region:
            self.untrue(run, f"{client} was disconnected from {region}, where it belongs")
        if self.account.where()[device.endpoint] == region and self.scheduler.time - run.others_wrote > MOMENT:
            self.untrue(run, f"{client} was disconnected from {region}, where its record points")
        if run.restored:
            run.sent_back.add(client)
            return
        if client not in run.sent:
            run.sent.add(client)
            self._on_first(run, goal[device.endpoint])

    def _on_first(self, run: Run, target: str) -> None:
        """The first time that a client is told on the way there: limits, approval, waves."""
        most = run.command.max_clients
        if most and len(run.sent) > most:
            self.untrue(run, f"{len(run.sent)} clients were disconnected, at most {most} may be")
        if most and len(run.known) > most:
            self.untrue(run, f"a plan for {len(run.known)} clients was carried out, at most {most} may be disconnected")
        if run.command.approval:
            self._check_approved(run, target)
        if run.command.waves:
            planned = {name for name, _ in run.misplaced}
            most = math.ceil(len(planned) * _widest(run.command.waves))
            absent = {name for name in run.sent & planned if not self._has_landed(run, name)}
            if len(absent) > most:
                self.untrue(run, f"{len(absent)} clients are on their way, no wave has more than {most}")

    def _has_landed(self, run: Run, client: str) -> bool:
        device = self.account.devices[client]
        return device.region == run.desired[device.endpoint] and client in run.fulfilled

    def _check_approved(self, run: Run, target: str) -> None:
        approved = self.tokens.get(run.command.token)
        if approved is None:
            self.untrue(run, "clients were disconnected that nobody approved")
            return
        leaving = {(name, to) for name, _, to in approved.leaving}
        others = {
            name
            for name in run.sent
            if run.desired[self.account.devices[name].endpoint] == target and (name, target) not in leaving
        }
        share = run.command.drift / 100
        if len(others) > (max(3, approved.to(target) * share) if share else 0):
            self.untrue(
                run, f"{', '.join(sorted(others))} left for {target}, {approved.to(target)} others were approved"
            )

    def _on_deleted(self, run: Process, _region: str, client: str) -> None:
        assert isinstance(run, Run)
        if not run.restored:
            run.fulfilled.setdefault(client, self.scheduler.time)

    def _on_write(self, run: Process, before: dict[str, str]) -> None:
        assert isinstance(run, Run)
        after = self.account.where()
        for each in self.running:
            if each is not run:
                each.others_wrote = self.scheduler.time
        if run.command.check:
            self.untrue(run, "check mode changed records")
        if run.wrote:
            run.restored = True
            self._check_way_back(run, after)
            return
        run.wrote, run.before = True, before
        if after != run.desired:
            self.untrue(run, f"the records are {after}, which nobody asked for")
        approved = self.tokens.get(run.command.token)
        if run.command.approval and (approved is None or approved.records != before):
            self.untrue(run, "records were changed that nobody approved")

    def _check_way_back(self, run: Run, after: dict[str, str]) -> None:
        """A move is taken back where clients that were told to leave have not landed, or nobody can."""
        if after != run.before:
            self.untrue(run, f"the records are {after}, they were {run.before} before the move")
        now = self.scheduler.time
        missing = [
            client
            for client, told in run.fulfilled.items()
            if told < now - run.command.landing + MOMENT
            and (
                (device := self.account.devices[client]).region != run.desired[device.endpoint]
                or device.since > now - MOMENT
                or client in self.account.connections[run.before[device.endpoint]]
            )
        ]
        shut = any(until > now - 2 * MOMENT for until in self.shut_until.values())
        if not missing and not shut:
            self.untrue(run, "a fleet that has landed was taken back")

    def _end(self, run: Run) -> None:
        if run.snapshot is not None:
            shutil.rmtree(run.folder, ignore_errors=True)
            if run.snapshot.exists():
                run.snapshot.rename(run.folder)
        if run.switching and not run.command.rollback and run.outcome != "refused" and run.planned:
            self.before[run.controller] = run.planned
        if run.command.check:
            self._remember(run)
        elif not run.dead:
            self._check_outcome(run)

    def _remember(self, run: Run) -> None:
        token = run.result.get("token")
        if token:
            leaving = {
                (client, region, run.desired[endpoint])
                for client, region, endpoint in run.found
                if run.desired[endpoint] != region
            }
            self.tokens[token] = Approval(run.command, self.account.where(), frozenset(leaving))

    def _check_outcome(self, run: Run) -> None:
        did = bool(run.wrote or run.fulfilled)
        match run.outcome:
            case "refused" | "unchanged" if did:
                self.untrue(run, f"{run.outcome}, and records or clients were moved")
            case "moved" | "unchanged":
                self._check_moved(run)
            case "rolled_back":
                self._check_returned(run)

    def _check_moved(self, run: Run) -> None:
        if run.others_wrote > -math.inf:
            return
        where = self.account.where()
        if where != run.desired:
            self.untrue(run, f"{run.outcome}, and the records are {where}")
        for name, region in self.misplaced(where):
            seen = run.searched.get(region, run.began) - self.account.index_lag
            if region not in run.skipped and self.account.connections[region][name].since < seen:
                self.untrue(run, f"{run.outcome}, and {name} is in {region}")

    def _check_returned(self, run: Run) -> None:
        steps = [json.loads(line) for line in (Path(run.result["report"]) / "journal.jsonl").open(encoding="utf-8")]
        returned = [step for step in steps if step["step"] == "returned"]
        if not returned or not run.restored:
            self.untrue(run, "rolled back, and nobody was brought back")
            return
        back, now = returned[-1]["back"], self.scheduler.time
        here = [each for each in self.account.devices.values() if each.region == run.before[each.endpoint]]
        if back > len(here) and run.others_wrote == -math.inf:
            self.untrue(run, f"{back} clients were seen back, {len(here)} are there")
        for name in run.fulfilled.keys() - run.sent_back:
            device = self.account.devices[name]
            left = device.region and device.region == run.desired[device.endpoint] != run.before[device.endpoint]
            if left and run.others_wrote == -math.inf and device.since < now - 2 * MOMENT:
                self.untrue(run, f"rolled back, and {name} was left in {device.region}")


def _widest(waves: tuple[int, ...]) -> float:
    """The largest step between shares of a fleet."""
    ends = (0, *waves, 100)
    return max(later - earlier for earlier, later in itertools.pairwise(ends)) / 100
