"""The move: from what is to what a mode says, in the order that loses nobody."""

from __future__ import annotations

import sqlite3
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from .. import report
from ..aws.clients import Aws
from ..checks import approved_plan, preflight
from ..dns import gate, hosted_zone, route53
from ..dns.gate import Gate, Stale
from ..fleet.roster import Roster
from ..model import approval, evidence, findings, modes, waves
from ..model.approval import Bounds
from ..model.dns_server import Server
from ..model.errors import (
    AwsError,
    NotConvergedError,
    RecordsChangedError,
    RefusedError,
    StorageError,
    SwitchError,
    duration,
    listed,
    one_line,
    unforeseen,
)
from ..model.findings import Finding
from ..model.names import plain
from ..model.options import Options
from ..module import FailedResultError, Result
from ..record import environment, folder, history, ledger, ledger_state, storage, who
from ..record import summary as summaries
from ..record.folder import UntrustedError
from ..record.journal import VERSION, Journal, timestamp
from ..record.storage import Reserve
from ..record.summary import Summary
from ..report import messages
from . import pace as paces
from . import restore, survey
from .evacuation import Evacuation, LateError, Limits, UnprovenError, WaveError, usual_in_flight
from .guard import OwnWayError, RecordsGuard, TargetLostError, look_at_records
from .interrupt import Interrupted, stoppable, undisturbed
from .landing import Looker
from .lock import exclusive
from .records_watch import RecordsWatch
from .runtime import MACHINE, Runtime
from .survey import Plan
from .sweep import Sweeper

LEDGER_TIMEOUT = 10.0
LEDGER_INTERVAL = 0.2
NAMES_SHOWN = 10
WAITING_SECONDS = 1.0
CLIENTS_SHOWN = 20
# Clients that come to the old region while others are moved away from it are moved, too; not for ever.
ROUNDS = 5
# Fleet indexing follows connections typically within a second
# (https://docs.aws.amazon.com/iot/latest/developerguide/device-connectivity-status.html): that nobody is left in the
# old region is believed when it was read twice, so many seconds apart.
READS_AT_ZERO = 2
READ_AGAIN_SECONDS = 2.0
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
    waves.parse(options.pace.waves)
    root = Path(options.run.reports_directory)
    folder.check(root)
    mode, desired, notes, expected = _desired(options, root)
    notes += [*folder.foreign(root), *options.passed_over()]
    aws = Aws(options.inventory.regions)
    if check_mode:
        return _noting(notes, lambda: _preview(aws, options, mode, desired, expected, runtime))
    folder.claim(root)
    # Whatever signal comes while the report is written, it is written.
    with undisturbed():
        with exclusive(root / ".lock", mode):
            earlier = None
            if options.run.run_id:
                directory = folder.run_folder(root, options.run.run_id)
                summary = Summary.read(directory)
            else:
                summary = Summary(summaries.new_run_id(mode), mode)
                directory = root / summary.run_id
                earlier = _prepare(root, directory, desired, notes, runtime.now())
            with (
                Reserve(directory) as reserve,
                Journal(directory / JOURNAL, reserve.release) as journal,
                Roster(directory / ROSTER, reserve.release) as roster,
            ):
                move = Run(options, aws, journal, roster, summary, directory, earlier, runtime)
                move.notes += notes
                move.reserve, move.number, move.expected = reserve, history.next_number(root), expected
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
    earlier = history.interrupted(root, desired, now - RESUME_SECONDS, now + RESUME_SECONDS)
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


def _desired(options: Options, root: Path) -> tuple[str, dict[str, str], list[str], history.Previous | None]:
    """The mode's name and what it wants; for a rollback what the records were before the last run that moved them.

    Returns:
        Also what is to be said of how that was found, and what a rollback expects of the records as they are.
    """
    table = modes.normalise(options.inventory.modes, options.inventory.endpoints, options.inventory.regions)
    if not options.scope.rollback:
        return *modes.desired(table, options.scope.mode), [], None
    last = history.previous_records(root)
    before = last.before
    found = {plain(endpoint) for endpoint in options.inventory.endpoints}
    if set(before) != found or not set(before.values()) <= set(options.inventory.regions):
        raise RefusedError(
            f"rollback of {last.run_id}: found records of {', '.join(sorted(before))}, expected those of the "
            "inventory's endpoints and regions: choose a mode with failover.yml"
        )
    return modes.name_of(table, before) or "rollback", before, last.notes, last


