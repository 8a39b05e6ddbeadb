"""Ours beside the article's method, in one run in the lab: moves, alternating, and sweeps alone.

Run by `make bench`. Writes the section "moves" and "sweeps" of docs/benchmarks.json, and from it the tables and plots.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dns.resolver
from rich.console import Console

from lab import api, device, drill, monitor, supervisor, topology
from lab.dns import clamp_ttl
from lab.errors import LabError
from tests.arrivals import count, gaps, read

from . import analysis, page, results
from .analysis import Move
from .brokers import Watch
from .fleets import Devices, Fleet, LightClients
from .results import ARTICLE, OURS
from .sweeps import METHODS as SWEEPS

MODES = {
    "1": ("us-east-1", "us-east-1"),
    "2": ("us-east-1", "ap-northeast-1"),
    "3": ("ap-northeast-1", "ap-northeast-1"),
    "4": ("ap-northeast-1", "us-east-1"),
}
# Where a move of all clients, and one of half of them, goes to from each mode.
ALL, HALF = {"1": "3", "3": "1"}, {"1": "2", "2": "1", "3": "4", "4": "3"}
START_TIMEOUT = 180.0
# Nobody is on the way when all are connected for so long after the command.
QUIET, SETTLE_TIMEOUT = 1.0, 300.0
# Of DeleteConnection, requests a second: AWS's default, which the stand-in enforces.
QUOTA = 100.0
COMMAND_TIMEOUT = 900.0
LOG = "bench.log"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Condition:
    """Under what clients are moved, and how often.

    Attributes:
        latency: seconds that each API call takes longer.
        clamp: seconds that the devices' resolver keeps every answer at least.
        moves: in each of the first `rounds` rounds.
        half: only one endpoint moves, and half of the clients belong where they are.
    """

    name: str
    moves: int
    rounds: int
    latency: float = 0.0
    clamp: int = 0
    half: bool = False


@dataclass(frozen=True)
class Plan:
    """A fleet's size, seconds between two messages of a client, and its conditions."""

    size: int
    interval: float
    conditions: tuple[Condition, ...]

    @property
    def rounds(self) -> int:
        return max(each.rounds for each in self.conditions)

    def fleet(self) -> Fleet:
        return Devices() if self.size == len(topology.DEVICES) else LightClients(self.size, self.interval)


def plans(rounds: int) -> list[Plan]:
    """What `make bench` measures; `rounds` multiplies how often."""
    clamp = Condition("clamp", 1, rounds, clamp=30)
    return [
        Plan(2, 0.1, (Condition("plain", 2, 2 * rounds), Condition("latency", 1, rounds, latency=0.08), clamp)),
        Plan(
            100,
            1.0,
            (
                Condition("plain", 2, rounds),
                Condition("half", 2, rounds, half=True),
                Condition("latency", 1, rounds, latency=0.08),
                clamp,
            ),
        ),
        Plan(1000, 3.0, (Condition("plain", 2, rounds), Condition("latency", 1, rounds, latency=0.08), clamp)),
    ]


