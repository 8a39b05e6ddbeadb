"""The records of a move: switched by compare-and-swap, waited for, checked again, and restored on failure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from ..dns.gate import Gate, Stale
from ..dns.method import Change
from ..model.dns_server import Server
from ..model.errors import (
    AwsError,
    NotConvergedError,
    RecordsChangedError,
    RolledBackError,
    SwitchError,
    UnfinishedError,
)
from ..record import events
from .course import Course
from .guard import look_at_records
from .records_watch import RecordsWatch
from .restore import restore
from .survey import Plan

WAITING_SECONDS = 1.0


def switch(course: Course, plan: Plan) -> None:
    dns, read, ttl = course.dns, plan.records, course.options.dns.ttl
    expected = {move.endpoint: plan.targets[move.target] for move in plan.needed}
    changes = [Change(read[name], dns.record(name, host, ttl, read[name])) for name, host in expected.items()]
    changes += [Change(record, record) for record in plan.carried]
    course.before = {name: dict(read[name].raw) for name in expected}
    course.journal.write(events.Switch(records=expected, before=course.before))
    change_id = dns.swap(changes, f"Move to mode {course.summary.mode}")
    course.wrote = course.switched = True
    course.homes = dict(plan.desired)
    course.journal.write(events.Switched(change_id=change_id))
    if change_id:
        dns.wait(change_id, course.options.dns_wait.dns_timeout, _watch(course, plan).look)
        course.journal.write(events.Insync(change_id=change_id))
    # Resolvers that cannot be asked may keep the old answer for its TTL. Clients that still get it after dns_timeout go
    # back, and are disconnected again when that TTL has expired.
    old = max(read[name].ttl for name in expected)
    course.ttl = max(course.ttl, old)
    _wait_out(course, min(course.options.dns_wait.dns_timeout, old), _watch(course, plan))


def wait_for_dns(course: Course, plan: Plan) -> dict[str, Any]:
    """Wait for DNS; return the servers that were given up, for the summary."""
    options, runtime, watch = course.options.dns_wait, course.runtime, _watch(course, plan)

    def waiting(stale: Iterable[Stale], left: float) -> None:
        _waiting_for_dns(course, stale, left)
        watch.look()

    def settled(server: Server) -> None:
        course.journal.note(events.DnsSettled(server=server.name, resolver=server.recursive))

    dns = Gate(
        options.dns_consecutive, options.dns_timeout, options.dns_policy, waiting, settled,
        runtime.ask, runtime.monotonic, runtime.sleep,
    )  # fmt: skip
    try:
        stale = dns.wait(plan.servers, plan.expected)
    except NotConvergedError:
        # The servers may be right: somebody else may have changed the records.
        watch.look_at_all()
        raise
    if stale:
        watch.look_at_all()
    given_up = sorted({each.server for each in stale})
    right = [server.name for server in plan.servers if server.name not in given_up]
    course.journal.write(events.Dns(servers=right, stale=[vars(each) for each in stale]))
    course.notes += [f"DNS: {each.server} still answers {each.name} = {each.answer}" for each in stale]
    return {"stale": given_up} if given_up else {}


def _watch(course: Course, plan: Plan) -> RecordsWatch:
    return RecordsWatch(course.dns, plan.expected, course.runtime)


def _wait_out(course: Course, seconds: float, watch: RecordsWatch) -> None:
    """Wait for a TTL to expire, and show it."""
    deadline = course.runtime.monotonic() + seconds
    while (left := deadline - course.runtime.monotonic()) > 0:
        watch.look()
        _waiting_for_dns(course, (), left)
        course.runtime.sleep(min(WAITING_SECONDS, left))


def _waiting_for_dns(course: Course, stale: Iterable[Stale], left: float) -> None:
    course.journal.note(events.DnsWaiting(stale=[vars(each) for each in stale], left=round(left, 1)))


def look_again(course: Course, plan: Plan) -> None:
    """Check that the records are still as this run says.

    Raises:
        RecordsChangedError: somebody else moves them.
    """
    look_at_records(course.dns, plan, "during the move")


def give_up(course: Course, plan: Plan, error: SwitchError) -> NoReturn:
    """End a move that cannot go on; restore the records if possible.

    Raises:
        SwitchError: always: RolledBackError, UnfinishedError, or `error` itself.
    """
    stale = isinstance(error, NotConvergedError)
    if stale and course.options.dns_wait.dns_policy != "abort":
        raise error
    back = [move for move in plan.needed if move.source not in plan.dead]
    if not course.switched or not course.options.scope.restore or len(back) < len(plan.needed):
        raise stays(error) from error
    with course.summary.phase("restore"):
        returned = restore(course, plan)
    since = _changed_since_restored(course, plan)
    raise RolledBackError(
        f"{error}: the records were restored, and {returned.back} of {returned.told} disconnected clients were "
        f"seen back; {since or _after(returned)}"
    ) from error


def _changed_since_restored(course: Course, plan: Plan) -> str:
    """A note on records that somebody else has changed since they were restored; empty if none were."""
    try:
        look_at_records(course.dns, replace(plan, desired=plan.sources), "since they were restored")
    except RecordsChangedError as error:
        course.records_are_found(error)
        return str(error)
    except AwsError as error:
        return f"whether they still are as restored is not known: {error}"
    return ""


def stays(error: SwitchError) -> SwitchError:
    return UnfinishedError(
        f"{error}: the records stay where they are and nobody else is disconnected; see the stragglers, then run again"
    )


def _after(returned: events.Returned) -> str:
    if returned.back == returned.told:
        return "see why, then run again"
    return "see why, and move the others back with the previous mode"


def devices_stale(stale: Sequence[str], seconds: float) -> NotConvergedError:
    """Devices whose own resolvers still lead to the old region.

    Args:
        stale: a line for each.
    """
    return NotConvergedError(
        f"DNS on devices after {seconds:g} s: found {'; '.join(stale)}: nobody was disconnected; correct the "
        "resolvers of these devices, then run again"
    )
