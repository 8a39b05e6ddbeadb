"""Check that the hosted zone of the records is the one that devices' resolvers query.

An account may have several zones of one name. Route 53 changes the records of any of them, but resolvers only query the
one to which the parent zone delegates:
https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/migrate-dns-domain-in-use.html
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from ..model.dns_server import Server
from ..model.errors import RefusedError
from ..model.findings import Finding, in_force
from ..model.names import plain
from . import gate
from .gate import Policy
from .method import Zone

_CORRECT = "name the delegated zone in hosted_zone_id, or correct the delegation"


def check(zone: Zone, servers: Sequence[Server], named: bool, policy: Policy = "wait") -> list[Finding]:
    """Findings about why devices would not query the zone. Queries resolvers, only for the zone's name servers.

    Args:
        servers: those that a move waits for.
        named: whether the operator has configured the zone's name servers: resolvers need not know them then.
        policy: under `proceed` a resolver that uses other name servers does not block, if another one is right.
    """
    found = [_delegated(endpoint, name) for endpoint, name in sorted(zone.delegations.items())]
    if zone.private:
        return [_private(zone), *found]
    return [*found, *_delegation(zone, [server for server in servers if server.recursive], named, policy)]


def refuse_unasked(zone: Zone, resolvers: Sequence[str] | None, waived: Collection[str]) -> None:
    """Return if devices' resolvers query the zone, as far as is known, or if the check is waived.

    Args:
        resolvers: their addresses, none for the system's; None to query none.

    Raises:
        RefusedError: it is private, another zone of its name is delegated, or an endpoint is below a delegation.
    """
    servers = [] if resolvers is None else gate.servers((), resolvers)
    if reasons := in_force(check(zone, servers, named=True), waived):
        raise RefusedError("; ".join(finding.line() for finding in reasons))


def _private(zone: Zone) -> Finding:
    return _finding(
        f"the zone {zone.id} is private, and only its VPCs query it",
        "correct hosted_zone_id, or, where all devices are in these VPCs, set failover_waive: [hosted_zone]",
        zone.name,
    )


def _delegated(endpoint: str, name: str) -> Finding:
    return _finding(
        f"{name} is delegated to other name servers", f"name the zone of {name} in hosted_zone_id", endpoint
    )


def _finding(found: str, advice: str, endpoint: str, blocking: bool = True, expected: str = "") -> Finding:
    return Finding("hosted_zone", blocking, "", endpoint, found, expected, advice)


def _delegation(zone: Zone, resolvers: Sequence[Server], named: bool, policy: Policy) -> list[Finding]:
    """Compare the zone's name servers by each resolver with those that Route 53 gave it."""
    own = frozenset(map(plain, zone.name_servers))
    answered: list[tuple[Server, frozenset[str] | None]] = []
    if zone.name and own and resolvers:
        with ThreadPoolExecutor(max_workers=len(resolvers)) as pool:
            answers = pool.map(lambda server: gate.name_servers_of(server, zone.name), resolvers)
            answered = list(zip(resolvers, answers, strict=True))
    compared = {server: _others(server, own, names) for server, names in answered if names is not None}
    right = [server for server, (ours, _) in compared.items() if ours]
    if not compared and not named:
        return [_not_known(zone, own)]
    expected = f"{', '.join(sorted(own))}, those of the hosted zone {zone.id}"
    findings = []
    for server, (ours, others) in compared.items():
        if not ours or others:
            says = f"{', '.join(sorted(others)) or 'none'} for the name servers of this zone, by resolver"
            blocking = not ours and (not right or policy != "proceed")
            findings.append(_finding(f"{says} {server.name}", _CORRECT, zone.name, blocking, expected))
    return findings


def _others(server: Server, own: Collection[str], names: Collection[str]) -> tuple[bool, set[str]]:
    """Whether some of the name servers that a resolver answered are the zone's, and those that are not.

    The zone's name servers may have other names with the same addresses:
    https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/white-label-name-servers.html
    """
    others = {name for name in names if name not in own}
    if others:
        addresses = {address for name in own for address in gate.addresses_of(server, name)}
        others = {name for name in others if not addresses.intersection(gate.addresses_of(server, name))}
    return len(others) < len(names), others


def _not_known(zone: Zone, own: Collection[str]) -> Finding:
    return _finding(
        "no resolver answers which name servers this zone is delegated to",
        f"check that devices' resolvers query {zone.id} ({', '.join(sorted(own)) or 'no name servers known'}): changes "
        "to another zone move no client",
        zone.name,
        blocking=False,
    )
