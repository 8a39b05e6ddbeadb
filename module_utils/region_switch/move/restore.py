"""Rolling back a move that does not land: records by compare-and-swap, then the clients that had left."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ..dns.gate import Gate
from ..dns.method import Change
from ..fleet.roster import Roster
from ..model.errors import NotConvergedError, RecordsChangedError, SwitchError
from ..record import events
from . import survey
from .course import Course
from .guard import RecordsGuard
from .interrupt import Interrupted
from .landing import ASK_AGAIN, RESOLVER_CACHE
from .survey import Plan
from .sweep import Limits, Sweep
from .ways import DEFAULT, WAYS

ROSTER = "restored.sqlite"


def restore(course: Course, plan: Plan) -> events.Returned:
    """Restore the records that this run has switched, and bring the clients back; the roster says which returned.

    Raises:
        RecordsChangedError: somebody else has changed them since; nothing was overwritten.
        AwsError: Route 53 refuses.
    """
    before = {move.endpoint: plan.records[move.endpoint] for move in plan.needed}
    found = course.dns.read([move.endpoint for move in plan.moves], patiently=True)
    changes: list[Change] = []
    carried = {record.name for record in plan.carried}
    # Includes those that stayed: somebody else may have moved one, and the batch writes the whole table.
    for move in plan.moves:
        record = found[move.endpoint]
        if record is None or record.value != plan.targets[move.target]:
            raise RecordsChangedError(
                f"record {move.endpoint}: found {record.value if record else 'none'}, expected "
                f"{plan.targets[move.target]} as this run left it: somebody else changes it, nothing was restored",
                {name: each.value if each else None for name, each in found.items()},
            )
        if move.endpoint in before or record.name in carried:
            changes.append(Change(record, before.get(move.endpoint, record)))
    values = {name: record.value for name, record in before.items()}
    course.journal.write(events.Restore(records=values))
    change_id = course.dns.swap(changes, "Restore after a move that did not land")
    course.restored, course.homes = True, plan.sources
    course.journal.write(events.Restored(change_id=change_id))
    if change_id:
        course.dns.wait(change_id, course.options.dns_wait.dns_timeout)
    _wait_for_dns(course, plan, values)
    return _bring_back(course, plan)


def _wait_for_dns(course: Course, plan: Plan, expected: dict[str, str]) -> None:
    """Wait for DNS, but do not fail on it: devices need an answer now."""
    wait, runtime = course.options.dns_wait, course.runtime
    gate = Gate(
        wait.dns_consecutive, wait.dns_timeout, "proceed",
        ask=runtime.ask, clock=runtime.monotonic, sleep=runtime.sleep,
    )  # fmt: skip
    try:
        gate.wait(plan.servers, expected)
    except NotConvergedError:
        return


def _bring_back(course: Course, plan: Plan) -> events.Returned:
    """Disconnect the clients that had landed, and look for all that had been disconnected before."""
    # The failure may have silenced an API since: clients there cannot be disconnected, and return by themselves.
    silent = survey.silent_regions(course.aws) | plan.gone
    homes = {move.endpoint: move.source for move in plan.needed}
    roster = course.roster
    with Roster(course.directory / ROSTER) as back:
        for client, landed in roster.reverse():
            # Clients whose record did not move are where they belong.
            if (home := homes.get(client.endpoint)) is not None:
                back.add_returning(client, home, landed and client.target not in silent)
        back.commit()
        _carry_out(_sweep(course, plan, back, silent), back)
        for client in back.landed():
            roster.returned(client)
        for client, in_home, in_left in back.away():
            roster.still_away(client, in_home, in_left)
        roster.commit()
        returned = events.Returned(told=back.count(), back=back.count_landed())
    course.journal.write(returned)
    return returned


def _carry_out(sweep: Sweep, back: Roster) -> None:
    """Carry out the way back; only an interruption ends it early.

    Raises:
        Interrupted: it was.
    """
    try:
        sweep.run([back.waiting()])
        sweep.watch()
    except Interrupted:
        raise
    except SwitchError:
        # The API of a failed region may be down, too: clients that returned are still looked for.
        back.tell_nobody()
        try:
            sweep.watch()
        except Interrupted:
            raise
        except SwitchError:
            return


def _sweep(course: Course, plan: Plan, back: Roster, silent: Collection[str]) -> Sweep:
    pace, runtime = course.options.pace, course.runtime
    way = WAYS[DEFAULT](course.aws, pace, plan.quotas, silent, runtime)
    ttl = float(course.options.dns.ttl)
    # A client that goes to the failed region again is disconnected again when no resolver knows it any more.
    timeout = max(pace.landing_timeout, max(ttl, RESOLVER_CACHE) + ASK_AGAIN)
    # If somebody else has moved the records meanwhile, clients are left where those point.
    guard = RecordsGuard(course, replace(plan, desired=plan.sources), "on the way back")
    return Sweep(back, way, course.journal, Limits(100.0, way.in_flight, timeout, ttl), guard, runtime)
