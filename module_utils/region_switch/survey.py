"""Reading what is, before anything is changed: regions, records, clients, quotas. A region may be dead."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from . import dns_gate, fleet, quotas, route53
from .aws import Aws, AwsClient, describe_data_endpoint
from .errors import AwsError, RefusedError
from .fleet import Client, Source
from .options import Options
from .plan import Move, build_moves
from .quotas import Quotas
from .roster import Roster

# https://docs.aws.amazon.com/iot/latest/developerguide/iot-connect-devices.html: account-specific-prefix-ats.iot.
# region.amazonaws.com; it never changes.
_DATA_ENDPOINT = re.compile(r"[^.]+-ats\.iot\.([^.]+)\.amazonaws\.com(\.cn)?")
# Of the CONNECT and SUBSCRIBE quotas: devices that come back by themselves need some, too.
ARRIVAL_HEADROOM = 0.9


@dataclass(frozen=True)
class Plan:
    """What a run found and what it will do; who has to move is in the roster.

    Attributes:
        desired: `{endpoint: region}`.
        targets: `{region: host name of its iot:Data-ATS endpoint}`.
        records: the endpoints' CNAMEs as read.
        dead: `{region: why its API is taken for dead}`.
        quotas: of the living regions.
        unmapped: how many connections there are of clients that no endpoint claims.
        servers: whose answers are waited for.
    """

    desired: dict[str, str]
    targets: dict[str, str]
    records: dict[str, route53.Record]
    moves: list[Move]
    dead: dict[str, str]
    quotas: dict[str, Quotas]
    unmapped: int
    servers: list[dns_gate.Server]

    @property
    def needed(self) -> list[Move]:
        return [move for move in self.moves if move.needed]

    @property
    def staying(self) -> list[route53.Record]:
        return [self.records[move.endpoint] for move in self.moves if not move.needed]

    @property
    def carried(self) -> list[route53.Record]:
        """Those that stay, as many as there is room for in a batch beside those that move."""
        return self.staying[: max(0, route53.MOST_REPLACED - len(self.needed))]

    @property
    def sources(self) -> dict[str, str]:
        """`{endpoint: region}` of the records as read."""
        return {move.endpoint: move.source for move in self.moves}

    @property
    def living(self) -> list[str]:
        return [region for region in self.targets if region not in self.dead]


@dataclass(frozen=True)
class Pace:
    """Clients per second, by the region that is left and by the one that takes them in."""

    leaving: dict[str, float]
    arriving: dict[str, float]

    def seconds(self, routes: Mapping[tuple[str, str], int]) -> float:
        """How long telling everyone takes at least.

        Args:
            routes: `{(region, target): clients}`.
        """
        out: dict[str, int] = {}
        into: dict[str, int] = {}
        for (region, target), count in routes.items():
            out[region] = out.get(region, 0) + count
            into[target] = into.get(target, 0) + count
        busy = [count / self.leaving[region] for region, count in out.items()]
        busy += [count / self.arriving[region] for region, count in into.items()]
        return max(busy, default=0.0)


def pace(found: Mapping[str, Quotas], options: Options) -> Pace:
    """The pace that both regions' quotas allow, or less where the operator wants less."""
    leaving = {region: options.delete_connection_rate or quota.delete_connection for region, quota in found.items()}
    per_client = options.subscriptions_per_client
    arriving = {
        region: ARRIVAL_HEADROOM * min(quota.connect, quota.subscribe / per_client if per_client else quota.connect)
        for region, quota in found.items()
    }
    return Pace(leaving, arriving)


def region_of(host: str) -> str | None:
    """The AWS Region in the host name of an iot:Data-ATS endpoint, None where it is none."""
    found = _DATA_ENDPOINT.fullmatch(host)
    return found[1] if found else None


def source_of(options: Options) -> Source:
    """Where the clients are looked for."""
    unmapped = options.unmapped_clients
    default = "" if unmapped in ("ignore", "refuse") else route53.plain(unmapped)
    # Who counts the clients of no endpoint has to see those of every endpoint.
    endpoints = [] if unmapped == "refuse" else [route53.plain(endpoint) for endpoint in options.endpoints]
    return Source(
        options.discovery,
        options.endpoint_attribute,
        options.client_ids,
        options.client_ids_file,
        default,
        endpoints,
    )


