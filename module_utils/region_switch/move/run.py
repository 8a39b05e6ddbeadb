"""The move, from the current state to that of a mode, in the order that loses no client."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..checks import approved_plan
from ..fleet.roster import FILE, Roster
from ..model import approval, findings, modes, outcome, waves
from ..model.errors import NotConvergedError, RecordsChangedError, RefusedError, SwitchError, unforeseen
from ..model.names import plain
from ..model.options import Options
from ..module import Result
from ..record import environment, events, folder, history, storage, who
from ..record import summary as summaries
from ..record.folder import UntrustedError
from ..record.journal import Journal
from ..record.storage import Reserve
from ..record.summary import Summary
from . import clients, conclusion, paused, plan_checks, preview, records, survey
from . import pace as paces
from .course import Course, Services, connect
from .guard import LocalNetworkError, TargetLostError
from .interrupt import Interrupted, stoppable, undisturbed
from .lock import exclusive
from .runtime import MACHINE, Runtime
from .survey import Plan
from .sweep import LateError, UnprovenError, WaveError

# The client list of an older interrupted run is out of date.
RESUME_SECONDS = 24 * 3600.0


def run(options: Options, check_mode: bool, runtime: Runtime = MACHINE) -> Result:
    """Move the fleet to the mode's regions, or show in check mode what would be done.

    Returns:
        `run_id`, `report`, `outcome`, `plan`, `summary` (summary.json), `lines`, `diff`, `changed`.

    Raises:
        RefusedError: bad input; no run was begun.
        FailedResultError: the move failed; carries the same return values.
    """
    options.check()
    waves.parse(options.pace.waves)
    root = Path(options.run.reports_directory)
    folder.check(root)
    mode, desired, notes, expected = _desired(options, root)
    notes += [*folder.foreign(root), *options.passed_over()]
    services = connect(options, runtime)
    if check_mode:
        return preview.preview(services, mode, desired, expected, notes)
    folder.claim(root)
    # Signals do not interrupt the writing of the report.
    with undisturbed():
        with (
            exclusive(root / ".lock", mode),
            _course(services, mode, desired, notes) as course,
        ):
            diff = _carry_out(course, desired, expected)
        # The next run need not wait for this.
        if not course.paused:
            conclusion.write_page(course)
        return conclusion.result(course, diff)


@contextmanager
def _course(services: Services, mode: str, desired: dict[str, str], notes: list[str]) -> Iterator[Course]:
    """A new run, or one that resumes after its pause, with its files open."""
    options = services.options
    root = Path(options.run.reports_directory)
    earlier, stored = None, dict[str, Any]()
    if options.run.run_id:
        directory = folder.run_folder(root, options.run.run_id)
        stored = paused.read(directory)
        summary = stored.pop("summary")
    else:
        summary = Summary(summaries.new_run_id(mode), mode)
        directory = root / summary.run_id
        earlier = _prepare(root, directory, desired, notes, services.runtime.now())
    with (
        Reserve(directory) as reserve,
        Journal(directory / history.JOURNAL, reserve.release) as journal,
        Roster(directory / FILE, reserve.release) as roster,
    ):
        course = Course(
            **vars(services), journal=journal, roster=roster, summary=summary, directory=directory, earlier=earlier,
            make_room=reserve.release, wrote=bool(stored),
        )  # fmt: skip
        course.ttl = max(float(options.dns.ttl), stored.get("ttl", 0.0))
        course.before, course.notes = stored.get("before", {}), [*stored.get("notes", []), *notes]
        yield course


def _prepare(root: Path, directory: Path, desired: dict[str, str], notes: list[str], now: float) -> Path | None:
    """Make a run's folder, with the clients of an interrupted run that had the same target.

    Returns:
        The folder of that run; None if there is none.
    """
    earlier = history.interrupted(root, desired, now - RESUME_SECONDS, now + RESUME_SECONDS)
    try:
        folder.make(directory)
    except OSError as error:
        raise storage.failed(directory, error) from error
    if earlier is None:
        return None
    try:
        Roster.copy(earlier / FILE, directory / FILE)
    except UntrustedError as error:
        notes.append(str(error))
        return None
    return earlier


def _desired(options: Options, root: Path) -> tuple[str, dict[str, str], list[str], history.Previous | None]:
    """The mode's name and its table; for a rollback, the records before the last run that switched them.

    Returns:
        Also notes, and what a rollback expects of the current records.
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


def _carry_out(course: Course, desired: dict[str, str], expected: history.Previous | None) -> dict[str, Any]:
    """Move, and write the report however it ends; return the diff."""
    diff: dict[str, Any] = {}
    error: BaseException | None = None
    try:
        with stoppable():
            if course.options.run.run_id:
                _resume(course, desired)
            else:
                diff = _begin(course, desired, expected)
    except Exception as ended:  # noqa: BLE001 - the report is what an operator needs then
        error = ended
    except BaseException as ended:
        error = ended
        raise
    finally:
        course.make_room()
        _judge(course, error)
        conclusion.conclude(course)
    return diff


def _judge(course: Course, error: BaseException | None) -> None:
    """Write outcome and error into the summary."""
    summary = course.summary
    course.interrupted = isinstance(error, Interrupted)
    if isinstance(error, RecordsChangedError):
        course.records_are_found(error)
    if isinstance(error, SwitchError):
        if course.interrupted:
            with conclusion.on_disk(course):
                course.journal.write(events.Interrupted(reason=str(error)))
        restored = "; the records had been restored, and not everybody was seen back"
        summary.error = f"{error}{restored if course.interrupted and course.restored else ''}"
    elif isinstance(error, Exception):
        _unforeseen(course, error)
    summary.outcome = outcome.decide(error, course.wrote, proven=not (summary.error or course.paused))


