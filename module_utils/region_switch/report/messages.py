"""A run's messages as the ledger has them, stored in the run's folder because the ledger is pruned."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from heapq import nlargest
from pathlib import Path
from typing import Any

from ..record import folder, ledger

FILE = "messages.json"
# Browsers become slow with more clients on a page.
MOST_ROWS = 20_000
# With more clients the ledger is not read per client, so that memory does not grow with the fleet.
MOST_CLIENTS = 100_000
# With more clients than this, gaps are reduced to this many quantiles.
SAMPLE = 2_000
# Seconds shown before the run, and the most steps that the time is divided into.
MARGIN = 5.0
BUCKETS = 160
WIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)


@dataclass(frozen=True)
class Messages:
    """Messages of a run.

    Attributes:
        since, until: epoch seconds; width: of a step, in seconds.
        timeline: `[(epoch seconds at which a step begins, {region: messages})]`.
        gaps: `{client_id: seconds between its last message in the old region and its first in the new}`, the longest of
            at most MOST_ROWS clients.
        sample: gaps of all clients in ascending order, or their quantiles; measured: the number of clients.
        clients: `{client_id: {"sent", "received", "lost", "duplicated", …}}` of at most MOST_ROWS clients, those with
            the most losses and duplicates.
    """

    since: float
    until: float
    width: float
    timeline: list[tuple[float, dict[str, int]]]
    gaps: dict[str, float]
    sample: list[float]
    measured: int
    clients: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, directory: Path, notes: list[str]) -> Messages | None:
        """Read what `keep` stored; None if nothing was stored."""
        try:
            with (directory / FILE).open("rb") as stream:
                found = cls(**json.loads(stream.read(folder.MOST_BYTES)))
            return found if found.timeline else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, RecursionError) as error:
            notes.append(f"{FILE} cannot be read ({type(error).__name__}): no messages are shown.")
            return None


def keep(
    path: Path, directory: Path, since: float, until: float, gaps: Mapping[str, float], clients: int
) -> None:  # fmt: skip
    """Store the ledger's messages from `since` to `until`, in epoch seconds, in a run's folder.

    Args:
        gaps: of the clients that moved, in seconds.
        clients: the number of clients.

    Raises:
        OSError, sqlite3.Error: the ledger cannot be read.
        StorageError: the folder cannot be written to.
    """
    begin = since - MARGIN
    width = next((each for each in WIDTHS if (until - begin) / each <= BUCKETS), (until - begin) / BUCKETS)
    # Whole steps only: half a step would look as if messages were missing.
    steps = max(1, int((until - begin) / width))
    timeline = ledger.timeline(path, begin, begin + steps * width, steps)
    rounded = {client_id: round(seconds, 3) for client_id, seconds in gaps.items()}
    longest = nlargest(MOST_ROWS, rounded, rounded.__getitem__)
    found = Messages(
        round(begin, 3), round(begin + steps * width, 3), width, timeline,
        {client_id: rounded[client_id] for client_id in longest}, _quantiles(sorted(rounded.values())), len(rounded),
        _by_client(path, since, until) if clients <= MOST_CLIENTS else {},
    )  # fmt: skip
    with folder.replacing(directory / FILE) as stream:
        stream.write(json.dumps(asdict(found)) + "\n")


def _by_client(path: Path, since: float, until: float) -> dict[str, dict[str, Any]]:
    found = ledger.by_client(path, since, until)
    worst = nlargest(MOST_ROWS, found, lambda client_id: (found[client_id].lost, found[client_id].duplicated))
    return {
        client_id: {key: value for key, value in asdict(found[client_id]).items() if isinstance(value, int | float)}
        for client_id in worst
    }


def _quantiles(ordered: Sequence[float]) -> list[float]:
    if len(ordered) <= SAMPLE:
        return list(ordered)
    return [ordered[round(number * (len(ordered) - 1) / (SAMPLE - 1))] for number in range(SAMPLE)]
