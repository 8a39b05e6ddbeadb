"""Rolling back a move that does not land: records by compare-and-swap, then the clients that had left."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from ..aws.clients import Aws
from ..dns.gate import Gate
from ..dns.method import Change, DnsMethod
from ..fleet.roster import Roster
from ..model.errors import NotConvergedError, RecordsChangedError, SwitchError
from ..model.options import Options
from ..record import events
from ..record.journal import Journal
from . import survey
from .guard import TableGuard
from .interrupt import Interrupted
from .landing import ASK_AGAIN, RESOLVER_CACHE
from .runtime import MACHINE, Runtime
from .survey import Plan
from .sweep import Limits, Sweep
from .ways import DEFAULT, WAYS

ROSTER = "restored.sqlite"


@dataclass(frozen=True)
class Returned:
    """Clients of a rolled-back move: how many had been disconnected, and how many of them were seen back."""

    told: int
    back: int


def restore(
    aws: Aws, dns: DnsMethod, options: Options, journal: Journal, plan: Plan, roster: Roster, directory: Path,
    runtime: Runtime = MACHINE, restored: Callable[[], None] = lambda: None,
) -> Returned:  # fmt: skip
    """Restore the records that this run has switched, and bring the clients back; the roster says which returned.

    Args:
        restored: called when the records are restored.

    Raises:
        RecordsChangedError: somebody else has changed them since; nothing was overwritten.
        AwsError: Route 53 refuses.
    """
    before = {move.endpoint: plan.records[move.endpoint] for move in plan.needed}
    found = dns.read([move.endpoint for move in plan.moves], patiently=True)
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
    journal.write(events.Restore(records=values))
    change_id = dns.swap(changes, "Restore after a move that did not land")
    restored()
    journal.write(events.Restored(change_id=change_id))
    if change_id:
        dns.wait(change_id, options.dns_wait.dns_timeout)
    _wait_for_dns(options, plan, values, runtime)
    return _bring_back(aws, dns, options, journal, plan, roster, directory, runtime)


def _wait_for_dns(options: Options, plan: Plan, expected: dict[str, str], runtime: Runtime) -> None:
    """Wait for DNS, but do not fail on it: devices need an answer now."""
    gate = Gate(
        options.dns_wait.dns_consecutive, options.dns_wait.dns_timeout, "proceed",
        ask=runtime.ask, clock=runtime.monotonic, sleep=runtime.sleep,
    )  # fmt: skip
    try:
        gate.wait(plan.servers, expected)
    except NotConvergedError:
        return


def _bring_back(
    aws: Aws, dns: DnsMethod, options: Options, journal: Journal, plan: Plan, roster: Roster, directory: Path,
    runtime: Runtime,
) -> Returned:  # fmt: skip
    """Disconnect the clients that had landed, and look for all that had been disconnected before."""
    # The failure may have silenced an API since: clients there cannot be disconnected, and return by themselves.
    silent = survey.silent_regions(aws) | plan.gone
    homes = {move.endpoint: move.source for move in plan.needed}
    with Roster(directory / ROSTER) as back:
        for client, landed in roster.reverse():
            # Clients whose record did not move are where they belong.
            if (home := homes.get(client.endpoint)) is not None:
                back.add_returning(client, home, landed and client.target not in silent)
        back.commit()
        _carry_out(_sweep(aws, dns, options, journal, plan, back, silent, runtime), back)
        for client in back.landed():
            roster.returned(client)
        for client, in_home, in_left in back.away():
            roster.still_away(client, in_home, in_left)
        roster.commit()
        found = Returned(back.count(), back.count_landed())
    journal.write(events.Returned(told=found.told, back=found.back))
    return found


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


def _sweep(
    aws: Aws, dns: DnsMethod, options: Options, journal: Journal, plan: Plan, back: Roster, silent: Collection[str],
    runtime: Runtime,
) -> Sweep:  # fmt: skip
    way = WAYS[DEFAULT](aws, options.pace, plan.quotas, silent, runtime)
    ttl = float(options.dns.ttl)
    # A client that goes to the failed region again is disconnected again when no resolver knows it any more.
    timeout = max(options.pace.landing_timeout, max(ttl, RESOLVER_CACHE) + ASK_AGAIN)
    # If somebody else has moved the records meanwhile, clients are left where those point.
    guard = TableGuard(dns, replace(plan, desired=plan.sources), "on the way back")
    return Sweep(back, way, journal, Limits(100.0, way.in_flight, timeout, ttl), guard, runtime)
