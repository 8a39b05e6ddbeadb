"""Approval of a plan by its token, and limits that stop a plan made by mistake. No I/O."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby
from typing import Any

from .errors import RefusedError, many
from .findings import Finding
from .options import ApprovalOptions

# Hex digits of SHA-256 that stand for the plan without its clients, and for the clients.
_DIGITS = 32
_TOKEN = re.compile(rf"([0-9a-f]{{{_DIGITS}}})-([0-9a-f]{{{_DIGITS}}})-([0-9]{{1,12}})")
_NAMED = 3
# In a live fleet, some client is always reconnecting: where drift is allowed, this many clients of each target may
# differ, however small the percentage.
FEW = 3

# (client ID, the region it is in, the region it belongs to).
Leaving = tuple[str, str, str]


def token(basis: Mapping[str, Any], client_digest: str, clients: int) -> str:
    """Return the token of a plan: a digest of its inputs, a digest of the leaving clients, and their number.

    Args:
        basis: the inputs of the plan except the clients; JSON values.
        client_digest: of the leaving clients, see `digest`.
        clients: their number.
    """
    text = json.dumps(basis, sort_keys=True, default=str)
    return f"{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}-{client_digest}-{clients}"


def line(leaving: Leaving) -> str:
    """A client's line in the list for `digest`."""
    return json.dumps(leaving) + "\n"


def digest(lines: Iterable[str]) -> str:
    """The digest of the clients that leave.

    Args:
        lines: from `line`, sorted by client ID and region.
    """
    total = hashlib.sha256()
    for each in lines:
        total.update(each.encode())
    return total.hexdigest()[:_DIGITS]


def tolerated(approved: int, drift: float) -> float:
    """How many clients of a target may differ from the approved ones.

    Args:
        drift: percent of the approved clients; 0: none.
    """
    return max(float(FEW), approved * drift / 100) if drift else 0.0


@dataclass
class Difference:
    """How the clients that leave for a target differ from those that were approved.

    Attributes:
        approved: how many those are.
        came, gone: how many leave without approval, and how many were approved and do not leave.
        some: names of a few of them.
    """

    approved: int = 0
    came: int = 0
    gone: int = 0
    some: list[str] = field(default_factory=list)

    def within(self, drift: float) -> bool:
        """Whether no more clients differ than `tolerated`."""
        return self.came + self.gone <= tolerated(self.approved, drift)

    def text(self, target: str) -> str:
        more = ", …" if self.came + self.gone > len(self.some) else ""
        names = f" ({', '.join(self.some)}{more})" if self.some else ""
        return f"to {target}: {self.came} more and {self.gone} fewer than the {self.approved} approved{names}"


def differences(approved: Iterable[Leaving], found: Iterable[Leaving]) -> dict[str, Difference]:
    """Compare the clients that were approved to leave with those that leave now; both sorted by client ID and region.

    Returns:
        `{target: Difference}`; a client that leaves for another target than approved counts in both.
    """
    by_target: dict[str, Difference] = {}
    for side, (client_id, _, target) in _merged(approved, found):
        each = by_target.setdefault(target, Difference())
        each.approved += side != "came"
        each.came += side == "came"
        each.gone += side == "gone"
        if side != "same" and len(each.some) < _NAMED:
            each.some.append(client_id)
    return by_target


def _merged(approved: Iterable[Leaving], found: Iterable[Leaving]) -> Iterator[tuple[str, Leaving]]:
    """Each client of either list, with `same`, `came` (not approved) or `gone` (approved, and does not leave)."""
    rows = merge(((*row, 0) for row in approved), ((*row, 1) for row in found))
    for row, same in groupby(rows, key=lambda each: each[:3]):
        sides = {each[3] for each in same}
        yield ("same" if len(sides) > 1 else "came" if 1 in sides else "gone"), row


def check(approved: str | None, found: str, drift: float, differs: Mapping[str, Difference] | None = None) -> list[str]:
    """Refuse any plan except the approved one; return lines that say how its clients differ.

    Args:
        drift: percent of each target's approved clients that may differ, FEW at least; 0: none.
        differs: by target, how the clients differ from those that were approved; None where that is not known.

    Raises:
        RefusedError: no plan was approved, or another one.
    """
    if not approved:
        raise RefusedError(
            f"approve: this plan needs approval: read it with --check --diff, then run again with -e approve={found}"
        )
    if approved == found:
        return []
    basis, basis_now = parts(approved), parts(found)
    if basis is None or basis_now is None or basis[0] != basis_now[0]:
        raise _another(approved, found, "records, regions or options changed")
    if not drift:
        raise _another(approved, found, f"the clients changed ({basis[2]} then, {basis_now[2]} now)")
    if differs is None:
        raise _another(approved, found, "the clients changed, and the list of those approved is not in the reports")
    lines = [each.text(target) for target, each in sorted(differs.items()) if each.came or each.gone]
    if not all(each.within(drift) for each in differs.values()):
        raise _another(approved, found, f"more than {drift:g} % of the clients (and {FEW}) changed, {'; '.join(lines)}")
    return lines


def _another(approved: str, found: str, what: str) -> RefusedError:
    return RefusedError(
        f"approve: found {approved}, expected {found}: {what} since the plan was approved, nothing was "
        "changed; read the plan again with --check --diff"
    )


def parts(text: str) -> tuple[str, str, int] | None:
    """A token's digests of the plan and of the clients, and their number; None where it is no token."""
    match = _TOKEN.fullmatch(text)
    return (match[1], match[2], int(match[3])) if match else None


def guard(clients: int, total: int, endpoints: int, bounds: ApprovalOptions) -> list[Finding]:
    """Return findings where a plan exceeds the operator's limits.

    Args:
        clients: how many are to be disconnected.
        total: how many are connected.
        endpoints: how many move.
    """
    share = 100 * clients / total if total else 0.0
    checks = (
        (
            "max_clients", bool(bounds.max_clients) and clients > bounds.max_clients,
            f"{many(clients, 'client')} to disconnect", f"{bounds.max_clients} at most",
            f"if this is meant, set failover_max_clients={clients}",
        ),
        (
            "max_endpoints", bool(bounds.max_endpoints) and endpoints > bounds.max_endpoints,
            f"{many(endpoints, 'endpoint')} to move", f"{bounds.max_endpoints} at most",
            f"if this is meant, set failover_max_endpoints={endpoints}",
        ),
        (
            "share", not bounds.min_share <= share <= bounds.max_share,
            f"{clients} of {total} clients to disconnect ({share:.1f} %)",
            f"{bounds.min_share:g} to {bounds.max_share:g} %",
            "check that discovery finds all clients, or set failover_min_share and failover_max_share",
        ),
    )  # fmt: skip
    return [Finding(check, True, "", "", *words) for check, beyond, *words in checks if beyond]