def _bounds(options: Options) -> Bounds:
    return Bounds(
        options.approval.max_clients,
        options.approval.max_endpoints,
        options.approval.min_share,
        options.approval.max_share,
    )


def _check(aws: Aws, options: Options, plan: Plan, roster: Roster) -> list[Finding]:
    """Everything that speaks against a plan; where nothing is to be done, against saying so."""
    counts = roster.counts()
    found = _nobody(options, plan, roster)
    if not plan.needed and not counts["misplaced"]:
        return found
    found += storage.findings(Path(options.run.reports_directory), counts["total"])
    found += approval.guard(counts["misplaced"], counts["total"], len(plan.needed), _bounds(options))
    if options.scope.unmapped_clients == "refuse" and plan.unmapped:
        found.append(
            Finding(
                "unmapped_clients", True, "", "", f"{plan.unmapped} connected clients that no endpoint claims", "none",
                f"set {options.fleet.endpoint_attribute} of their things, or set failover_unmapped_clients",
            )
        )  # fmt: skip
    if plan.zone:
        found += hosted_zone.check(plan.zone, plan.servers, bool(options.dns.name_servers), options.dns_wait.dns_policy)
        found += hosted_zone.guardrails(plan.zone) if plan.needed else []
    current = {name: record.value for name, record in plan.records.items()}
    found += gate.check(plan.servers, current, options.dns_wait.dns_policy)
    if options.scope.preflight:
        found += preflight.check(aws, _settings(options), _question(plan, roster))
    found = [_naming_way_out(finding, options, plan) for finding in found]
    return found + ledger_state.unkept(options.run.ledger, MACHINE.now())


def _nobody(options: Options, plan: Plan, roster: Roster) -> list[Finding]:
    unmapped = plan.unmapped if options.scope.sweep == "misplaced" and options.scope.unmapped_clients != "refuse" else 0
    return evidence.findings(
        plan.evidence, plan.moves, roster.per_endpoint(), unmapped, options.fleet.endpoint_attribute
    )


def _naming_way_out(finding: Finding, options: Options, plan: Plan) -> Finding:
    """A region that refuses what a move asks may be left without asking it."""
    left = finding.region in options.inventory.regions and finding.region not in plan.desired.values()
    if finding.check != "permission" or not left:
        return finding
    return replace(finding, advice=f"{finding.advice}; or, to leave {finding.region} without asking, {survey.NAME_IT}")