def read(aws: Aws, options: Options, desired: dict[str, str], roster: Roster) -> Plan:
    """Read what is and compare it with what shall be; put the clients into the roster. Writes nothing at AWS.

    A roster that has clients already is that of an interrupted run, whose clients need not be found again.

    Raises:
        RefusedError: a move that would go wrong.
        AwsError: AWS refuses to be read, or no region answers.
    """
    with ThreadPoolExecutor(max_workers=len(options.regions) + 2) as pool:
        asked = {region: pool.submit(describe_data_endpoint, iot) for region, iot in aws.probing.items()}
        reading = pool.submit(route53.read_records, aws.route53, options.hosted_zone_id, list(desired))
        locating = pool.submit(_dns_servers, aws, options)
        found = reading.result()
        targets, dead = _endpoints({region: _answer(answer.result) for region, answer in asked.items()}, found)
        servers = locating.result()
        living = [region for region in options.regions if region not in dead]
        limits = dict(zip(living, pool.map(lambda region: quotas.read(aws, region), living), strict=True))
    moves = build_moves(desired, found, targets)
    records = {name: record for name, record in found.items() if record}
    unmapped = 0
    if roster.count():
        roster.only_look_for(dead)
    else:
        unmapped = find_clients(aws, options, desired, limits, roster)
        _expect_clients(aws, options, desired, moves, dead, roster)
    return Plan(desired, targets, records, moves, dead, limits, unmapped, servers)


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
    aws: Aws, options: Options, desired: Mapping[str, str], limits: Mapping[str, Quotas], roster: Roster,
    late: bool = False,
) -> int:  # fmt: skip
    """Put the connected clients of the regions of `limits` into the roster; return how many no endpoint claims.

    Args:
        late: whether the plan has been made without those that are found now.
    """
    unmapped = 0
    for batch in fleet.stream(aws, list(limits), source_of(options), limits):
        mapped = [client for client in batch if client.endpoint in desired]
        unmapped += len(batch) - len(mapped)
        roster.add(mapped, desired, late)
    roster.commit()
    return unmapped


def _expect_clients(
    aws: Aws, options: Options, desired: Mapping[str, str], moves: Iterable[Move], dead: Mapping[str, str],
    roster: Roster,
) -> None:  # fmt: skip
    """Put those into the roster whom nobody can ask for: the devices that are to come from a dead region."""
    for move in moves:
        if move.source in dead and move.needed and move.target not in dead:
            names = fleet.registered(aws, move.target, options.endpoint_attribute, move.endpoint)
            expected = (Client(name, move.endpoint, move.source, 0.0) for name in names)
            roster.expect(expected, desired)
    roster.commit()


def _dns_servers(aws: Aws, options: Options) -> list[dns_gate.Server]:
    """The servers to ask. Found out before anything is switched: one that cannot be found stops the move."""
    names = options.name_servers or route53.name_servers(aws.route53, options.hosted_zone_id)
    return dns_gate.servers(names, options.resolvers)


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
    answers: Mapping[str, str | AwsError], records: Mapping[str, route53.Record | None]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return `{region: host name}` and `{dead region: reason}`; a dead region's host name is in the records or nowhere.

    Raises:
        AwsError: no region answers.
    """
    dead = {region: answer for region, answer in answers.items() if isinstance(answer, AwsError)}
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
            f"region {region}: found no answer of its API ({plan.dead[region]}), expected one before anything moves "
            "there: choose another mode, or wait"
        )


def basis(plan: Plan, options: Options, mode: str) -> dict[str, Any]:
    """Everything that a plan was computed from, but for the clients."""
    left_out = {"approve", "reports_directory", "ledger", "mode", "modes", "pause_after_dns", "run_id"}
    return {
        "mode": mode,
        "desired": plan.desired,
        "targets": plan.targets,
        "records": {name: dict(record.raw) for name, record in plan.records.items()},
        "dead": sorted(plan.dead),
        "options": {key: value for key, value in vars(options).items() if key not in left_out},
    }
