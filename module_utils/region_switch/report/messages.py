"""What the ledger says of a run, kept in the run's folder: the ledger itself is pruned one day."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from heapq import nlargest
from pathlib import Path
from typing import Any

from ..record import folder, ledger

FILE = "messages.json"
# A page with more clients is none that a browser likes.
MOST_ROWS = 20_000
# Of more clients than that, the ledger is not asked for each: a run's memory does not grow with its fleet.
MOST_CLIENTS = 100_000
# Gaps of more clients than that are told by so many quantiles.
SAMPLE = 2_000
# Seconds shown before the run, and into how many steps the time is cut at most.
MARGIN = 5.0
BUCKETS = 160
WIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)


@dataclass(frozen=True)
class Messages:
    """Messages of a run.

    Attributes:
        since, until: epoch seconds; width: of a step, in seconds.
        timeline: `[(epoch seconds of a step's begin, {region: messages})]`.
        gaps: `{client_id: seconds between its last message in the old region and its first in the new}`; of MOST_ROWS
            clients at most, the longest.
        sample: gaps of all clients in ascending order, or of very many their quantiles; measured: of how many clients.
        clients: `{client_id: {"sent", "received", "lost", "duplicated", …}}`; of MOST_ROWS clients at most, those with
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
        """What was kept of a run; None where nothing was."""
        try:
            with (directory / FILE).open("rb") as stream:
                found = cls(**json.loads(stream.read(folder.MOST_BYTES)))
            return found if found.timeline else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, RecursionError) as error:
            notes.append(f"{FILE} cannot be read ({type(error).__name__}): nothing is shown of messages.")
            return None


def keep(
    path: Path, directory: Path, since: float, until: float, gaps: Mapping[str, float], clients: int
) -> None:  # fmt: skip
    """Write what the ledger says of the time from `since` to `until` into a run's folder.

    Args:
        gaps: of the clients that moved.
        clients: how many there are.

    Raises:
        OSError, sqlite3.Error: the ledger cannot be read.
        StorageError: what it says cannot be written.
    """
    begin = since - MARGIN
    width = next((each for each in WIDTHS if (until - begin) / each <= BUCKETS), (until - begin) / BUCKETS)
    # Whole steps only: half a step would look as if messages stayed away.
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
