"""The clients of a move: disconnected wave by wave, and again those that connected to a region being left meanwhile."""

from __future__ import annotations

from ..model import approval, findings, waves
from ..model.errors import UnfinishedError, many
from . import survey
from .course import Course
from .guard import RecordsGuard
from .survey import Plan
from .sweep import Limits, Sweep
from .ways import DEFAULT, WAYS

# Clients that connect to the old region during the move are moved, too, but not for ever.
ROUNDS = 5
# Fleet indexing follows connections typically within a second
# (https://docs.aws.amazon.com/iot/latest/developerguide/device-connectivity-status.html): that nobody is left in the
# old region is believed when it was read twice, so many seconds apart.
READS_AT_ZERO = 2
READ_AGAIN_SECONDS = 2.0


def move(course: Course, plan: Plan) -> None:
    """Move all misplaced clients, and those that connect to the old region after the plan was made.

    Raises:
        SwitchError: of `Sweep.run`, and of `_refuse_late`.
    """
    # Where records were switched, clients may have come to the old region since the plan was made.
    if not course.switched and not course.roster.outstanding():
        return
    # Clients may have connected while the run was paused.
    _refuse_late(course, plan)
    sweep = _sweep(course, plan)
    left = {region for region, _ in course.roster.per_route()} | {move.source for move in plan.needed}
    sizes = waves.sizes(course.roster.waiting(), waves.parse(course.options.pace.waves))
    number = 1
    try:
        for turn in range(ROUNDS):
            course.wrote = course.wrote or bool(sizes)
            course.summary.sweep["passes"] += bool(sizes)
            # Late clients are judged together with the fleet that has moved: they are no reason to send it back.
            moved = course.roster.counts()["misplaced"] - sum(sizes) if turn else 0
            number = sweep.run(sizes, number, moved)
            sweep.watch()
            course.moved = True
            if not (sizes := _came_since(course, plan, left)):
                break
    finally:
        _count_sweep(course, sweep)


def _came_since(course: Course, plan: Plan, left: set[str]) -> list[int]:
    """Find clients that have since connected to a region being left, and return the waves to move them in; empty where
    there are none. A source that lags is read twice before that is believed.

    Raises:
        SwitchError: of `_refuse_late`.
    """
    limits = plan.quotas
    for reading in range(READS_AT_ZERO if course.source.lags else 1):
        if reading:
            course.runtime.sleep(READ_AGAIN_SECONDS)
            limits = {region: quota for region, quota in plan.quotas.items() if region in left}
        survey.find_clients(course, plan.desired, limits, course.roster, late=True)
        _refuse_late(course, plan)
        if sizes := waves.sizes(course.roster.waiting(), waves.parse(course.options.pace.waves)):
            return sizes
    return []


def _refuse_late(course: Course, plan: Plan) -> None:
    """Stop before clients that are not in the plan are disconnected beyond the approval or the limits.

    Raises:
        SwitchError: there are too many of them.
    """
    if not (late := course.roster.late()):
        return
    counts, bounds = course.roster.counts(), course.options.approval
    found = approval.guard(counts["misplaced"], counts["total"], len(plan.needed), bounds)
    reasons = [finding.line() for finding in findings.in_force(found, course.options.checks.waive)]
    if bounds.require_approval:
        approved = course.roster.planned()
        for target, count in sorted(late.items()):
            planned = approved.get(target, 0)
            if count > (allowed := approval.tolerated(planned, bounds.approval_drift)):
                reasons.append(
                    f"{many(count, 'client')} to {target} not approved, expected {allowed:g} at most, for "
                    f"{bounds.approval_drift:g} % of {planned}"
                )
    if reasons:
        raise UnfinishedError(
            f"clients: found {sum(late.values())} that came to a region after the plan was made, and they were not "
            f"disconnected: {'; '.join(reasons)}: review the plan, then run again"
        )


def _sweep(course: Course, plan: Plan) -> Sweep:
    options = course.options
    way = WAYS[DEFAULT](course.aws, options.pace, plan.quotas, plan.dead, course.runtime)
    in_flight = options.pace.max_in_flight or way.in_flight
    limits = Limits(options.pace.max_stragglers, in_flight, options.pace.landing_timeout, course.ttl)
    # An operator who turns the check of the MQTT endpoints off turns it off during the sweep, too.
    looking = options.scope.preflight and "server_certificate" not in options.checks.waive
    targets = {target for _, target in course.roster.per_route()} if looking else set()
    guard = RecordsGuard(course, plan, "during the sweep", targets)
    return Sweep(course.roster, way, course.journal, limits, guard, course.runtime)


def _count_sweep(course: Course, sweep: Sweep) -> None:
    counts = course.summary.sweep
    # Includes clients that an interrupted run had disconnected, and that went back.
    course.wrote = course.wrote or bool(sweep.mover.calls)
    again = course.roster.told_again()
    counts["calls"], counts["throttled"] = sweep.mover.calls, sweep.mover.throttled
    counts["passes"] += bool(again)
    if sweep.forbidden:
        course.notes.append(f"{sweep.forbidden} DeleteConnection requests were refused (403) and tried again")
    # Two clients disconnected within 10 ms would show as 200 per second, which looks like a broken quota.
    counts["rate"] = round(sweep.asked / max(1.0, sweep.seconds), 1)
