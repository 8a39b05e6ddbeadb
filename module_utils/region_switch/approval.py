"""What an operator approves: a plan's token, and limits that stop a plan nobody can have meant. No I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import RefusedError
from .findings import Finding


def token(basis: Mapping[str, Any], client_digest: str, clients: int) -> str:
    """Return the token of a plan, such as `5f0c2b9d1a77-9c1e44d0-1042`.

    Args:
        basis: everything the plan was computed from, but for the clients; JSON values.
        client_digest: who has to go from where to where.
        clients: how many they are.
    """
    text = json.dumps(basis, sort_keys=True, default=str)
    return f"{hashlib.sha256(text.encode()).hexdigest()[:12]}-{client_digest}-{clients}"


def check(approved: str | None, found: str, drift: float) -> None:
    """Return when the plan that was approved is the one at hand.

    Args:
        drift: percent by which the number of clients may differ; 0: they have to be the very same.

    Raises:
        RefusedError: nothing was approved, or something else.
    """
    if not approved:
        raise RefusedError(
            f"approve: found nothing, expected the token of this plan ({found}): read the plan with --check --diff, "
            f"then run again with -e approve={found}"
        )
    if approved == found:
        return
    basis, count = _parts(approved)
    basis_now, count_now = _parts(found)
    within = count is not None and count_now is not None and abs(count - count_now) <= count * drift / 100
    if basis == basis_now and drift and within:
        return
    what = "records, regions or options" if basis != basis_now else f"the clients ({count} then, {count_now} now)"
    raise RefusedError(
        f"approve: found {approved}, expected {found}: {what} changed since the plan was approved, nothing was "
        "changed; read the plan again with --check --diff"
    )


def _parts(text: str) -> tuple[str, int | None]:
    words = text.split("-")
    return words[0], int(words[2]) if len(words) == 3 and words[2].isdecimal() else None


@dataclass(frozen=True)
class Bounds:
    """What a plan may come to; clients and endpoints at most, 0 for no limit; shares in percent."""

    max_clients: int
    max_endpoints: int
    min_share: float
    max_share: float


def guard(clients: int, total: int, endpoints: int, bounds: Bounds) -> list[Finding]:
    """Return what is beyond the limits that an operator has set.

    Args:
        clients: those to be disconnected; total: those that are connected; endpoints: those that move.
    """
    share = 100 * clients / total if total else 0.0
    checks = (
        (
            "max_clients", bool(bounds.max_clients) and clients > bounds.max_clients,
            f"{clients} clients to disconnect", f"{bounds.max_clients} at most",
            f"if this is meant, set failover_max_clients={clients}",
        ),
        (
            "max_endpoints", bool(bounds.max_endpoints) and endpoints > bounds.max_endpoints,
            f"{endpoints} endpoints to move", f"{bounds.max_endpoints} at most",
            f"if this is meant, set failover_max_endpoints={endpoints}",
        ),
        (
            "share", not bounds.min_share <= share <= bounds.max_share,
            f"{clients} of {total} clients to disconnect ({share:.1f} %)",
            f"{bounds.min_share:g} to {bounds.max_share:g} %",
            "see whether discovery knows everyone, or set failover_min_share and failover_max_share",
        ),
    )  # fmt: skip
    return [Finding(check, True, "", "", *words) for check, beyond, *words in checks if beyond]