def _unforeseen(course: Course, error: Exception) -> None:
    """Report an unexpected error, such as a credential process that prints plain text."""
    course.summary.error = unforeseen(error)
    frames = traceback.extract_tb(error.__traceback__)
    with conclusion.on_disk(course):
        course.journal.write(events.Unforeseen(
            error=f"{type(error).__name__}: {error}",
            frames=[f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames],
        ))  # fmt: skip


def _begin(course: Course, desired: dict[str, str], expected: history.Previous | None) -> dict[str, Any]:
    """Begin a run; return the diff."""
    options, summary = course.options, course.summary
    root = course.directory.parent
    summary.by = who.here(options.run.operator, course.runtime.caller(options.asked))
    course.journal.write(events.Start(
        run_id=summary.run_id, mode=summary.mode, desired=desired, number=history.next_number(root),
        rollback=options.scope.rollback, by=summary.by, environment=environment.versions(root),
        options=environment.chosen(options),
    ))  # fmt: skip
    plan = _read(course, desired, expected)
    diff = preview.diff(plan, course.roster, options)
    _refuse(course, plan)
    _move(course, plan)
    return diff


def _resume(course: Course, desired: dict[str, str]) -> None:
    """Resume a run after its pause."""
    summary = course.summary
    course.journal.write(events.Start(run_id=summary.run_id, mode=summary.mode, desired=desired, goes_on=True))
    plan = paused.resume(course, desired)
    stale = course.options.run.stale_devices
    if stale and course.options.dns_wait.dns_policy != "proceed":
        records.give_up(course, plan, records.devices_stale(stale, course.options.dns_wait.dns_timeout))
    course.notes += [f"DNS on devices: {line}" for line in stale]
    _land(course, plan)


def _read(course: Course, desired: dict[str, str], expected: history.Previous | None) -> Plan:
    with course.summary.phase("plan"):
        course.roster.resume()
        plan = survey.read(course, desired, course.roster)
    course.summary.moves = plan.moves
    course.hosts, course.homes = plan.targets, plan.sources
    if expected:
        expected.expect(plan.sources)
    for region, reason in plan.dead.items():
        course.journal.write(events.Skipped(region=region, reason=reason, gone=region in plan.gone))
    routes = course.roster.per_route()
    survey.refuse_dead_targets(plan, routes)
    pace = paces.pace(plan.quotas, course.options.pace)
    course.journal.write(events.Plan(
        plan=summaries.plan_dict(plan.moves), misplaced=sum(routes.values()), unmapped=plan.unmapped,
        seconds=round(pace.seconds(routes), 3), pace=vars(pace), targets=plan.targets,
        token=plan_checks.token(course.options, plan, course.roster, course.summary.mode),
    ))  # fmt: skip
    course.notes += plan_checks.notes(plan, course.source)
    return plan


def _refuse(course: Course, plan: Plan) -> None:
    """Stop if a finding blocks the plan, or it is not approved."""
    waived = course.options.checks.waive
    with course.summary.phase("preflight"):
        course.findings = plan_checks.check(course, plan, course.roster)
    course.journal.write(events.Preflight(findings=findings.as_dicts(course.findings), waived=sorted(waived)))
    findings.refuse(course.findings, waived)
    if course.options.approval.require_approval and (plan.needed or course.roster.waiting()):
        _approve(course, plan_checks.token(course.options, plan, course.roster, course.summary.mode))


def _approve(course: Course, found: str) -> None:
    root, summary = course.directory.parent, course.summary
    approved, drift = course.options.approval.approve, course.options.approval.approval_drift
    differs = None
    if approved and approved != found and drift:
        differs = approved_plan.differences(root, approved, course.roster)
    lines = approval.check(approved, found, drift, differs)
    planned = approved_plan.maker(root, approved or "")
    course.journal.write(events.Approved(token=approved or "", differences=lines, planned_by=planned))
    summary.by = {**(summary.by or {}), "approved": {"token": approved, "planned_by": planned}}
    course.notes += lines


def _move(course: Course, plan: Plan) -> None:
    """Switch, wait for DNS, then move the clients, unless the caller checks DNS on devices first."""
    if plan.needed:
        with course.summary.phase("switch"):
            records.switch(course, plan)
    try:
        with course.summary.phase("dns") as noted:
            noted |= records.wait_for_dns(course, plan)
    except NotConvergedError as error:
        records.look_again(course, plan)
        records.give_up(course, plan, error)
    waiting = course.options.scope.sweep == "misplaced" and course.roster.waiting()
    course.paused = bool(course.options.run.pause_after_dns and course.switched and waiting)
    if not course.paused:
        _land(course, plan)


def _land(course: Course, plan: Plan) -> None:
    """Move the clients and prove it; the summary's error names what is wrong in the end."""
    try:
        if course.options.scope.sweep == "misplaced":
            with course.summary.phase("sweep"):
                clients.move(course, plan)
    except (WaveError, TargetLostError, LateError, UnprovenError, LocalNetworkError) as error:
        # If somebody else has changed the records, that is why clients are elsewhere.
        records.look_again(course, plan)
        if isinstance(error, WaveError | TargetLostError) and not course.moved:
            records.give_up(course, plan, error)
        # Clients that have moved may be where they belong: rolling back would do harm.
        raise records.stays(error) from error
    with course.summary.phase("messages"):
        conclusion.count_messages(course, conclusion.LEDGER_TIMEOUT)
    course.summary.error = conclusion.stragglers(course) or plan_checks.unproven(plan, course.options)
    records.look_again(course, plan)