class Bench:
    """One run of the bench."""

    def __init__(self, watch: Watch, say: Say) -> None:
        self._watch = watch
        self._say = say
        self._mode = "1"
        self._astray = False

    def compare(self, plan: Plan, fleet: Fleet, keep: Callable[[list[dict[str, Any]]], None]) -> None:
        """Move a fleet under each of its conditions, round by round, the methods in turn first.

        Args:
            keep: told the cells as they are after each move.
        """
        moves: dict[tuple[str, str], list[Move]] = {}
        for number in range(plan.rounds):
            for method in (OURS, ARTICLE) if number % 2 == 0 else (ARTICLE, OURS):
                self._start(fleet, method)
                for condition in plan.conditions:
                    for _ in range(condition.moves if number < condition.rounds else 0):
                        move = self._measure(fleet, method, condition)
                        moves.setdefault((condition.name, method), []).append(move)
                        keep([_cell(plan, *key, found) for key, found in moves.items()])

    def measure_once(self, fleet: Fleet, method: str, condition: Condition) -> Move:
        """Move a fleet once, from where mode 1 has it."""
        self._start(fleet, method)
        return self._measure(fleet, method, condition)

    def sweep(self, fleet: Fleet) -> list[dict[str, Any]]:
        """Disconnect a fleet in different ways; but for ours, the records stay and everybody comes back."""
        self._start(fleet, OURS)
        last = api.last_request()
        # One wave: the pace alone, without waiting for a canary to land.
        self._command(self._ours(ALL[self._mode], "-e", json.dumps({"failover_waves": [100]})))
        self._mode = ALL[self._mode]
        found = [{"method": OURS, **_swept(last, fleet.size)}]
        for method in SWEEPS:
            self._wait_until(fleet, self._mode)
            last = api.last_request()
            self._command(self._sweep_command(fleet, method), _article_environment(self._clients_file(fleet)))
            found.append({"method": method, **_swept(last, fleet.size)})
        for each in found:
            self._say("sweep of {clients}, {method}: {told} told in {seconds} s, {throttled} times 429".format(**each))
        return found

    def _measure(self, fleet: Fleet, method: str, condition: Condition) -> Move:
        if self._astray:
            self._start(fleet, method)
        mode = (HALF if condition.half else ALL)[self._mode]
        before, targets = self._targets(fleet, self._mode), self._targets(fleet, mode)
        command = self._ours(mode) if method == OURS else self._articles(mode)
        with _disturbance(condition):
            last, began = api.last_request(), time.time()
            seconds = self._command(command, _article_environment(self._clients_file(fleet)))
            self._settle(fleet)
            events, after = self._watch.events(began), self._watch.where()
        calls, throttled = analysis.count_calls(_requests(last))
        counts = self._messages(fleet, began)
        self._mode = mode
        moved = {client: (before[client], region) for client, region in targets.items() if before[client] != region}
        landed, missing = analysis.landed(events, after, targets, began)
        away = analysis.offline(events, before)
        move = Move(
            landed=landed,
            command=seconds,
            # A change of region that falls between two looks at the logs took less than what they tell apart.
            offline={
                client: away.get(client, 0.0)
                for client in moved
                if client in away or after.get(client) == targets[client]
            },
            silent=gaps(read(monitor.ledger_path(), began) or [], moved, began),
            not_landed=missing,
            bounced=analysis.bounced(events, before, targets),
            needless=analysis.needless(events, before, targets),
            sent=counts["sent"],
            lost=counts["lost"],
            duplicated=counts["duplicated"],
            calls=calls,
            throttled=throttled,
            phases=_summary()["phases"] if method == OURS else [],
        )
        self._tell(fleet, method, condition, move)
        self._astray = missing > 0
        return move

    def _tell(self, fleet: Fleet, method: str, condition: Condition, move: Move) -> None:
        landed = f"landed after {move.landed:.1f} s" if move.landed is not None else f"{move.not_landed} not landed"
        offline = analysis.spread(list(move.offline.values()))
        self._say(
            f"{fleet.size} clients, {condition.name}, {method}: offline {offline['median']} s, {landed}, "
            f"{move.lost} lost, {sum(move.calls.values())} calls"
        )

    def _start(self, fleet: Fleet, method: str) -> None:
        """Connect a method's clients, where the records lead."""
        fleet.start(method)
        self._wait_until(fleet, self._mode)
        self._astray = False

    @staticmethod
    def _targets(fleet: Fleet, mode: str) -> dict[str, str]:
        regions = dict(zip(topology.ENDPOINTS, MODES[mode], strict=True))
        return {client: regions[endpoint] for client, endpoint in fleet.endpoints().items()}

    def _wait_until(self, fleet: Fleet, mode: str) -> None:
        """Wait until every client is where a mode wants it.

        Raises:
            LabError: some are not in time.
        """
        targets = self._targets(fleet, mode)
        deadline = time.monotonic() + START_TIMEOUT
        while missing := [client for client, region in targets.items() if self._watch.where().get(client) != region]:
            if time.monotonic() > deadline:
                raise LabError(f"clients: found {len(missing)} not where mode {mode} wants them ({missing[0]}, …), "
                               "expected none: see .lab/log")  # fmt: skip
            time.sleep(0.1)

    def _settle(self, fleet: Fleet) -> None:
        """Wait until every client is connected, wherever: nothing happens by itself any more."""
        clients = fleet.endpoints().keys()
        deadline = time.monotonic() + SETTLE_TIMEOUT
        quiet = time.monotonic()
        while time.monotonic() - quiet < QUIET:
            if not clients <= self._watch.where().keys():
                quiet = time.monotonic()
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)

    def _messages(self, fleet: Fleet, began: float) -> dict[str, int]:
        """Count the messages once those that were on their way have had the time to arrive."""
        deadline = time.monotonic() + 1.5 * fleet.interval + QUIET
        # A hole is seen between two messages: of each client one from before the move is looked at, too.
        since = began - 1.5 * fleet.interval
        while True:
            counts = count(read(monitor.ledger_path(), since) or [], since)
            if time.monotonic() > deadline:
                return counts
            time.sleep(0.5)

    @staticmethod
    def _ours(mode: str, *arguments: str) -> list[str]:
        return ["ansible-playbook", "failover.yml", "-e", f"mode={mode}", *arguments]

    @staticmethod
    def _articles(mode: str) -> list[str]:
        return [sys.executable, str(Path(__file__).parent / "article" / "dr.py"), f"mode={mode}"]

    def _sweep_command(self, fleet: Fleet, method: str) -> list[str]:
        region = next(iter(self._targets(fleet, self._mode).values()))
        return [sys.executable, "-m", "tests.bench.sweeps", method, region]

    @staticmethod
    def _clients_file(fleet: Fleet) -> Path:
        path = topology.state_directory() / "bench-clients.txt"
        path.write_text("".join(f"{client}\n" for client in fleet.endpoints()), encoding="utf-8")
        return path

    @staticmethod
    def _command(command: list[str], env: dict[str, str] | None = None) -> float:
        """Run a command and return its seconds; its output goes to the lab's logs.

        Raises:
            LabError: it failed.
        """
        log = topology.state_directory() / "log" / LOG
        began = time.monotonic()
        with log.open("ab") as stream:
            done = subprocess.run(
                command, cwd=topology.REPOSITORY, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                stdout=stream, stderr=subprocess.STDOUT, check=False, timeout=COMMAND_TIMEOUT,
            )  # fmt: skip
        if done.returncode:
            said = drill.last_error(log.read_text(encoding="utf-8", errors="replace"))
            raise LabError(f"{' '.join(command)}: {said}")
        return round(time.monotonic() - began, 2)


