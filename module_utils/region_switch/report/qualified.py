"""Limits of a good outcome: DNS servers that were given up, and clients that were not seen."""

from __future__ import annotations

from collections.abc import Sequence


def qualified(
    meaning: tuple[str, str], outcome: str, total: int, swept: bool, given_up: Sequence[str]
) -> tuple[str, str]:
    """The meaning of an outcome, and what to do, as far as they apply to a run.

    Args:
        meaning: both, for the outcome in general.
        total: clients that were found or expected.
        swept: whether clients were to be disconnected.
        given_up: DNS servers that never answered the new region.
    """
    if outcome not in ("moved", "unchanged") or (total and swept and not given_up):
        return meaning
    servers = ", ".join(given_up)
    dns = f"but {servers} never agreed" if given_up else "and every DNS server that was asked agrees"
    if not swept:
        clients = "No client was to be disconnected, so nothing is proven about clients."
    elif not total:
        clients = "No client was found in any region that was asked, so none is proven to have landed."
    else:
        clients = "Every misplaced client was seen connected in its region."
    advice = "Fix these servers: devices that ask them may go back." if given_up else "Check that this was intended."
    return f"Records point where the mode says, {dns}. {clients}", advice
