"""The connection of one client, as GetConnection answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOT_CONNECTED = -1.0
# Epoch milliseconds; later values are invalid.
LATEST = 1e15


def since(answer: Mapping[str, Any] | None) -> float | None:
    """Since when a client is connected.

    Args:
        answer: GetConnection's; None where AWS knows no connection of the client.

    Returns:
        Epoch seconds by AWS's clock, 0 where AWS gives no time; NOT_CONNECTED; None where the answer is inconclusive.
    """
    if answer is None:
        return NOT_CONNECTED
    connected = answer.get("connected")
    if not isinstance(connected, bool):
        return None
    return seconds(answer.get("connectedSince")) if connected else NOT_CONNECTED


def seconds(milliseconds: object) -> float | None:
    """AWS's epoch milliseconds in seconds, 0 where it gives none; None where they are no time."""
    if milliseconds is None:
        return 0.0
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float):
        return None
    # NaN compares as False.
    return milliseconds / 1000 if 0 <= milliseconds < LATEST else None
