"""Evidence that a move found the devices it has to prove: `moved` needs at least one that was found. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from .errors import many
from .findings import Finding
from .plan import Move

_WAIVE = "or, where there are none to move, set failover_waive: [no_clients]"


@dataclass(frozen=True)
class Evidence:
    """The devices that could be looked for.

    Attributes:
        listed: number of client IDs that the operator listed; 0 where clients are found otherwise.
        absent: how many of those were neither found nor are expected.
        names: the first of the absent.
        known: `{endpoint: number of known devices}`, for endpoints whose clients may be in a region that cannot be
            asked.
        unclaimed: known devices that belong to no endpoint.
    """

    listed: int = 0
    absent: int = 0
    names: Sequence[str] = ()
    known: Mapping[str, int] = field(default_factory=dict)
    unclaimed: int = 0

    @property
    def unproven(self) -> list[str]:
        """The endpoints without known devices that may have clients in a region that cannot be asked.

        Where devices of other endpoints are known, and each device belongs to an endpoint, an endpoint without known
        devices has no clients.
        """
        if any(self.known.values()) and not self.unclaimed:
            return []
        return [endpoint for endpoint, count in self.known.items() if not count]


def findings(
    evidence: Evidence, moves: Sequence[Move], found: Mapping[str, int], unmapped: int, attribute: str
) -> list[Finding]:
    """A finding where no client was found of whom the move, or that nothing is left to do, could be proven.

    A region that cannot be asked is no reason: no client can be found there, and its records still have to move.

    Args:
        found: `{endpoint: clients that were found or are expected}`.
        unmapped: connected clients that belong to no endpoint; 0 where no client is to be disconnected.
        attribute: thing attribute that names the endpoint.
    """
    moving = [move.endpoint for move in moves if move.needed] or [move.endpoint for move in moves]
    asked = [endpoint for endpoint in moving if endpoint not in evidence.known]
    without = [endpoint for endpoint in asked if not found.get(endpoint)]
    if not without or not (evidence.listed or unmapped):
        return []
    blocking = len(without) == len(moving)
    what, advice = _suspicion(evidence, unmapped, attribute)
    return [
        Finding("no_clients", blocking, "", ", ".join(without), what, "a connected client that uses it", advice)
    ]  # fmt: skip


def _suspicion(evidence: Evidence, unmapped: int, attribute: str) -> tuple[str, str]:
    """What was found instead of clients, and the remedy."""
    if unmapped:
        what = f"no client, and {many(unmapped, 'connected client')} naming none of the endpoints"
        how = "name the endpoint in the list" if evidence.listed else f"set {attribute} of their things"
        return what, f"{how}, or failover_unmapped_clients, {_WAIVE}"
    names = f" ({_shown(evidence)})" if evidence.absent else ""
    what = f"none of the {evidence.listed} clients of the list connected{names}"
    return what, f"correct the list, {_WAIVE}"


def _shown(evidence: Evidence) -> str:
    rest = ", …" if evidence.absent > len(evidence.names) else ""
    return ", ".join(evidence.names) + rest


def notes(evidence: Evidence) -> list[str]:
    """Notes on devices that were not found, or could not be looked for."""
    lines = []
    if evidence.absent:
        lines.append(
            f"{evidence.absent} of {evidence.listed} listed clients are not connected in a region that was asked, or "
            f"belong to no endpoint: {_shown(evidence)}"
        )
    if evidence.known and evidence.unclaimed:
        lines.append(f"{evidence.unclaimed} registered devices name none of the endpoints, and were not looked for")
    return lines


def unproven(evidence: Evidence, dead: Collection[str], attribute: str, waived: Collection[str]) -> str | None:
    """Why clients that may be in a region which cannot be asked are not proven; None where they are known."""
    endpoints = evidence.unproven
    if not endpoints or "no_clients" in waived:
        return None
    return (
        f"clients of {', '.join(endpoints)}: no device is known that uses {'it' if len(endpoints) == 1 else 'them'}, "
        f"and some may be in {', '.join(dead)}, which is not asked: only the records are proven; set {attribute} of "
        f"their things or list them (failover_discovery: clients), then run again, {_WAIVE}"
    )


def outcome(word: str, total: int, swept: bool, given_up: Sequence[str] = ()) -> str:
    """The outcome for people: where no client was looked for or found, it covers only the records.

    Args:
        word: the outcome in summary.json.
        total: clients that were found or expected.
        swept: whether clients were to be disconnected.
        given_up: DNS servers that never answered the new target.
    """
    said = [word]
    if word in ("moved", "unchanged") and not swept:
        said.append("records only: no client was to be disconnected")
    elif word in ("moved", "unchanged") and not total:
        said.append("records only: no client was found, and none is proven")
    if given_up:
        said.append(f"but {', '.join(given_up)} never answered the new region")
    return ", ".join(said)