def _cell(plan: Plan, condition: str, method: str, moves: list[Move]) -> dict[str, Any]:
    key = {"clients": plan.size, "condition": condition, "method": method}
    return {**key, **analysis.summarise(moves), "each": [each.as_dict() for each in moves]}


def _keep(section: str, cells: list[dict[str, Any]]) -> None:
    results.write(section, {"cells": cells})


def _article_environment(clients: Path) -> dict[str, str]:
    hosts = {region.name: region.dns_name for region in topology.REGIONS}
    own = {"HOSTED_ZONE_ID": topology.HOSTED_ZONE_ID, "REGION_ENDPOINTS": json.dumps(hosts), "CLIENTS": str(clients)}
    return {**topology.aws_environment(), **own}


@contextmanager
def _disturbance(condition: Condition) -> Iterator[None]:
    try:
        if condition.latency:
            api.set_faults({"operation": "*", "kind": "latency", "seconds": condition.latency})
        if condition.clamp:
            clamp_ttl(condition.clamp)
            _look_up()
        yield
    finally:
        if condition.latency:
            api.set_faults()
        if condition.clamp:
            clamp_ttl(0)
            for node in topology.DEVICES:
                device.ssh(node, "resolvectl", "flush-caches")


def _look_up() -> None:
    """Have the devices' resolver know the names, as one that many devices use does at any time."""
    asked = dns.resolver.Resolver(configure=False)
    asked.nameservers = [str(topology.RESOLVER.address)]
    for name in topology.ENDPOINTS:
        asked.resolve(name, "A")


def _requests(after: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.ask(f"requests?after={after}")
    return found


def _summary() -> dict[str, Any]:
    path = topology.REPOSITORY / "reports" / "latest" / "summary.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _swept(after: int, clients: int) -> dict[str, Any]:
    """What the API saw of a sweep: seconds from its first call to its last."""
    # A move's checks ask for what AWS has to refuse, long before its sweep: a client that nobody is.
    calls = [each for each in _requests(after) if each["operation"] == "DeleteConnection" and each["status"] != 404]
    told = sum(each["status"] == 200 for each in calls)
    seconds = max(each["time"] for each in calls) - min(each["time"] for each in calls)
    return {
        "clients": clients,
        "calls": len(calls),
        "told": told,
        "throttled": sum(each["status"] == 429 for each in calls),
        "seconds": round(seconds, 2),
        "told_per_second": round((told - 1) / seconds, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.compare", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1, help="multiplies how often each move is made (default: 1)")
    parser.add_argument("--clients", type=int, nargs="+", help="only fleets of these sizes; the others' figures stay")
    parser.add_argument("--sweeps", action="store_true", help="only the sweeps of the largest fleet")
    parser.add_argument("--prepared", action="store_true", help="the lab is up, set up, and its monitor runs")
    given = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    began = time.monotonic()
    try:
        if supervisor.is_running():
            # What a bench left that was killed would fight ours for the client IDs.
            Devices().stop()
        if not given.prepared:
            drill.prepare(console)
        drill.move(console, "1")
        with Watch() as watch:
            _run(Bench(watch, lambda line: console.print(f"    {line}", markup=False)), console, given)
    except LabError as error:
        console.print(f"bench: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("bench: interrupted; what was measured is kept, and the same command begins anew")
        return 130
    finally:
        with suppress(LabError):
            Devices().start(OURS)
        # What was measured is kept, and shown, however it ended.
        page.show_written()
    console.print(f"bench: {(time.monotonic() - began) / 60:.1f} minutes")
    return 0


def _run(bench: Bench, console: Console, given: argparse.Namespace) -> None:
    """Measure one fleet after the other."""
    largest = max(plan.size for plan in plans(1))
    for plan in plans(given.rounds):
        if (given.clients and plan.size not in given.clients) or (given.sweeps and plan.size != largest):
            continue
        console.print(f"==> {plan.size} clients", style="bold")
        # Those of the devices are out of the way of a fleet of light ones.
        Devices().stop()
        fleet = plan.fleet()
        try:
            if not given.sweeps:
                bench.compare(plan, fleet, partial(_keep, f"moves_{plan.size}"))
            if plan.size == largest:
                results.write("sweeps", {"quota": QUOTA, "cells": bench.sweep(fleet)})
        finally:
            fleet.stop()


if __name__ == "__main__":
    sys.exit(main())
