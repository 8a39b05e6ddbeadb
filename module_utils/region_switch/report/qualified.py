"""What a good outcome does not mean: DNS servers that were given up, and clients that nobody has seen."""

from __future__ import annotations

from collections.abc import Sequence


def qualified(
    meaning: tuple[str, str], outcome: str, total: int, swept: bool, given_up: Sequence[str]
) -> tuple[str, str]:
    """The meaning of an outcome, and what to do, as far as they are true of a run.

    Args:
        meaning: both, of the outcome in general.
        total: clients that were found or expected.
        swept: whether clients were to be disconnected.
        given_up: DNS servers that never answered as wanted.
    """
    if outcome not in ("moved", "unchanged") or (total and swept and not given_up):
        return meaning
    servers = ", ".join(given_up)
    dns = f"but {servers} never answered so" if given_up else "and every DNS server that was asked says so"
    if not swept:
        clients = "Nobody was to be disconnected, and of clients nothing is proven."
    elif not total:
        clients = "No client was found in any region that was asked, and of none it is proven that it landed."
    else:
        clients = "Every client that was elsewhere was seen connected where it belongs."
    advice = "See to these servers: devices that ask them may go back." if given_up else "See that this was meant."
    return f"Records point where the mode says, {dns}. {clients}", advice
