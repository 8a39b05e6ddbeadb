"""Read the current state before anything is changed: regions, records, clients, quotas. A region may be dead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ..aws import quotas
from ..aws.clients import Aws, AwsClient, describe_data_endpoint
from ..aws.quotas import Quotas
from ..dns import gate
from ..dns.method import DnsMethod, Zone
from ..fleet.roster import Roster
from ..fleet.source import Connection
from ..fleet.stream import stream
from ..model.cname import Record
from ..model.dns_server import Server
from ..model.errors import ROUTE53, AwsError, RefusedError, SwitchError
from ..model.evidence import Evidence
from ..model.names import region_of
from ..model.options import Options, RunOptions
from ..model.plan import Move, build_moves
from .course import Services

# Clients of a list that were not found.
NAMES_SHOWN = 5
NAME_IT = "name it in failover_source_gone"
# Takes the place of the answer of a region that is named there.
GONE = SwitchError("named in failover_source_gone")


@dataclass(frozen=True)
class Plan:
    """The current state and what a run will do; the clients are in the roster.

    Attributes:
        desired: `{endpoint: region}`.
        targets: `{region: host name of its iot:Data-ATS endpoint}`.
        records: the endpoints' CNAMEs as read.
        dead: `{region: why its API is taken for dead}`.
        quotas: of the living regions.
        unmapped: how many connected clients belong to none of the endpoints.
        servers: whose answers are waited for.
        evidence: who could be looked for.
        gone: dead regions that the operator has named.
        zone: the zone that the records are in.
        room: how many records one change takes.
    """

    desired: dict[str, str]
    targets: dict[str, str]
    records: dict[str, Record]
    moves: list[Move]
    dead: dict[str, str]
    quotas: dict[str, Quotas]
    unmapped: int
    servers: list[Server]
    evidence: Evidence = field(default_factory=Evidence)
    gone: frozenset[str] = frozenset()
    zone: Zone | None = None
    room: int = 0

    @property
    def needed(self) -> list[Move]:
        return [move for move in self.moves if move.needed]

    @property
    def staying(self) -> list[Record]:
        return [self.records[move.endpoint] for move in self.moves if not move.needed]

    @property
    def carried(self) -> list[Record]:
        """Those that stay, as many as there is room for beside those that move."""
        return self.staying[: max(0, self.room - len(self.needed))]

    @property
    def sources(self) -> dict[str, str]:
        """`{endpoint: region}` of the records as read."""
        return {move.endpoint: move.source for move in self.moves}

    @property
    def expected(self) -> dict[str, str]:
        """`{endpoint: host name}` that the records have in the mode."""
        return {endpoint: self.targets[region] for endpoint, region in self.desired.items()}

    @property
    def living(self) -> list[str]:
        return [region for region in self.targets if region not in self.dead]


def read(services: Services, desired: dict[str, str], roster: Roster) -> Plan:
    """Read the current state, compare it with the desired one, and fill the roster. Writes nothing at AWS.

    A roster that already has clients is that of an interrupted run, and knows which were disconnected. All clients are
    read again: the endpoint and region that a device had hours ago are no reason to disconnect it.

    Raises:
        RefusedError: a move that would go wrong.
        AwsError: AWS refuses to be read, or no region answers.
    """
    try:
        return _read(services, desired, roster)
    except AwsError as error:
        if may_leave(error, services.options, desired):
            raise RefusedError(f"{error}; or, to leave {error.region} without asking it, {NAME_IT}") from error
        raise


def may_leave(error: AwsError, options: Options, desired: Mapping[str, str]) -> bool:
    """Whether a refusal comes from a region that nothing moves to, so that it can be left without asking."""
    if error.throttled or error.temporary or error.operation in ROUTE53:
        return False
    return error.region in options.inventory.regions and error.region not in desired.values()


def _read(services: Services, desired: dict[str, str], roster: Roster) -> Plan:
    aws, dns, options = services.aws, services.dns, services.options
    gone = frozenset(options.scope.source_gone)
    with ThreadPoolExecutor(max_workers=len(options.inventory.regions) + 2) as pool:
        asking = {region: iot for region, iot in aws.probing.items() if region not in gone}
        # If target regions refuse as well, the trouble is not one region's.
        order = sorted(asking, key=lambda region: region not in desired.values())
        asked = {region: pool.submit(describe_data_endpoint, asking[region]) for region in order}
        # A run that resumes has switched its records.
        reading = pool.submit(dns.read, desired, patiently=bool(options.run.run_id))
        locating = pool.submit(_dns_servers, dns, options, desired)
        found = reading.result()
        told = {region: _answer(answer.result) for region, answer in asked.items()} | dict.fromkeys(gone, GONE)
        targets, dead = _endpoints({region: told[region] for region in options.inventory.regions}, found)
        zone, servers = locating.result()
        living = [region for region in options.inventory.regions if region not in dead]
        limits = dict(zip(living, pool.map(lambda region: quotas.read(aws, region), living), strict=True))
    moves = build_moves(desired, found, targets)
    records = {name: record for name, record in found.items() if record}
    unmapped = find_clients(services, desired, limits, roster, late=bool(options.run.run_id))
    roster.forget_unseen(living)
    roster.only_look_for(dead)
    known, unclaimed = _expect_clients(services, desired, _silent_sources(moves, dead), roster)
    ids = (client_id for client_id, _ in services.source.listed())
    evidence = Evidence(*roster.not_found(ids, NAMES_SHOWN), known, unclaimed)
    return Plan(desired, targets, records, moves, dead, limits, unmapped, servers, evidence, gone, zone,
                dns.max_records)  # fmt: skip


def silent_regions(aws: Aws) -> set[str]:
    """The regions whose API does not answer now."""

    def silent(iot: AwsClient) -> bool:
        try:
            describe_data_endpoint(iot)
        except AwsError as error:
            return error.temporary and not error.throttled
        return False

    with ThreadPoolExecutor(max_workers=len(aws.probing)) as pool:
        answers = pool.map(silent, aws.probing.values())
        return {region for region, dead in zip(aws.probing, answers, strict=True) if dead}


def find_clients(
    services: Services, desired: Mapping[str, str], limits: Mapping[str, Quotas], roster: Roster, late: bool
) -> int:
    """Put the connected clients of the regions of `limits` into the roster; return how many no endpoint claims.

    Args:
        late: whether the plan has been made without those that are found now.
    """
    unmapped = 0
    for batch in stream(services.aws, list(limits), services.source, limits):
        unmapped += sum(client.endpoint not in desired for client in batch)
        roster.add(batch, desired, late)
    roster.commit()
    return unmapped


def _silent_sources(moves: Iterable[Move], dead: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """`{target: {endpoint: region that cannot be asked, where its clients may be}}`.

    The clients of an endpoint whose record has moved already may be in any dead region.
    """
    found: dict[str, dict[str, str]] = {}
    for move in moves:
        silent = move.source if move.needed else next(iter(dead), "")
        if silent in dead and move.target not in dead:
            found.setdefault(move.target, {})[move.endpoint] = silent
    return found


def _expect_clients(
    services: Services, desired: Mapping[str, str], silent_sources: Mapping[str, Mapping[str, str]], roster: Roster
) -> tuple[dict[str, int], int]:
    """Add devices that may be in a dead region to the roster; return `known` and `unclaimed` of the evidence."""
    known: dict[str, int] = {}
    unclaimed = 0
    for target, silent in silent_sources.items():
        known |= dict.fromkeys(silent, 0)
        strangers = 0
        for client_id, endpoint in services.source.known(services.aws, target):
            strangers += endpoint not in desired
            if endpoint in silent:
                known[endpoint] += 1
                roster.expect([Connection(client_id, endpoint, silent[endpoint], 0.0)], desired)
        unclaimed = max(unclaimed, strangers)
    roster.commit()
    return known, unclaimed


def _dns_servers(dns: DnsMethod, options: Options, endpoints: Iterable[str]) -> tuple[Zone, list[Server]]:
    """The zone and the DNS servers to ask, before anything is switched: one that is not found stops the move."""
    zone = dns.zone(endpoints)
    return zone, gate.servers(options.dns.name_servers or zone.name_servers, options.dns.resolvers)


def _answer(result: Callable[[], str]) -> str | AwsError:
    """A region's host name, or why it is taken for dead.

    Raises:
        AwsError: the region answers, with a refusal.
    """
    try:
        return result()
    except AwsError as error:
        if error.throttled or not error.temporary:
            raise
        return error


def _endpoints(
    answers: Mapping[str, str | SwitchError], records: Mapping[str, Record | None]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return `{region: host name}` and `{dead region: reason}`; a dead region's host name is in the records or nowhere.

    Raises:
        AwsError: no region answers.
    """
    dead = {region: answer for region, answer in answers.items() if isinstance(answer, SwitchError)}
    if len(dead) == len(answers):
        raise next(iter(dead.values()))
    hosts = {region: answer for region, answer in answers.items() if isinstance(answer, str)}
    for record in records.values():
        if record and (region := region_of(record.value)) in dead:
            hosts[region] = record.value
    order = [region for region in answers if region in hosts]
    return {region: hosts[region] for region in order}, {region: str(error) for region, error in dead.items()}


def refuse_dead_targets(plan: Plan, routes: Iterable[tuple[str, str]]) -> None:
    """Refuse a move into a region whose API does not answer: nothing could be proven there.

    Args:
        routes: (region, target) of the clients that have to go.

    Raises:
        RefusedError: names the region.
    """
    targets = {move.target for move in plan.needed} | {target for _, target in routes}
    for region in sorted(targets & plan.dead.keys()):
        raise RefusedError(
            f"region {region}: its API does not answer ({plan.dead[region]}), so nothing moves "
            f"there: {'take it out of that list' if region in plan.gone else 'choose another mode, or wait'}"
        )


def basis(plan: Plan, options: Options, mode: str) -> dict[str, Any]:
    """Everything that a plan was computed from, except the clients."""
    # A run's name, folder and operator do not change what it does.
    left_out = {"approve", "mode", "modes", *RunOptions.__dataclass_fields__}
    return {
        "mode": mode,
        "desired": plan.desired,
        "targets": plan.targets,
        "records": {name: dict(record.raw) for name, record in plan.records.items()},
        "dead": sorted(plan.dead),
        "options": {key: value for key, value in options.flat.items() if key not in left_out},
    }
