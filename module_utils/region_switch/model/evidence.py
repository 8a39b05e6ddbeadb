"""What a move knows of the devices that it is to prove: `moved` needs somebody who was looked for and found. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from .findings import Finding
from .plan import Move

_WAIVE = "or, where there are none to move, set failover_waive: [no_clients]"


@dataclass(frozen=True)
class Evidence:
    """Who could be looked for.

    Attributes:
        listed: client IDs that the operator has named; 0 where clients are found otherwise.
        absent: how many of those are none of the clients that were found or are expected.
        names: the first of the absent.
        known: `{endpoint: devices that are known to belong to it}`, of the endpoints whose clients may be in a region
            that cannot be asked.
        unclaimed: devices that are known where these were looked up, and belong to no endpoint.
    """

    listed: int = 0
    absent: int = 0
    names: Sequence[str] = ()
    known: Mapping[str, int] = field(default_factory=dict)
    unclaimed: int = 0

    @property
    def unproven(self) -> list[str]:
        """The endpoints that may have clients in a region that cannot be asked, and of which no device is known.

        Where those of the others are known and every device belongs to an endpoint, one without devices has none.
        """
        if any(self.known.values()) and not self.unclaimed:
            return []
        return [endpoint for endpoint, count in self.known.items() if not count]


def findings(
    evidence: Evidence, moves: Sequence[Move], found: Mapping[str, int], unmapped: int, attribute: str
) -> list[Finding]:
    """What speaks against a move, or against saying that nothing is left to do: nobody of whom it could be proven.

    A region that cannot be asked is no reason: nobody can be found there, and its records have to move all the same.

    Args:
        found: `{endpoint: clients that were found or are expected}`.
        unmapped: connected clients that no endpoint claims; 0 where nobody is to be disconnected.
        attribute: thing attribute that names the endpoint.
    """
    moving = [move.endpoint for move in moves if move.needed] or [move.endpoint for move in moves]
    asked = [endpoint for endpoint in moving if endpoint not in evidence.known]
    nobody = [endpoint for endpoint in asked if not found.get(endpoint)]
    if not nobody or not (evidence.listed or unmapped):
        return []
    blocking = len(nobody) == len(moving)
    what, advice = _suspicion(evidence, unmapped, attribute)
    return [
        Finding("no_clients", blocking, "", ", ".join(nobody), what, "somebody who is connected and uses it", advice)
    ]  # fmt: skip


def _suspicion(evidence: Evidence, unmapped: int, attribute: str) -> tuple[str, str]:
    """What was found instead of somebody, and what to do."""
    if unmapped:
        what = f"nobody, and {unmapped} connected clients that name none of the endpoints"
        how = "name the endpoint in the list" if evidence.listed else f"set {attribute} of their things"
        return what, f"{how}, or failover_unmapped_clients, {_WAIVE}"
    names = f" ({_shown(evidence)})" if evidence.absent else ""
    what = f"none of the {evidence.listed} clients of the list connected{names}"
    return what, f"correct the list, {_WAIVE}"


def _shown(evidence: Evidence) -> str:
    rest = ", …" if evidence.absent > len(evidence.names) else ""
    return ", ".join(evidence.names) + rest


def notes(evidence: Evidence) -> list[str]:
    """What is to be told of devices that were not found, or could not be looked for."""
    told = []
    if evidence.absent:
        told.append(
            f"{evidence.absent} of {evidence.listed} listed clients are not connected in a region that was asked, or "
            f"belong to no endpoint: {_shown(evidence)}"
        )
    if evidence.known and evidence.unclaimed:
        told.append(f"{evidence.unclaimed} registered devices name none of the endpoints, and were not looked for")
    return told


def unproven(evidence: Evidence, dead: Collection[str], attribute: str, waived: Collection[str]) -> str | None:
    """Why nothing can be said of clients that may be in a region which cannot be asked; None where they are known."""
    endpoints = evidence.unproven
    if not endpoints or "no_clients" in waived:
        return None
    return (
        f"clients of {', '.join(endpoints)}: found no device that is known to use it, expected those that may be in "
        f"{', '.join(dead)}, which is not asked: only the records can be vouched for; "
        f"set {attribute} of their things or list them (failover_discovery: clients), then run again, {_WAIVE}"
    )


def outcome(word: str, total: int, swept: bool, given_up: Sequence[str] = ()) -> str:
    """The outcome for people: where no client was looked for or found, it is said of the records alone.

    Args:
        word: that of summary.json.
        total: clients that were found or expected.
        swept: whether clients were to be disconnected.
        given_up: DNS servers that never answered as wanted.
    """
    said = [word]
    if word in ("moved", "unchanged") and not swept:
        said.append("records only: nobody was to be disconnected")
    elif word in ("moved", "unchanged") and not total:
        said.append("records only: no client was found, and none is proven")
    if given_up:
        said.append(f"but {', '.join(given_up)} never answered the new region")
    return ", ".join(said)
