"""The hosted zone that records are changed in: whether it is the one that devices' resolvers ask.

An account may hold several zones of one name. Route 53 changes the records of any of them, and only the one whose name
servers the parent zone names is asked:
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
    """What keeps devices from ever asking the zone. Asks resolvers, of the zone's name servers alone.

    Args:
        servers: those a move waits for.
        named: whether the operator has named the zone's name servers: what resolvers cannot tell is no matter then.
        policy: under `proceed` a resolver that is led elsewhere is only told, where another one is not.
    """
    found = [_delegated(endpoint, name) for endpoint, name in sorted(zone.delegations.items())]
    if zone.private:
        return [_private(zone), *found]
    return [*found, *_delegation(zone, [server for server in servers if server.recursive], named, policy)]


def refuse_unasked(zone: Zone, resolvers: Sequence[str] | None, waived: Collection[str]) -> None:
    """Return where a zone is one that devices' resolvers ask, as far as is known, or where that is waived.

    Args:
        resolvers: their addresses, none for the system's; None where nobody is to be asked.

    Raises:
        RefusedError: it is private, another zone of its name is delegated, or an endpoint is below a delegation.
    """
    servers = [] if resolvers is None else gate.servers((), resolvers)
    if reasons := in_force(check(zone, servers, named=True), waived):
        raise RefusedError("; ".join(finding.line() for finding in reasons))


def _private(zone: Zone) -> Finding:
    return _finding(
        f"the private zone {zone.id}, which only its VPCs ask",
        "the public zone of the endpoints",
        "correct hosted_zone_id, or, where all devices are in these VPCs, set failover_waive: [hosted_zone]",
        zone.name,
    )


def _delegated(endpoint: str, name: str) -> Finding:
    return _finding(
        f"{name} delegated to other name servers",
        "a zone that is asked for it",
        f"name the zone of {name} in hosted_zone_id",
        endpoint,
    )


def _finding(found: str, expected: str, advice: str, endpoint: str, blocking: bool = True) -> Finding:
    return Finding("hosted_zone", blocking, "", endpoint, found, expected, advice)


def _delegation(zone: Zone, resolvers: Sequence[Server], named: bool, policy: Policy) -> list[Finding]:
    """Compare what resolvers say of the zone's name servers with those that Route 53 has given it."""
    own = frozenset(map(plain, zone.name_servers))
    told: list[tuple[Server, frozenset[str] | None]] = []
    if zone.name and own and resolvers:
        with ThreadPoolExecutor(max_workers=len(resolvers)) as pool:
            answers = pool.map(lambda server: gate.name_servers_of(server, zone.name), resolvers)
            told = list(zip(resolvers, answers, strict=True))
    led = {server: _strangers(server, own, names) for server, names in told if names is not None}
    right = [server for server, (ours, _) in led.items() if ours]
    if not led and not named:
        return [_not_known(zone, own)]
    expected = f"{', '.join(sorted(own))}, those of the hosted zone {zone.id}"
    findings = []
    for server, (ours, strangers) in led.items():
        if not ours or strangers:
            says = f"{', '.join(sorted(strangers)) or 'none'} for the name servers of this zone, by resolver"
            blocking = not ours and (not right or policy != "proceed")
            findings.append(_finding(f"{says} {server.name}", expected, _CORRECT, zone.name, blocking))
    return findings


def _strangers(server: Server, own: Collection[str], told: Collection[str]) -> tuple[bool, set[str]]:
    """Whether some of the name servers that a resolver told are the zone's, and those that are not.

    Under other names the zone's name servers are its own all the same:
    https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/white-label-name-servers.html
    """
    others = {name for name in told if name not in own}
    if others:
        addresses = {address for name in own for address in gate.addresses_of(server, name)}
        others = {name for name in others if not addresses.intersection(gate.addresses_of(server, name))}
    return len(others) < len(told), others


def _not_known(zone: Zone, own: Collection[str]) -> Finding:
    return _finding(
        "no resolver that says which name servers this zone is delegated to",
        f"{', '.join(sorted(own)) or 'those of the hosted zone'}",
        f"see for yourself that {zone.id} is the zone that devices' resolvers ask: changes of another move nobody",
        zone.name,
        blocking=False,
    )
