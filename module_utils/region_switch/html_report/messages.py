"""What the ledger says of a run, kept in the run's folder: the ledger itself is pruned one day."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import ledger

FILE = "messages.json"
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
        gaps: `{client_id: seconds between its last message in the old region and its first in the new}`.
        clients: `{client_id: {"sent", "received", "lost", "duplicated", …}}`.
    """

    since: float
    until: float
    width: float
    timeline: list[tuple[float, dict[str, int]]]
    gaps: dict[str, float]
    clients: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, directory: Path, notes: list[str]) -> Messages | None:
        """What was kept of a run; None where nothing was."""
        try:
            found = cls(**json.loads((directory / FILE).read_text(encoding="utf-8")))
            return found if found.timeline else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            notes.append(f"{FILE} cannot be read ({type(error).__name__}): nothing is shown of messages.")
            return None


def keep(path: Path, directory: Path, since: float, until: float, gaps: Mapping[str, float]) -> None:
    """Write what the ledger says of the time from `since` to `until` into a run's folder.

    Raises:
        OSError, sqlite3.Error: it cannot be read or written.
    """
    begin = since - MARGIN
    width = next((each for each in WIDTHS if (until - begin) / each <= BUCKETS), (until - begin) / BUCKETS)
    # Whole steps only: half a step would look as if messages stayed away.
    steps = max(1, int((until - begin) / width))
    timeline = ledger.timeline(path, begin, begin + steps * width, steps)
    clients = {
        client_id: {key: value for key, value in asdict(found).items() if isinstance(value, int | float)}
        for client_id, found in ledger.by_client(path, since, until).items()
    }
    rounded = {client_id: round(seconds, 3) for client_id, seconds in gaps.items()}
    found = Messages(round(begin, 3), round(begin + steps * width, 3), width, timeline, rounded, clients)
    (directory / FILE).write_text(json.dumps(asdict(found)) + "\n", encoding="utf-8")
