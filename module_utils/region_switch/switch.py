"""The move: from what is to what a mode says, in the order that loses nobody."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import dns_gate, ledger, modes, report, route53
from .aws import Aws, describe_data_endpoint
from .errors import RefusedError, SwitchError
from .fleet import Client, discover
from .journal import Journal
from .landing import Flight, Landing
from .lock import exclusive
from .module import FailedResultError, Result
from .plan import Move, build_moves, misplaced
from .report import Summary
from .sweep import Sweeper

LEDGER_TIMEOUT = 10.0
LEDGER_INTERVAL = 0.2
NAMES_SHOWN = 10


@dataclass(frozen=True)
class Options:
    """The options of the module, as its documentation describes them; times in seconds."""

    mode: object
    modes: object
    endpoints: list[str]
    regions: list[str]
    hosted_zone_id: str
    ttl: int
    resolvers: list[str]
    name_servers: list[str]
    dns_consecutive: int
    dns_timeout: float
    sweep: str
    endpoint_attribute: str
    delete_connection_rate: float
    prevent_will_message: bool
    clean_session: bool
    landing_timeout: float
    reports_directory: str
    ledger: str | None

    def check(self) -> None:
        """Refuse numbers that cannot be meant.

        Raises:
            RefusedError: names the option.
        """
        lowest = {"ttl": 0, "dns_consecutive": 1, "dns_timeout": 0, "landing_timeout": 0}
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise RefusedError(f"{name}: found {getattr(self, name)}, expected {low} or more: correct it")
        if self.delete_connection_rate <= 0:
            raise RefusedError(
                f"delete_connection_rate: found {self.delete_connection_rate}, expected more than 0 requests per "
                "second: correct it, or set sweep to none"
            )


@dataclass(frozen=True)
class Plan:
    """What a run found and what it will do.

    Attributes:
        targets: `{region: host name of its endpoint}`.
        clients: every connection of a client of one of the endpoints.
        misplaced: those of them in a region their endpoint does not belong to.
        unmapped: how many other connections there are, which nobody touches.
        servers: whose answers are waited for.
    """

    desired: dict[str, str]
    targets: dict[str, str]
    records: dict[str, route53.Record]
    moves: list[Move]
    clients: list[Client]
    misplaced: list[Client]
    unmapped: int
    servers: list[dns_gate.Server]

    @property
    def needed(self) -> list[Move]:
        return [move for move in self.moves if move.needed]

    def diff(self) -> dict[str, Any]:
        """Records and clients before and after, as `--diff` shows them."""
        before = {move.endpoint: move.source for move in self.moves}
        after = {move.endpoint: move.target for move in self.moves}
        leaving = {client.client_id: client for client in self.misplaced}
        return {
            "before": {"records": before, "clients": {key: each.region for key, each in sorted(leaving.items())}},
            "after": {
                "records": after,
                "clients": {key: self.desired[each.endpoint] for key, each in sorted(leaving.items())},
            },
        }


def run(options: Options, check_mode: bool) -> Result:
    """Move the fleet to the mode's regions, or say in check mode what would be done.

    Returns:
        `run_id`, `report`, `outcome`, `plan`, `summary` (summary.json), `lines`, `diff`, `changed`.

    Raises:
        RefusedError: bad input; no run was begun.
        FailedResultError: the move did not end as it should; carries the same return values.
    """
    options.check()
    table = modes.normalise(options.modes, options.endpoints, options.regions)
    mode, desired = modes.desired(table, options.mode)
    aws = Aws(options.regions)
    if check_mode:
        return _preview(read_plan(aws, options, desired), mode, options.endpoint_attribute)
    root = Path(options.reports_directory)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RefusedError(
            f"reports_directory {root}: found {error.strerror}, expected a folder: correct it"
        ) from error
    with exclusive(root / ".lock"):
        summary = Summary(report.new_run_id(mode), mode)
        directory = root / summary.run_id
        directory.mkdir()
        with Journal(directory / "journal.jsonl") as journal:
            return Run(options, aws, journal, summary, directory).execute(desired)


def _left_alone(unmapped: int, attribute: str) -> list[str]:
    if not unmapped:
        return []
    return [
        f"{unmapped} connected clients are left alone: their things' attribute {attribute} names none of the endpoints"
    ]


def _preview(plan: Plan, mode: str, attribute: str) -> Result:
    text = [f"mode {mode}: check mode, nothing is changed"]
    text += [f"{move.endpoint}: {move.source} -> {move.target}" for move in plan.needed]
    text += [
        f"disconnect {client.client_id} in {client.region}, expect it in {plan.desired[client.endpoint]}"
        for client in plan.misplaced
    ]
    text += _left_alone(plan.unmapped, attribute)
    changed = bool(plan.needed or plan.misplaced)
    return {"changed": changed, "plan": report.plan_dict(plan.moves), "lines": text, "diff": plan.diff()}


def read_plan(aws: Aws, options: Options, desired: dict[str, str]) -> Plan:
    """Read what is and compare it with what shall be. Writes nothing.

    Raises:
        RefusedError: a move that would go wrong.
    """
    with ThreadPoolExecutor(max_workers=len(options.regions) + 3) as pool:
        hosts = pool.map(describe_data_endpoint, aws.iot.values())
        reading = pool.submit(route53.read_records, aws.route53, options.hosted_zone_id, list(desired))
        discovering = pool.submit(discover, aws.iot, options.endpoint_attribute)
        locating = pool.submit(_dns_servers, aws, options)
        targets = dict(zip(options.regions, hosts, strict=True))
        found = reading.result()
        moves = build_moves(desired, found, targets)
        connected, servers = discovering.result(), locating.result()
    clients = [client for client in connected if client.endpoint in desired]
    records = {name: record for name, record in found.items() if record}
    leaving = misplaced(clients, desired) if options.sweep == "misplaced" else []
    return Plan(desired, targets, records, moves, clients, leaving, len(connected) - len(clients), servers)


def _dns_servers(aws: Aws, options: Options) -> list[dns_gate.Server]:
    """The servers to ask. Found out before anything is switched: one that cannot be found stops the move."""
    names = options.name_servers or route53.name_servers(aws.route53, options.hosted_zone_id)
    return dns_gate.servers(names, options.resolvers)


class Run:
    """One move, journalled step by step."""

    def __init__(self, options: Options, aws: Aws, journal: Journal, summary: Summary, directory: Path) -> None:
        self.options = options
        self.aws = aws
        self.journal = journal
        self.summary = summary
        self.directory = directory
        self.started = time.time()
        self.wrote = False
        self.unmapped = 0
        self.sweeper = Sweeper(
            aws.data,
            options.delete_connection_rate,
            journal,
            clean_session=options.clean_session,
            prevent_will_message=options.prevent_will_message,
        )
        self.landing = Landing(aws.data, self._sweep_again, float(options.ttl), options.landing_timeout)

    def execute(self, desired: dict[str, str]) -> Result:
        """Move, and write the summary however it ends."""
        summary = self.summary
        diff: dict[str, Any] = {}
        try:
            self.journal.write("start", run_id=summary.run_id, mode=summary.mode, desired=desired)
            with summary.phase("plan"):
                plan = read_plan(self.aws, self.options, desired)
            summary.moves, diff, self.unmapped = plan.moves, plan.diff(), plan.unmapped
            self.journal.write(
                "plan", plan=report.plan_dict(plan.moves), misplaced=len(plan.misplaced), unmapped=plan.unmapped
            )
            self._count_clients(plan, [], [])
            summary.error = self._move(plan)
            summary.outcome = self._outcome()
        except RefusedError as error:
            summary.error, summary.outcome = str(error), "failed" if self.wrote else "refused"
        except SwitchError as error:
            summary.error = str(error)
        finally:
            self._count_sweep()
            self.journal.write("end", outcome=summary.outcome, error=summary.error)
            found = summary.as_dict()
            report.write(self.directory, found)
        return self._result(found, diff)

    def _result(self, found: dict[str, Any], diff: dict[str, Any]) -> Result:
        text = _left_alone(self.unmapped, self.options.endpoint_attribute)
        text = [*report.lines(found, str(self.directory)), *text]
        result: Result = {"changed": self.wrote, "diff": diff, "summary": found, "report": str(self.directory)}
        result |= {"lines": text, **{key: found[key] for key in ("run_id", "outcome", "plan")}}
        if self.summary.error:
            raise FailedResultError(self.summary.error, result)
        return result

    def _outcome(self) -> str:
        if self.summary.error:
            return "partial"
        return "moved" if self.wrote else "unchanged"

    def _move(self, plan: Plan) -> str | None:
        """Switch, wait for DNS, sweep, prove. Returns what is wrong at the end, in one line."""
        if plan.needed:
            with self.summary.phase("switch"):
                self._switch(plan)
        with self.summary.phase("dns"):
            self._dns_gate(plan)
        late: list[Flight] = []
        handled: list[Client] = []
        if self.options.sweep == "misplaced":
            with self.summary.phase("sweep"):
                handled, late = self._sweep(plan)
        self._count_clients(plan, handled, late)
        with self.summary.phase("messages"):
            self._count_messages(plan, handled)
        return self._stragglers(late)

    def _switch(self, plan: Plan) -> None:
        changes: list[dict[str, Any]] = []
        expected: dict[str, str] = {}
        for move in plan.needed:
            target = plan.targets[move.target]
            changes += route53.compare_and_swap(plan.records[move.endpoint], target, self.options.ttl)
            expected[move.endpoint] = target
        self.journal.write("switch", records=expected)
        comment = f"Move to mode {self.summary.mode}"
        zone = self.options.hosted_zone_id
        change_id = route53.submit(self.aws.route53_writer, zone, changes, plan.records, expected, comment)
        self.wrote = True
        self.journal.write("switched", change_id=change_id)
        if change_id:
            route53.wait_insync(self.aws.route53, change_id, self.options.dns_timeout)
            self.journal.write("insync", change_id=change_id)
        # Resolvers nobody can ask may keep the old answer for the TTL that it was served with. Clients that
        # still get it after dns_timeout go back, and are disconnected again when that TTL has passed.
        self.landing.ttl = max(self.landing.ttl, *(plan.records[move.endpoint].ttl for move in plan.needed))
        time.sleep(min(self.options.dns_timeout, max(plan.records[move.endpoint].ttl for move in plan.needed)))

    def _dns_gate(self, plan: Plan) -> None:
        expected = {endpoint: plan.targets[region] for endpoint, region in plan.desired.items()}
        dns_gate.Gate(self.options.dns_consecutive, self.options.dns_timeout).wait(plan.servers, expected)
        self.journal.write("dns", servers=[server.name for server in plan.servers])

    def _sweep(self, plan: Plan) -> tuple[list[Client], list[Flight]]:
        """Disconnect and prove, again for whoever came to the old region after the plan was read."""
        clients, handled, late = plan.misplaced, list[Client](), list[Flight]()
        while clients and not late:
            handled += clients
            self.wrote = True
            self.journal.write("sweep", clients=len(clients))
            late = self.landing.wait(self.sweeper.sweep(clients, plan.desired))
            self.journal.write("landing", landed=len(clients) - len(late), late=len(late))
            known = {(client.region, client.client_id) for client in handled}
            found = discover(self.aws.iot, self.options.endpoint_attribute)
            mapped = [client for client in found if client.endpoint in plan.desired]
            clients = [each for each in misplaced(mapped, plan.desired) if (each.region, each.client_id) not in known]
        return handled, late

    def _sweep_again(self, clients: Sequence[Client]) -> Any:
        self.journal.write("sweep_again", clients=[client.client_id for client in clients])
        desired = {move.endpoint: move.target for move in self.summary.moves}
        return self.sweeper.sweep(clients, desired)

    def _count_clients(self, plan: Plan, handled: Iterable[Client], late: Sequence[Flight]) -> None:
        swept = {client.client_id for client in handled}
        everyone = {client.client_id for client in plan.clients} | swept
        # Without a sweep nobody is expected to have moved, but nobody is said to have landed either.
        unswept = {client.client_id for client in misplaced(plan.clients, plan.desired)} - swept
        missing = {flight.kick.client.client_id for flight in late} | unswept
        both = {flight.kick.client.client_id for flight in late if flight.seen.in_target and flight.seen.in_source}
        self.summary.clients = {
            "total": len(everyone),
            "misplaced": len(swept | unswept),
            "landed": len(everyone - missing),
            "stragglers": len(missing),
            "bounced": len(self.landing.bounced),
            "in_both_regions": len(both),
        }

    def _count_sweep(self) -> None:
        sweeper = self.sweeper
        rate = round(sweeper.calls / sweeper.seconds, 1) if sweeper.seconds else 0.0
        self.summary.sweep = {
            "calls": sweeper.calls,
            "rate": rate,
            "throttled": sweeper.throttled,
            "passes": sweeper.passes,
        }

    def _count_messages(self, plan: Plan, handled: Iterable[Client]) -> None:
        """Read the ledger until nothing is missing any more, for LEDGER_TIMEOUT at most."""
        if not self.options.ledger:
            return
        moved = {client.client_id: (client.region, plan.desired[client.endpoint]) for client in handled}
        deadline = time.monotonic() + LEDGER_TIMEOUT
        while (arrivals := ledger.read(Path(self.options.ledger), self.started)) is not None:
            self.summary.messages = ledger.count(arrivals, self.started)
            found = ledger.gaps(arrivals, moved, self.started)
            self.summary.gap_seconds = ledger.percentiles(found.values())
            complete = not self.summary.messages["lost"] and len(found) == len(moved)
            if complete or time.monotonic() >= deadline:
                return
            time.sleep(LEDGER_INTERVAL)

    def _stragglers(self, late: Sequence[Flight]) -> str | None:
        if not late:
            return None
        names = sorted(flight.kick.client.client_id for flight in late)
        shown = ", ".join(names[:NAMES_SHOWN]) + (", …" if len(names) > NAMES_SHOWN else "")
        return (
            f"clients: found {len(names)} of {self.summary.clients['total']} not landed after "
            f"{self.options.landing_timeout:.0f} s ({shown}), expected all in their region: look at these devices, "
            "then run again"
        )
