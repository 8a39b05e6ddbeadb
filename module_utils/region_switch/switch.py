"""The move: from what is to what a mode says, in the order that loses nobody."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from . import (
    approval,
    approved_plan,
    dns_gate,
    environment,
    findings,
    folder,
    history,
    html_report,
    ledger,
    ledger_state,
    modes,
    preflight,
    report,
    restore,
    route53,
    storage,
    survey,
    waves,
)
from .approval import Bounds
from .aws import Aws
from .dns_gate import Server, Stale
from .errors import NotConvergedError, RefusedError, StorageError, SwitchError, one_line
from .evacuation import FLIGHT_SECONDS, Evacuation, Limits, UnprovenError, WaveError
from .findings import Finding
from .folder import UntrustedError
from .guard import OwnWayError, RecordsGuard, TargetLostError
from .html_report import messages
from .interrupt import Interrupted, stoppable, undisturbed
from .journal import VERSION, Journal, timestamp
from .landing import Looker
from .lock import exclusive
from .module import FailedResultError, Result
from .options import Options
from .report import Summary
from .roster import Roster
from .runtime import MACHINE, Runtime
from .storage import Reserve
from .survey import Plan
from .sweep import Sweeper

LEDGER_TIMEOUT = 10.0
LEDGER_INTERVAL = 0.2
NAMES_SHOWN = 10
WAITING_SECONDS = 1.0
CLIENTS_SHOWN = 20
# Clients that come to the old region while others are moved away from it are moved, too; not for ever.
ROUNDS = 5
# An interrupted run that is older has little to say about who is where.
RESUME_SECONDS = 24 * 3600.0
ROSTER = "clients.sqlite"
JOURNAL = "journal.jsonl"


def run(options: Options, check_mode: bool, runtime: Runtime = MACHINE) -> Result:
    """Move the fleet to the mode's regions, or say in check mode what would be done.

    Returns:
        `run_id`, `report`, `outcome`, `plan`, `summary` (summary.json), `lines`, `diff`, `changed`.

    Raises:
        RefusedError: bad input; no run was begun.
        FailedResultError: the move did not end as it should; carries the same return values.
    """
    options.check()
    waves.parse(options.waves)
    root = Path(options.reports_directory)
    folder.check(root)
    mode, desired, notes = _desired(options, root)
    notes += folder.foreign(root)
    aws = Aws(options.regions)
    if check_mode:
        return _noting(notes, lambda: _preview(aws, options, mode, desired))
    folder.claim(root)
    # Whatever signal comes while the report is written, it is written.
    with undisturbed():
        with exclusive(root / ".lock", mode):
            earlier = None
            if options.run_id:
                directory = folder.run_folder(root, options.run_id)
                summary = Summary.read(directory)
            else:
                summary = Summary(report.new_run_id(mode), mode)
                directory = root / summary.run_id
                earlier = _prepare(root, directory, desired, notes, runtime.now())
            with (
                Reserve(directory) as reserve,
                Journal(directory / JOURNAL, reserve.release) as journal,
                Roster(directory / ROSTER, reserve.release) as roster,
            ):
                move = Run(options, aws, journal, roster, summary, directory, earlier, runtime)
                move.notes += notes
                move.reserve, move.number = reserve, history.next_number(root)
                diff = move.execute(desired)
        # The next run need not wait for it.
        if not move.paused:
            move.write_page()
        return move.result(diff)


def _noting(notes: list[str], act: Callable[[], Result]) -> Result:
    """What it returns, also with an error, and behind its lines these."""
    try:
        result = act()
        result["lines"] += notes
        return result
    except FailedResultError as error:
        error.result["lines"] += notes
        raise


def _prepare(root: Path, directory: Path, desired: dict[str, str], notes: list[str], now: float) -> Path | None:
    """Make a run's folder; with the clients of a run that was interrupted on the same way, if there is one.

    Returns:
        That run's folder.
    """
    earlier = history.interrupted(root, desired, now - RESUME_SECONDS)
    try:
        folder.make(directory)
    except OSError as error:
        raise storage.failed(directory, error) from error
    if earlier is None:
        return None
    try:
        Roster.copy(earlier / ROSTER, directory / ROSTER)
    except UntrustedError as error:
        notes.append(str(error))
        return None
    return earlier


def _desired(options: Options, root: Path) -> tuple[str, dict[str, str], list[str]]:
    """The mode's name and what it wants; for a rollback what the records were before the last run that moved them.

    Returns:
        Also what is to be said of how that was found.
    """
    table = modes.normalise(options.modes, options.endpoints, options.regions)
    if not options.rollback:
        return *modes.desired(table, options.mode), []
    run_id, before, notes = history.previous_records(root)
    found = {route53.plain(endpoint) for endpoint in options.endpoints}
    if set(before) != found or not set(before.values()) <= set(options.regions):
        raise RefusedError(
            f"rollback of {run_id}: found records of {', '.join(sorted(before))}, expected those of the inventory's "
            f"endpoints and regions: choose a mode with failover.yml"
        )
    return modes.name_of(table, before) or "rollback", before, notes


def _bounds(options: Options) -> Bounds:
    return Bounds(options.max_clients, options.max_endpoints, options.min_share, options.max_share)


def _check(aws: Aws, options: Options, plan: Plan, roster: Roster) -> list[Finding]:
    """Everything that speaks against a plan; nothing where nothing is to be done."""
    counts = roster.counts()
    if not plan.needed and not counts["misplaced"]:
        return []
    found = storage.findings(Path(options.reports_directory), counts["total"])
    found += approval.guard(counts["misplaced"], counts["total"], len(plan.needed), _bounds(options))
    if options.unmapped_clients == "refuse" and plan.unmapped:
        found.append(
            Finding(
                "unmapped_clients", True, "", "", f"{plan.unmapped} connected clients that no endpoint claims", "none",
                f"set {options.endpoint_attribute} of their things, or set failover_unmapped_clients",
            )
        )  # fmt: skip
    current = {name: record.value for name, record in plan.records.items()}
    found += dns_gate.check(plan.servers, current, options.dns_policy)
    if options.preflight:
        found += preflight.check(aws, _settings(options), _question(plan, roster))
    return found + ledger_state.unkept(options.ledger, MACHINE.now())


def _settings(options: Options) -> preflight.Settings:
    return preflight.Settings(
        ca_file=options.ca_file,
        certificate_days=options.certificate_days,
        probe_certificate=options.probe_certificate,
        probe_private_key=options.probe_private_key,
        port=options.mqtt_port,
        record_ttl=options.ttl,
        hosted_zone_id=options.hosted_zone_id,
        endpoint_attribute=options.endpoint_attribute,
        resolvers=options.resolvers,
        index=options.discovery == "index",
        default_endpoint=survey.source_of(options).default_endpoint,
    )


def _question(plan: Plan, roster: Roster) -> preflight.Question:
    """What is to be asked about: where records move to, and where clients go."""
    routes = roster.per_route()
    busy = {target for _, target in routes}
    pairs = [(move.endpoint, move.target) for move in plan.moves if move.needed or move.target in busy]
    coming: dict[str, int] = {}
    for (_, target), count in routes.items():
        coming[target] = coming.get(target, 0) + count
    return preflight.Question(
        pairs=pairs,
        hosts=plan.targets,
        sources={move.endpoint: move.source for move in plan.moves},
        dead=plan.dead,
        records=plan.records,
        clients=coming,
    )


def _token(options: Options, plan: Plan, roster: Roster, mode: str) -> str:
    return approval.token(survey.basis(plan, options, mode), roster.client_digest(), roster.waiting())


def _left_alone(unmapped: int, attribute: str) -> list[str]:
    if not unmapped:
        return []
    return [
        f"{unmapped} connected clients are left alone: their things' attribute {attribute} names none of the endpoints"
    ]


def _skipped(dead: Iterable[str]) -> list[str]:
    return [
        f"{region}: skipped, its API does not answer; nobody was disconnected there: run the same again when it is back"
        for region in dead
    ]


def _preview(aws: Aws, options: Options, mode: str, desired: dict[str, str]) -> Result:
    """What a run would do, and what speaks against it."""
    with tempfile.TemporaryDirectory() as folder, Roster(Path(folder) / ROSTER) as roster:
        plan = survey.read(aws, options, desired, roster)
        survey.refuse_dead_targets(plan, roster.per_route())
        found = _check(aws, options, plan, roster)
        token = _token(options, plan, roster, mode)
        result: Result = {
            "changed": bool(plan.needed or (roster.waiting() and options.sweep == "misplaced")),
            "plan": report.plan_dict(plan.moves),
            "token": token,
            "findings": findings.as_dicts(found),
            "lines": [*_keep(options, token, roster), *_preview_lines(options, plan, roster, mode, found, token)],
            "diff": _diff(plan, roster),
        }
    try:
        findings.refuse(found, options.waive)
    except RefusedError as error:
        raise FailedResultError(str(error), result) from error
    return result


def _keep(options: Options, token: str, roster: Roster) -> list[str]:
    """Keep the clients of a plan that may be carried out with others; say so where that fails."""
    if not options.require_approval or not options.approval_drift:
        return []
    try:
        approved_plan.keep(Path(options.reports_directory), token, roster)
    except SwitchError as error:
        return [f"the token approves these very clients only: {error}"]
    return []


def _preview_lines(
    options: Options, plan: Plan, roster: Roster, mode: str, found: list[Finding], token: str
) -> list[str]:
    text = [f"mode {mode}: check mode, nothing is changed"]
    text += [f"{move.endpoint}: {move.source} -> {move.target}" for move in plan.needed]
    routes = roster.per_route() if options.sweep == "misplaced" else {}
    pace = survey.pace(plan.quotas, options)
    for (region, target), count in sorted(routes.items()):
        rate = min(pace.leaving[region], pace.arriving[target])
        text.append(f"{count} clients in {region} belong to {target}: {rate:g} per second, {count / rate:.0f} s")
    if sum(routes.values()) <= CLIENTS_SHOWN:
        text += [
            f"disconnect {each.client_id} in {each.region}, expect it in {each.target}"
            for each in (roster.misplaced(CLIENTS_SHOWN) if routes else ())
            if each.region not in plan.dead
        ]
    if routes:
        text.append(f"telling everyone takes {pace.seconds(routes):.0f} s at least")
    text += _left_alone(plan.unmapped, options.endpoint_attribute) + _skipped(plan.dead)
    text += findings.table(found, options.waive)
    if plan.needed or routes:
        text.append(f"token: {token}")
    return text


def _diff(plan: Plan, roster: Roster) -> dict[str, Any]:
    """Records and clients before and after, as `--diff` shows them; of many clients the first."""
    shown = list(roster.misplaced(CLIENTS_SHOWN))
    counts = [f"{count} in {region}" for (region, _), count in sorted(roster.per_route().items())]
    routes = [f"{count} in {target}" for (_, target), count in sorted(roster.per_route().items())]
    return {
        "before": {
            "records": {move.endpoint: move.source for move in plan.moves},
            "clients": {each.client_id: each.region for each in shown},
            "to_disconnect": counts,
        },
        "after": {
            "records": {move.endpoint: move.target for move in plan.moves},
            "clients": {each.client_id: each.target for each in shown},
            "to_disconnect": routes,
        },
    }


def _after(returned: restore.Returned) -> str:
    if returned.back == returned.told:
        return "see why, then run again"
    return "move to the mode of before for the others, and see why"


class Run:
    """One move, journalled step by step."""

    def __init__(
        self, options: Options, aws: Aws, journal: Journal, roster: Roster, summary: Summary, directory: Path,
        earlier: Path | None = None, runtime: Runtime = MACHINE,
    ) -> None:  # fmt: skip
        self.runtime = runtime
        self.options = options
        self.aws = aws
        self.journal = journal
        self.roster = roster
        self.summary = summary
        self.directory = directory
        self.earlier = earlier
        # A run that goes on began before this process did.
        self.started = datetime.fromisoformat(summary.started_at).timestamp()
        self.wrote = bool(options.run_id)
        self.switched = False
        self.paused = False
        self.targets: dict[str, str] = {}
        self.ttl = float(options.ttl)
        self.page = ""
        self.gaps: dict[str, float] = {}
        self.notes: list[str] = []
        self.findings: list[Finding] = []
        self.sweeper: Sweeper | None = None
        self.reserve: Reserve | None = None
        self.number = 0

    def execute(self, desired: dict[str, str]) -> dict[str, Any]:
        """Move, and write the report however it ends; return the diff."""
        summary = self.summary
        diff: dict[str, Any] = {}
        try:
            with stoppable():
                if self.options.run_id:
                    self._land(self._read_again(desired))
                else:
                    self.journal.write(
                        "start", version=VERSION, run_id=summary.run_id, mode=summary.mode, desired=desired,
                        number=self.number, rollback=self.options.rollback,
                        environment=environment.versions(self.directory.parent),
                        options=environment.chosen(self.options),
                    )  # fmt: skip
                    plan = self._read(desired)
                    diff = _diff(plan, self.roster)
                    self._refuse(plan)
                    self._move(plan)
                summary.outcome = self._outcome()
        except RefusedError as error:
            summary.error, summary.outcome = str(error), "failed" if self.wrote else "refused"
        except Interrupted as error:
            with self._said():
                self.journal.write("interrupted", reason=str(error))
            summary.error, summary.outcome = str(error), "partial" if self.wrote else "failed"
        except SwitchError as error:
            summary.error = str(error)
        finally:
            self._report()
        return diff

    def _report(self) -> None:
        """Write what is known. What the disk does not take is said, and what the module returns has the rest."""
        if self.reserve:
            self.reserve.release()
        with self._said():
            self.roster.settle()
        with self._said():
            self._count()
        self.summary.finished_at = timestamp()
        with self._said():
            self.roster.write_csv(self.directory / "clients.csv")
        with self._said():
            if self.paused:
                self.journal.write("paused")
            else:
                self.journal.write("end", outcome=self.summary.outcome, error=self.summary.error)
        with self._said():
            report.write(self.directory, self.summary.as_dict())

    @contextmanager
    def _said(self) -> Iterator[None]:
        """What the disk does not take in this block is said in the lines, and is the run's error where it has none."""
        try:
            yield
        except (StorageError, sqlite3.Error) as error:
            self.notes.append(f"not on disk: {error}")
            self.summary.error = self.summary.error or str(error)

    def write_page(self) -> None:
        """Write the page, and that of the run that this one goes on from. What goes wrong with it is said, no more."""
        try:
            if self.options.ledger and (self.switched or self.wrote):
                since = datetime.fromisoformat(self.summary.started_at).timestamp()
                clients = self.summary.clients["total"]
                messages.keep(Path(self.options.ledger), self.directory, since, self.runtime.now(), self.gaps, clients)
            self.notes += html_report.write(self.directory)
            self.page = str(self.directory / html_report.NAME)
            if self.earlier is not None:
                html_report.write(self.earlier)
        except Exception as error:  # noqa: BLE001 - the move is over, and its outcome stands
            self.notes.append(
                f"{html_report.NAME}: found {one_line(error)}, expected a page: make report writes it again"
            )

    def result(self, diff: dict[str, Any]) -> Result:
        """What the module returns.

        Raises:
            FailedResultError: the move did not end as it should; carries the same.
        """
        found = self.summary.as_dict()
        shown = [*report.lines(found, str(self.directory), self.page), *self.notes]
        shown += findings.table(self.findings, self.options.waive)
        result: Result = {"changed": self.wrote, "diff": diff, "summary": found, "report": str(self.directory)}
        result |= {"targets": self.targets, "paused": self.paused, "lines": shown}
        result |= {"findings": findings.as_dicts(self.findings)}
        result |= {key: found[key] for key in ("run_id", "outcome", "plan")}
        if self.summary.error:
            raise FailedResultError(self.summary.error, result)
        return result

    def _outcome(self) -> str:
        if self.summary.error or self.paused:
            return "partial"
        return "moved" if self.wrote else "unchanged"

    def _read(self, desired: dict[str, str]) -> Plan:
        with self.summary.phase("plan"):
            self.roster.resume()
            plan = survey.read(self.aws, self.options, desired, self.roster)
        self.summary.moves = plan.moves
        hosts = plan.targets
        self.targets = {endpoint: hosts[region] for endpoint, region in desired.items() if region in hosts}
        for region, reason in plan.dead.items():
            self.journal.write("skipped", region=region, reason=reason)
        routes = self.roster.per_route()
        survey.refuse_dead_targets(plan, routes)
        pace = survey.pace(plan.quotas, self.options)
        self.journal.write(
            "plan", plan=report.plan_dict(plan.moves), misplaced=sum(routes.values()), unmapped=plan.unmapped,
            seconds=round(pace.seconds(routes), 1), pace=vars(pace), targets=plan.targets,
            token=_token(self.options, plan, self.roster, self.summary.mode),
        )  # fmt: skip
        self.notes += _left_alone(plan.unmapped, self.options.endpoint_attribute) + _skipped(plan.dead)
        return plan

    def _refuse(self, plan: Plan) -> None:
        """Stop here when anything speaks against the plan, or nobody has approved it."""
        with self.summary.phase("preflight"):
            self.findings = _check(self.aws, self.options, plan, self.roster)
        self.journal.write("preflight", findings=findings.as_dicts(self.findings), waived=sorted(self.options.waive))
        findings.refuse(self.findings, self.options.waive)
        if self.options.require_approval and (plan.needed or self.roster.waiting()):
            self._approve(_token(self.options, plan, self.roster, self.summary.mode))

    def _approve(self, found: str) -> None:
        approved, drift = self.options.approve, self.options.approval_drift
        differs = None
        if approved and approved != found and drift:
            differs = approved_plan.differences(self.directory.parent, approved, self.roster)
        lines = approval.check(approved, found, drift, differs)
        self.journal.write("approved", token=approved, differences=lines)
        self.notes += lines

    def _move(self, plan: Plan) -> None:
        """Switch and wait for DNS; then let the clients land, unless the caller wants to look at DNS first."""
        if plan.needed:
            with self.summary.phase("switch"):
                self._switch(plan)
        try:
            with self.summary.phase("dns"):
                self._dns_gate(plan)
        except NotConvergedError as error:
            self._give_up(plan, error)
        waiting = self.options.sweep == "misplaced" and self.roster.waiting()
        self.paused = bool(self.options.pause_after_dns and self.switched and waiting)
        if not self.paused:
            self._land(plan)

    def _land(self, plan: Plan) -> None:
        """Sweep and prove. Notes in the summary what is wrong at the end, in one line."""
        try:
            if self.options.sweep == "misplaced":
                with self.summary.phase("sweep"):
                    self._evacuate(plan)
        except (WaveError, TargetLostError) as error:
            self._give_up(plan, error)
        except (UnprovenError, OwnWayError) as error:
            # Whoever has moved may well be where it belongs: going back would be the harm.
            raise self._stays(error) from error
        with self.summary.phase("messages"):
            self._count_messages()
        self.summary.error = self._stragglers()

    def _read_again(self, desired: dict[str, str]) -> Plan:
        """The plan of a run that goes on: what is now, and the records as they were before it switched them.

        Raises:
            RefusedError: the run did not pause, or somebody has changed its records since.
        """
        before, ttl = history.switched_records(self.directory / JOURNAL)
        self.journal.write("start", version=VERSION, run_id=self.summary.run_id, mode=self.summary.mode,
                           desired=desired, goes_on=True)  # fmt: skip
        with self.summary.phase("plan"):
            self.roster.resume()
            plan = survey.read(self.aws, self.options, desired, self.roster)
        if plan.needed:
            raise RefusedError(
                f"run {self.summary.run_id}: found {', '.join(move.endpoint for move in plan.needed)} changed since, "
                "expected the records as the run switched them: find out who moves them, then run the mode again"
            )
        self.switched = True
        self.ttl = max(self.ttl, ttl)
        records = {name: record for name, raw in before.items() if (record := route53.simple_cname(raw))}
        return replace(plan, moves=list(self.summary.moves), records={**plan.records, **records})

    def _give_up(self, plan: Plan, error: SwitchError) -> None:
        """End a move that does not land where that is worse than going back; restore the records where one can.

        Raises:
            SwitchError: always; says why, and where the records are now.
        """
        stale = isinstance(error, NotConvergedError)
        if stale and self.options.dns_policy != "abort":
            raise error
        back = [move for move in plan.needed if move.source not in plan.dead]
        if not self.switched or not self.options.restore or len(back) < len(plan.needed):
            raise self._stays(error) from error
        with self.summary.phase("restore"):
            returned = restore.restore(
                self.aws, self.options, self.journal, plan, self.roster, self.directory, self.runtime
            )
        self.summary.outcome = "rolled_back"
        raise SwitchError(
            f"{error}: the records were restored, and {returned.back} of {returned.told} clients that had been told to "
            f"leave were seen back; {_after(returned)}"
        ) from error

    def _stays(self, error: SwitchError) -> SwitchError:
        self.summary.outcome = "partial"
        return SwitchError(
            f"{error}: the records stay where they are and nobody else is disconnected; see the stragglers, then run "
            "again"
        )

    def _switch(self, plan: Plan) -> None:
        changes: list[dict[str, Any]] = []
        expected: dict[str, str] = {}
        for move in plan.needed:
            target = plan.targets[move.target]
            changes += route53.compare_and_swap(plan.records[move.endpoint], target, self.options.ttl)
            expected[move.endpoint] = target
        before = {move.endpoint: dict(plan.records[move.endpoint].raw) for move in plan.needed}
        self.journal.write("switch", records=expected, before=before)
        staying = [plan.records[move.endpoint] for move in plan.moves if not move.needed]
        changes += route53.as_read(staying)
        expected |= {record.name: record.value for record in staying}
        comment = f"Move to mode {self.summary.mode}"
        zone = self.options.hosted_zone_id
        change_id = route53.submit(self.aws.route53_writer, zone, changes, plan.records, expected, comment)
        self.wrote = self.switched = True
        self.journal.write("switched", change_id=change_id)
        if change_id:
            route53.wait_insync(
                self.aws.route53, change_id, self.options.dns_timeout, self.runtime.monotonic, self.runtime.sleep
            )
            self.journal.write("insync", change_id=change_id)
        # Resolvers nobody can ask may keep the old answer for the TTL that it was served with. Clients that
        # still get it after dns_timeout go back, and are disconnected again when that TTL has passed.
        self.ttl = max(self.ttl, *(plan.records[move.endpoint].ttl for move in plan.needed))
        self._wait_out(min(self.options.dns_timeout, max(plan.records[move.endpoint].ttl for move in plan.needed)))

    def _wait_out(self, seconds: float) -> None:
        """Wait for a TTL to pass, and say so."""
        deadline = self.runtime.monotonic() + seconds
        while (left := deadline - self.runtime.monotonic()) > 0:
            self._waiting_for_dns((), left)
            self.runtime.sleep(min(WAITING_SECONDS, left))

    def _dns_gate(self, plan: Plan) -> None:
        expected = {endpoint: plan.targets[region] for endpoint, region in plan.desired.items()}
        stale = dns_gate.Gate(
            self.options.dns_consecutive,
            self.options.dns_timeout,
            self.options.dns_policy,
            self._waiting_for_dns,
            self._dns_settled,
            self.runtime.ask,
            self.runtime.monotonic,
            self.runtime.sleep,
        ).wait(plan.servers, expected)
        self.journal.write(
            "dns", servers=[server.name for server in plan.servers], stale=[vars(each) for each in stale]
        )
        self.notes += [f"DNS: {each.server} still answers {each.name} = {each.answer}" for each in stale]

    def _waiting_for_dns(self, stale: Iterable[Stale], left: float) -> None:
        self.journal.note("dns_waiting", stale=[vars(each) for each in stale], left=round(left, 1))

    def _dns_settled(self, server: Server) -> None:
        self.journal.note("dns_settled", server=server.name, resolver=server.recursive)

    def _evacuate(self, plan: Plan) -> None:
        """Move everyone, again for whoever came to the old region after the plan was read."""
        # A run that goes on from another's clients has not looked who is there now.
        if self.earlier is None and not self.roster.count("state NOT IN ('placed', 'landed')"):
            return
        evacuation = self._evacuation(plan)
        percents = waves.parse(self.options.waves)
        sizes = waves.sizes(self.roster.waiting(), percents)
        number = 1
        try:
            for turn in range(ROUNDS):
                if not turn or sizes:
                    self.wrote = self.wrote or bool(sizes)
                    self.summary.sweep["passes"] += bool(sizes)
                    evacuation.run(sizes, number)
                    evacuation.watch()
                    number += len(sizes)
                    survey.find_clients(self.aws, self.options, plan.desired, plan.quotas, self.roster, late=True)
                    self._refuse_late(plan)
                    sizes = waves.sizes(self.roster.waiting(), percents)
        finally:
            self._count_sweep(evacuation)

    def _refuse_late(self, plan: Plan) -> None:
        """Stop before clients that the plan did not know are disconnected beyond what was approved, or the limits.

        Raises:
            SwitchError: they are too many.
        """
        if not (late := self.roster.late()):
            return
        counts = self.roster.counts()
        found = approval.guard(counts["misplaced"], counts["total"], len(plan.needed), _bounds(self.options))
        reasons = [finding.line() for finding in findings.in_force(found, self.options.waive)]
        if self.options.require_approval:
            planned = self.roster.planned()
            reasons += [
                f"{count} clients to {target} that were not approved, expected "
                f"{self.options.approval_drift:g} % of {planned.get(target, 0)} at most"
                for target, count in sorted(late.items())
                if count > planned.get(target, 0) * self.options.approval_drift / 100
            ]
        if reasons:
            self.summary.outcome = "partial"
            raise SwitchError(
                f"clients: found {sum(late.values())} that came to a region after the plan was made, and they were not "
                f"disconnected: {'; '.join(reasons)}: read the plan again, then run again"
            )

    def _evacuation(self, plan: Plan) -> Evacuation:
        pace = survey.pace(plan.quotas, self.options)
        self.sweeper = Sweeper(
            self.aws.data, pace.leaving, pace.arriving, self.options.clean_session, self.options.prevent_will_message,
            self.runtime,
        )  # fmt: skip
        rates = {region: quota.get_connection for region, quota in plan.quotas.items()}
        in_flight = self.options.max_in_flight or int(FLIGHT_SECONDS * max(pace.leaving.values()))
        limits = Limits(self.options.max_stragglers, in_flight, self.options.landing_timeout, self.ttl)
        # Where the operator lets nobody look at the MQTT endpoints beforehand, nobody looks during the sweep.
        looking = self.options.preflight and "server_certificate" not in self.options.waive
        targets = {target for _, target in self.roster.per_route()} if looking else set()
        guard = RecordsGuard(self.aws, _settings(self.options), plan, targets, self.runtime)
        looker = Looker(self.aws.data, rates, plan.dead, self.runtime)
        return Evacuation(self.roster, self.sweeper, looker, self.journal, limits, guard, self.runtime)

    def _count_sweep(self, evacuation: Evacuation) -> None:
        calls, sweep = evacuation.sweeper.calls, self.summary.sweep
        again = self.roster.count("kicks > 1")
        sweep["calls"], sweep["throttled"] = calls, evacuation.sweeper.throttled
        sweep["passes"] += bool(again)
        # Two clients that were told within 10 ms are no 200 per second, which would look like a broken quota.
        sweep["rate"] = round(evacuation.told / max(1.0, evacuation.seconds), 1)

    def _count(self) -> None:
        counts = self.roster.counts()
        dark = counts.pop("dark")
        self.summary.clients = counts
        if dark and self.switched:
            self.notes.append(f"{dark} clients are connected in neither region, as far as seen")

    def _count_messages(self) -> None:
        """Read the ledger until nothing is missing any more, for LEDGER_TIMEOUT at most."""
        if not self.options.ledger:
            return
        moved = {each.client_id: (each.region, each.target) for each in self.roster.moved()}
        deadline = self.runtime.monotonic() + LEDGER_TIMEOUT
        tally = ledger.Tally(Path(self.options.ledger), self.started, moved)
        while tally.update():
            self.summary.messages = tally.messages()
            found = tally.gaps()
            self.summary.gap_seconds = ledger.percentiles(found.values())
            self.gaps = found
            complete = not self.summary.messages["lost"] and len(found) == len(moved)
            if complete or self.runtime.monotonic() >= deadline:
                self.notes += ledger.told_apart(tally.implausible())
                return
            self.runtime.sleep(LEDGER_INTERVAL)
        if not any(each.check == "message_figures" for each in self.findings):
            self.findings += ledger_state.unkept(self.options.ledger, self.runtime.now())

    def _stragglers(self) -> str | None:
        if self.options.sweep == "none":
            return None
        counts = self.roster.counts()
        if not counts["stragglers"]:
            return None
        names = [each.client_id for each in self.roster.misplaced(NAMES_SHOWN + 1)]
        shown = ", ".join(names[:NAMES_SHOWN]) + (", …" if len(names) > NAMES_SHOWN else "")
        return (
            f"clients: found {counts['stragglers']} of {counts['total']} not landed after "
            f"{self.options.landing_timeout:.0f} s ({shown}), expected all in their region: look at these devices "
            "(clients.csv in the report), then run again"
        )