def _settings(options: Options) -> preflight.Settings:
    return preflight.Settings(
        options.inventory.hosted_zone_id,
        options.dns,
        options.checks,
        options.fleet.endpoint_attribute,
        survey.source_of(options).default_endpoint,
        options.fleet.discovery == "index",
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


def _left_alone(unmapped: int, options: Options) -> list[str]:
    if not unmapped:
        return []
    attribute = f"their things' attribute {options.fleet.endpoint_attribute}"
    who = f"neither the list nor {attribute}" if options.fleet.discovery == "clients" else attribute
    none = "one" if options.fleet.discovery == "clients" else "none"
    return [f"{unmapped} connected clients are left alone: {who} names {none} of the endpoints"]


def _told(plan: Plan, options: Options) -> list[str]:
    """Who is left out of a move."""
    left_alone = _left_alone(plan.unmapped, options)
    return [*left_alone, *evidence.notes(plan.evidence), *_skipped(plan)]


def _unproven(plan: Plan, options: Options) -> str | None:
    if options.scope.sweep == "none":
        return None
    return evidence.unproven(plan.evidence, plan.dead, options.fleet.endpoint_attribute, options.checks.waive)


def _skipped(plan: Plan) -> list[str]:
    return [
        f"{region}: taken for gone (failover_source_gone) and not asked; nobody was disconnected there, and whoever is "
        "connected there stays: when it can be asked, run the same again without this option"
        if region in plan.gone
        else f"{region}: skipped, its API does not answer ({reason.partition(', expected')[0]}); nobody was "
        "disconnected there: run the same again when it is back"
        for region, reason in plan.dead.items()
    ]


def _preview(
    aws: Aws, options: Options, mode: str, desired: dict[str, str], expected: history.Previous | None, runtime: Runtime
) -> Result:
    """What a run would do, and what speaks against it."""
    with tempfile.TemporaryDirectory() as folder, Roster(Path(folder) / ROSTER) as roster:
        plan = survey.read(aws, options, desired, roster)
        if expected:
            expected.expect(plan.sources)
        survey.refuse_dead_targets(plan, roster.per_route())
        found = _check(aws, options, plan, roster)
        token = _token(options, plan, roster, mode)
        _sign(options, token, runtime)
        result: Result = {
            "changed": bool(plan.needed or (roster.waiting() and options.scope.sweep == "misplaced")),
            "plan": summaries.plan_dict(plan.moves),
            "token": token,
            "findings": findings.as_dicts(found),
            "lines": [*_keep(options, token, roster), *_preview_lines(options, plan, roster, mode, found, token)],
            "diff": _diff(plan, roster, options),
        }
    try:
        findings.refuse(found, options.checks.waive)
    except RefusedError as error:
        raise FailedResultError(str(error), result) from error
    return result


def _keep(options: Options, token: str, roster: Roster) -> list[str]:
    """Keep the clients of a plan that may be carried out with others; say so where that fails."""
    if not options.approval.require_approval or not options.approval.approval_drift:
        return []
    try:
        approved_plan.keep(Path(options.run.reports_directory), token, roster)
    except SwitchError as error:
        return [f"the token approves these very clients only: {error}"]
    return []


def _sign(options: Options, token: str, runtime: Runtime) -> None:
    """Note who made a plan that waits for approval, where that can be kept."""
    if options.approval.require_approval:
        with suppress(SwitchError):
            maker = who.here(options.run.operator, runtime.caller(options.asked))
            approved_plan.sign(Path(options.run.reports_directory), token, maker)


def _preview_lines(
    options: Options, plan: Plan, roster: Roster, mode: str, found: list[Finding], token: str
) -> list[str]:
    text = [f"mode {mode}: check mode, nothing is changed"]
    text += [f"{move.endpoint}: {move.source} -> {move.target}" for move in plan.needed]
    routes = roster.per_route() if options.scope.sweep == "misplaced" else {}
    pace = paces.pace(plan.quotas, options.pace)
    for (region, target), count in sorted(routes.items()):
        rate = min(pace.leaving[region], pace.arriving[target])
        text.append(f"{count} clients in {region} belong to {target}: {rate:g} per second, {duration(count / rate)}")
    if sum(routes.values()) <= CLIENTS_SHOWN:
        text += [
            f"disconnect {each.client_id} in {each.region}, expect it in {each.target}"
            for each in (roster.misplaced(CLIENTS_SHOWN) if routes else ())
            if each.region not in plan.dead
        ]
    if routes:
        text.append(f"telling everyone takes {duration(pace.seconds(routes))} at least")
    text += [*_not_carried(plan), *_told(plan, options), *filter(None, [_unproven(plan, options)])]
    text += findings.table(found, options.checks.waive)
    if plan.needed or routes:
        text.append(f"token: {token}")
    return text


def _diff(plan: Plan, roster: Roster, options: Options) -> dict[str, Any]:
    """Records and clients before and after, as `--diff` shows them; of many clients the first.

    `to_disconnect` is what the move does, and so stands on its side alone: how many, from where, for where.
    """
    sweeping = options.scope.sweep == "misplaced"
    shown = list(roster.misplaced(CLIENTS_SHOWN)) if sweeping else []
    routes = [
        f"{count} from {region}, to come back in {target}"
        for (region, target), count in sorted(roster.per_route().items() if sweeping else ())
        if region not in plan.dead
    ]
    return {
        "before": {
            "records": {move.endpoint: move.source for move in plan.moves},
            "clients": {each.client_id: each.region for each in shown},
            "to_disconnect": [],
        },
        "after": {
            "records": {move.endpoint: move.target for move in plan.moves},
            "clients": {each.client_id: each.target for each in shown},
            "to_disconnect": routes,
        },
    }


def _not_carried(plan: Plan) -> list[str]:
    """What a batch has no room for is said: it is what keeps two controllers apart."""
    left_out = len(plan.staying) - len(plan.carried)
    if not plan.needed or not left_out:
        return []
    return [
        f"{left_out} records that stay have no room in Route 53's batch: somebody else's change of these at the "
        "same time is noticed in the end only; have no other controller move them meanwhile"
    ]


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
        self.wrote = bool(options.run.run_id)
        self.switched = False
        self.paused = False
        self.targets: dict[str, str] = {}
        self.ttl = float(options.dns.ttl)
        self.page = ""
        self.gaps: dict[str, float] = {}
        self.notes: list[str] = []
        self.findings: list[Finding] = []
        self.sweeper: Sweeper | None = None
        self.reserve: Reserve | None = None
        self.number = 0
        self.expected: history.Previous | None = None
        # Where the records point, as far as this run has read or changed them: `{endpoint: region}`.
        self.homes: dict[str, str] = {}
        self.hosts: dict[str, str] = {}
        # Whether every wave has landed, and the messages are counted.
        self.moved = self.counted = False
        self.restored = self.interrupted = False

    def execute(self, desired: dict[str, str]) -> dict[str, Any]:
        """Move, and write the report however it ends; return the diff."""
        summary = self.summary
        diff: dict[str, Any] = {}
        try:
            with stoppable():
                if self.options.run.run_id:
                    self._land(self._read_again(desired))
                else:
                    summary.by = who.here(self.options.run.operator, self.runtime.caller(self.options.asked)).as_dict()
                    self.journal.write(
                        "start", version=VERSION, run_id=summary.run_id, mode=summary.mode, desired=desired,
                        number=self.number, rollback=self.options.scope.rollback, by=summary.by,
                        environment=environment.versions(self.directory.parent),
                        options=environment.chosen(self.options),
                    )  # fmt: skip
                    plan = self._read(desired)
                    diff = _diff(plan, self.roster, self.options)
                    self._refuse(plan)
                    self._move(plan)
                summary.outcome = self._outcome()
        except RefusedError as error:
            summary.error, summary.outcome = str(error), "failed" if self.wrote else "refused"
            if isinstance(error, RecordsChangedError):
                self._are_found(error)
        except Interrupted as error:
            self.interrupted = True
            with self._said():
                self.journal.write("interrupted", reason=str(error))
            restored = "; the records had been restored, and not everybody was seen back" if self.restored else ""
            summary.error, summary.outcome = f"{error}{restored}", "partial" if self.wrote else "failed"
        except SwitchError as error:
            summary.error = str(error)
        except Exception as error:  # noqa: BLE001 - the report is what an operator needs then
            self._unforeseen(error)
        finally:
            self._report()
        return diff

    def _unforeseen(self, error: Exception) -> None:
        """Have the report say what nobody has thought of, such as a program for credentials that prints a sentence."""
        self.summary.error, self.summary.outcome = unforeseen(error), "failed"
        frames = traceback.extract_tb(error.__traceback__)
        with self._said():
            self.journal.write(
                "unforeseen", error=f"{type(error).__name__}: {error}",
                frames=[f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames],
            )  # fmt: skip

    def _are_found(self, error: RecordsChangedError) -> None:
        """Count against the records as somebody else has left them."""
        hosts = {host: region for region, host in self.hosts.items()}
        self.homes |= {name: hosts.get(host or "", "") for name, host in error.found.items()}

    def _report(self) -> None:
        """Write what is known. What the disk does not take is said, and what the module returns has the rest."""
        if self.reserve:
            self.reserve.release()
        with self._said():
            self.roster.settle()
        with self._said():
            self._count()
        if self.wrote and not self.paused and not self.counted:
            with self._said():
                self._count_messages(0.0 if self.interrupted else LEDGER_TIMEOUT)
        self.summary.finished_at = timestamp()
        with self._said():
            self.roster.write_csv(self.directory / "clients.csv")
        with self._said():
            if self.paused:
                self.journal.write("paused")
            else:
                self.journal.write("end", outcome=self.summary.outcome, error=self.summary.error, records=self.homes)
        with self._said():
            summaries.write(self.directory, self.summary.as_dict())

    @contextmanager
    def _said(self) -> Iterator[None]:
        """What the disk does not take in this block is said in the lines, and is the run's error where it has none."""
        try:
            yield
        except (StorageError, sqlite3.Error) as error:
            self.notes.append(f"not on disk: {error}")
            self.summary.error = self.summary.error or str(error)

    def write_page(self) -> None:
        """Write the page, and that of the run which this one resumes. An error becomes a note."""
        try:
            if self.options.run.ledger and (self.switched or self.wrote):
                since = datetime.fromisoformat(self.summary.started_at).timestamp()
                clients = self.summary.clients["total"]
                messages.keep(
                    Path(self.options.run.ledger), self.directory, since, self.runtime.now(), self.gaps, clients
                )
            self.notes += report.write(self.directory)
            self.page = str(self.directory / report.NAME)
            if self.earlier is not None:
                report.write(self.earlier)
        except Exception as error:  # noqa: BLE001 - the move is over, and its outcome stands
            self.notes.append(f"{report.NAME}: not written ({one_line(error)}): make report writes it")

    def result(self, diff: dict[str, Any]) -> Result:
        """What the module returns.

        Raises:
            FailedResultError: the move did not end as it should; carries the same.
        """
        found = self.summary.as_dict()
        said = {**found, "outcome": self._in_words()}
        shown = [*summaries.lines(said, str(self.directory), self.page), *self.notes]
        shown += findings.table(self.findings, self.options.checks.waive)
        result: Result = {"changed": self.wrote, "diff": diff, "summary": found, "report": str(self.directory)}
        result |= {"targets": self.targets, "paused": self.paused, "lines": shown}
        result |= {"findings": findings.as_dicts(self.findings)}
        result |= {key: found[key] for key in ("run_id", "outcome", "plan")}
        if self.summary.error:
            raise FailedResultError(self.summary.error, result)
        return result

    def _in_words(self) -> str:
        swept = self.options.scope.sweep == "misplaced"
        return evidence.outcome(self.summary.outcome, self.summary.clients["total"], swept, self.summary.given_up)

    def _outcome(self) -> str:
        if self.summary.error or self.paused:
            return "partial"
        return "moved" if self.wrote else "unchanged"

    def _read(self, desired: dict[str, str]) -> Plan:
        with self.summary.phase("plan"):
            self.roster.resume()
            plan = survey.read(self.aws, self.options, desired, self.roster)
        self.summary.moves = plan.moves
        hosts = self.hosts = plan.targets
        self.homes = plan.sources
        if self.expected:
            self.expected.expect(plan.sources)
        self.targets = {endpoint: hosts[region] for endpoint, region in desired.items() if region in hosts}
        for region, reason in plan.dead.items():
            self.journal.write("skipped", region=region, reason=reason, gone=region in plan.gone)
        routes = self.roster.per_route()
        survey.refuse_dead_targets(plan, routes)
        pace = paces.pace(plan.quotas, self.options.pace)
        self.journal.write(
            "plan", plan=summaries.plan_dict(plan.moves), misplaced=sum(routes.values()), unmapped=plan.unmapped,
            seconds=round(pace.seconds(routes), 3), pace=vars(pace), targets=plan.targets,
            token=_token(self.options, plan, self.roster, self.summary.mode),
        )  # fmt: skip
        self.notes += [*_not_carried(plan), *_told(plan, self.options)]
        return plan

    def _refuse(self, plan: Plan) -> None:
        """Stop here when anything speaks against the plan, or nobody has approved it."""
        with self.summary.phase("preflight"):
            self.findings = _check(self.aws, self.options, plan, self.roster)
        self.journal.write(
            "preflight", findings=findings.as_dicts(self.findings), waived=sorted(self.options.checks.waive)
        )
        findings.refuse(self.findings, self.options.checks.waive)
        if self.options.approval.require_approval and (plan.needed or self.roster.waiting()):
            self._approve(_token(self.options, plan, self.roster, self.summary.mode))

    def _approve(self, found: str) -> None:
        approved, drift = self.options.approval.approve, self.options.approval.approval_drift
        differs = None
        if approved and approved != found and drift:
            differs = approved_plan.differences(self.directory.parent, approved, self.roster)
        lines = approval.check(approved, found, drift, differs)
        planned = approved_plan.maker(self.directory.parent, approved or "")
        self.journal.write("approved", token=approved, differences=lines, planned_by=planned)
        self.summary.by = {**(self.summary.by or {}), "approved": {"token": approved, "planned_by": planned}}
        self.notes += lines

    def _move(self, plan: Plan) -> None:
        """Switch and wait for DNS; then let the clients land, unless the caller wants to look at DNS first."""
        if plan.needed:
            with self.summary.phase("switch"):
                self._switch(plan)
        try:
            with self.summary.phase("dns") as noted:
                noted |= self._dns_gate(plan)
        except NotConvergedError as error:
            self._look_again(plan)
            self._give_up(plan, error)
        waiting = self.options.scope.sweep == "misplaced" and self.roster.waiting()
        self.paused = bool(self.options.run.pause_after_dns and self.switched and waiting)
        if not self.paused:
            self._land(plan)

    def _look_again(self, plan: Plan) -> None:
        """Look whether the records are in the end what this run says of them.

        Raises:
            RecordsChangedError: somebody else moves them.
        """
        look_at_records(self.aws, self.options.inventory.hosted_zone_id, plan, "during the move")

    def _land(self, plan: Plan) -> None:
        """Sweep and prove. Notes in the summary what is wrong at the end, in one line."""
        try:
            if self.options.scope.sweep == "misplaced":
                with self.summary.phase("sweep"):
                    self._evacuate(plan)
        except (WaveError, TargetLostError, LateError, UnprovenError, OwnWayError) as error:
            # Clients follow the records: who has changed these is why they are elsewhere.
            self._look_again(plan)
            if isinstance(error, WaveError | TargetLostError) and not self.moved:
                self._give_up(plan, error)
            # Whoever has moved may well be where it belongs: going back would be the harm.
            raise self._stays(error) from error
        with self.summary.phase("messages"):
            self._count_messages(LEDGER_TIMEOUT)
        self.summary.error = self._stragglers() or _unproven(plan, self.options)
        self._look_again(plan)

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
        self.homes, self.hosts = dict(plan.desired), plan.targets
        records = {name: record for name, raw in before.items() if (record := route53.simple_cname(raw))}
        return replace(plan, moves=list(self.summary.moves), records={**plan.records, **records})

    def _give_up(self, plan: Plan, error: SwitchError) -> None:
        """End a move that does not land where that is worse than going back; restore the records where one can.

        Raises:
            SwitchError: always; says why, and where the records are now.
        """
        stale = isinstance(error, NotConvergedError)
        if stale and self.options.dns_wait.dns_policy != "abort":
            raise error
        back = [move for move in plan.needed if move.source not in plan.dead]
        if not self.switched or not self.options.scope.restore or len(back) < len(plan.needed):
            raise self._stays(error) from error
        with self.summary.phase("restore"):
            returned = restore.restore(
                self.aws, self.options, self.journal, plan, self.roster, self.directory, self.runtime,
                lambda: self._is_restored(plan),
            )  # fmt: skip
        since = self._changed_since_restored(plan)
        self.summary.outcome = "rolled_back"
        raise SwitchError(
            f"{error}: the records were restored, and {returned.back} of {returned.told} clients that had been told to "
            f"leave were seen back; {since or _after(returned)}"
        ) from error

    def _changed_since_restored(self, plan: Plan) -> str:
        """What is to be said of records that somebody else has changed since they were restored; empty of none."""
        try:
            look_at_records(
                self.aws,
                self.options.inventory.hosted_zone_id,
                replace(plan, desired=plan.sources),
                "since they were restored",
            )
        except RecordsChangedError as error:
            self._are_found(error)
            return str(error)
        except AwsError as error:
            return f"whether they still are as restored is not known: {error}"
        return ""

    def _is_restored(self, plan: Plan) -> None:
        self.restored, self.homes = True, plan.sources

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
            changes += route53.compare_and_swap(plan.records[move.endpoint], target, self.options.dns.ttl)
            expected[move.endpoint] = target
        before = {move.endpoint: dict(plan.records[move.endpoint].raw) for move in plan.needed}
        self.journal.write("switch", records=expected, before=before)
        changes += route53.as_read(plan.carried)
        expected |= {record.name: record.value for record in plan.carried}
        comment = f"Move to mode {self.summary.mode}"
        zone = self.options.inventory.hosted_zone_id
        change_id = route53.submit(
            self.aws.route53_writer, zone, changes, plan.records, expected, comment, self.runtime.sleep
        )
        self.wrote = self.switched = True
        self.homes = dict(plan.desired)
        self.journal.write("switched", change_id=change_id)
        if change_id:
            route53.wait_insync(
                self.aws.route53, change_id, self.options.dns_wait.dns_timeout, self.runtime.monotonic,
                self.runtime.sleep, self._watch(plan).look,
            )  # fmt: skip
            self.journal.write("insync", change_id=change_id)
        # Resolvers nobody can ask may keep the old answer for the TTL that it was served with. Clients that
        # still get it after dns_timeout go back, and are disconnected again when that TTL has passed.
        self.ttl = max(self.ttl, *(plan.records[move.endpoint].ttl for move in plan.needed))
        old = max(plan.records[move.endpoint].ttl for move in plan.needed)
        self._wait_out(min(self.options.dns_wait.dns_timeout, old), self._watch(plan))

    def _watch(self, plan: Plan) -> RecordsWatch:
        expected = {endpoint: plan.targets[region] for endpoint, region in plan.desired.items()}
        return RecordsWatch(self.aws, self.options.inventory.hosted_zone_id, expected, self.runtime)

    def _wait_out(self, seconds: float, watch: RecordsWatch) -> None:
        """Wait for a TTL to pass, and say so."""
        deadline = self.runtime.monotonic() + seconds
        while (left := deadline - self.runtime.monotonic()) > 0:
            watch.look()
            self._waiting_for_dns((), left)
            self.runtime.sleep(min(WAITING_SECONDS, left))

    def _dns_gate(self, plan: Plan) -> dict[str, Any]:
        """Wait for DNS; return what the summary says of it: the servers that were given up, where there are some."""
        expected = {endpoint: plan.targets[region] for endpoint, region in plan.desired.items()}
        watch = self._watch(plan)

        def waiting(stale: Iterable[Stale], left: float) -> None:
            self._waiting_for_dns(stale, left)
            watch.look()

        dns = Gate(
            self.options.dns_wait.dns_consecutive,
            self.options.dns_wait.dns_timeout,
            self.options.dns_wait.dns_policy,
            waiting,
            self._dns_settled,
            self.runtime.ask,
            self.runtime.monotonic,
            self.runtime.sleep,
        )
        try:
            stale = dns.wait(plan.servers, expected)
        except NotConvergedError:
            # Servers that answer what somebody else has written are right.
            watch.look_at_all()
            raise
        if stale:
            watch.look_at_all()
        given_up = sorted({each.server for each in stale})
        right = [server.name for server in plan.servers if server.name not in given_up]
        self.journal.write("dns", servers=right, stale=[vars(each) for each in stale])
        self.notes += [f"DNS: {each.server} still answers {each.name} = {each.answer}" for each in stale]
        return {"stale": given_up} if given_up else {}

    def _waiting_for_dns(self, stale: Iterable[Stale], left: float) -> None:
        self.journal.note("dns_waiting", stale=[vars(each) for each in stale], left=round(left, 1))

    def _dns_settled(self, server: Server) -> None:
        self.journal.note("dns_settled", server=server.name, resolver=server.recursive)

    def _evacuate(self, plan: Plan) -> None:
        """Move everyone, again for whoever came to the old region after the plan was read."""
        # Where records were switched, clients may have come to the old region since the plan was made.
        if not self.switched and not self.roster.count("state NOT IN ('placed', 'landed')"):
            return
        # Of a run that goes on, clients may have come since it paused.
        self._refuse_late(plan)
        evacuation = self._evacuation(plan)
        left = {region for region, _ in self.roster.per_route()} | {move.source for move in plan.needed}
        sizes = waves.sizes(self.roster.waiting(), waves.parse(self.options.pace.waves))
        number = 1
        try:
            for turn in range(ROUNDS):
                self.wrote = self.wrote or bool(sizes)
                self.summary.sweep["passes"] += bool(sizes)
                # Whoever came since is judged with the fleet that has moved, which nobody sends back for it.
                moved = self.roster.counts()["misplaced"] - sum(sizes) if turn else 0
                number = evacuation.run(sizes, number, moved)
                evacuation.watch()
                self.moved = True
                if not (sizes := self._came_since(plan, left)):
                    break
        finally:
            self._count_sweep(evacuation)

    def _came_since(self, plan: Plan, left: set[str]) -> list[int]:
        """Look who has come to a region that was left, and return the waves that they are moved in: none where nobody
        has, which one reading of an index that lags does not say.

        Raises:
            SwitchError: of `_refuse_late`.
        """
        limits = plan.quotas
        for reading in range(READS_AT_ZERO if self.options.fleet.discovery == "index" else 1):
            if reading:
                self.runtime.sleep(READ_AGAIN_SECONDS)
                limits = {region: quota for region, quota in plan.quotas.items() if region in left}
            survey.find_clients(self.aws, self.options, plan.desired, limits, self.roster, late=True)
            self._refuse_late(plan)
            if sizes := waves.sizes(self.roster.waiting(), waves.parse(self.options.pace.waves)):
                return sizes
        return []

    def _refuse_late(self, plan: Plan) -> None:
        """Stop before clients that the plan did not know are disconnected beyond what was approved, or the limits.

        Raises:
            SwitchError: they are too many.
        """
        if not (late := self.roster.late()):
            return
        counts = self.roster.counts()
        found = approval.guard(counts["misplaced"], counts["total"], len(plan.needed), _bounds(self.options))
        reasons = [finding.line() for finding in findings.in_force(found, self.options.checks.waive)]
        if self.options.approval.require_approval:
            planned = self.roster.planned()
            reasons += [
                f"{count} clients to {target} that were not approved, expected "
                f"{approval.tolerated(planned.get(target, 0), self.options.approval.approval_drift):g} at most, for "
                f"{self.options.approval.approval_drift:g} % of {planned.get(target, 0)}"
                for target, count in sorted(late.items())
                if count > approval.tolerated(planned.get(target, 0), self.options.approval.approval_drift)
            ]
        if reasons:
            self.summary.outcome = "partial"
            raise SwitchError(
                f"clients: found {sum(late.values())} that came to a region after the plan was made, and they were not "
                f"disconnected: {'; '.join(reasons)}: read the plan again, then run again"
            )

    def _evacuation(self, plan: Plan) -> Evacuation:
        pace = paces.pace(plan.quotas, self.options.pace)
        self.sweeper = Sweeper(
            self.aws.data, pace.leaving, pace.arriving, self.options.pace.clean_session,
            self.options.pace.prevent_will_message, self.runtime,
        )  # fmt: skip
        rates = {region: quota.get_connection for region, quota in plan.quotas.items()}
        in_flight = self.options.pace.max_in_flight or usual_in_flight(pace.leaving)
        limits = Limits(self.options.pace.max_stragglers, in_flight, self.options.pace.landing_timeout, self.ttl)
        # Where the operator lets nobody look at the MQTT endpoints beforehand, nobody looks during the sweep.
        looking = self.options.scope.preflight and "server_certificate" not in self.options.checks.waive
        targets = {target for _, target in self.roster.per_route()} if looking else set()
        guard = RecordsGuard(self.aws, self.options, plan, targets, self.runtime)
        looker = Looker(self.aws.data, rates, plan.dead, self.runtime)
        return Evacuation(self.roster, self.sweeper, looker, self.journal, limits, guard, self.runtime)

    def _count_sweep(self, evacuation: Evacuation) -> None:
        calls, sweep = evacuation.sweeper.calls, self.summary.sweep
        # Also those whom an interrupted run had told, and who came back.
        self.wrote = self.wrote or bool(calls)
        again = self.roster.count("kicks > 1")
        sweep["calls"], sweep["throttled"] = calls, evacuation.sweeper.throttled
        sweep["passes"] += bool(again)
        if evacuation.forbidden:
            self.notes.append(f"{evacuation.forbidden} DeleteConnection requests were refused (403) and tried again")
        # Two clients that were told within 10 ms are no 200 per second, which would look like a broken quota.
        sweep["rate"] = round(evacuation.told / max(1.0, evacuation.seconds), 1)

    def _count(self) -> None:
        """Count the clients against the records as they are in the end."""
        self.roster.records_are(self.homes)
        counts = self.roster.counts()
        dark = counts.pop("dark")
        self.summary.clients = counts
        if dark and self.switched:
            self.notes.append(f"{dark} clients are connected in neither region, as far as seen")

    def _count_messages(self, patience: float) -> None:
        """Read the ledger until nothing is missing any more, for so many seconds at most."""
        self.counted = True
        if not self.options.run.ledger:
            return
        moved = {client_id: (region, target) for client_id, region, target in self.roster.moved()}
        deadline = self.runtime.monotonic() + patience
        tally = ledger.Tally(Path(self.options.run.ledger), self.started, moved)
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
            self.findings += ledger_state.unkept(self.options.run.ledger, self.runtime.now())

    def _stragglers(self) -> str | None:
        if self.options.scope.sweep == "none":
            return None
        counts = self.roster.counts()
        if not counts["stragglers"]:
            return None
        shown = listed(self.roster.stragglers(NAMES_SHOWN + 1), NAMES_SHOWN)
        return (
            f"clients: found {counts['stragglers']} of {counts['total']} not landed after "
            f"{self.options.pace.landing_timeout:.0f} s ({shown}), expected all in their region: look at these devices "
            "(clients.csv in the report), then run again"
        )
