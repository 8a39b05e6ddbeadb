"""What the pictures of a run show, and what the page says beside them."""

from __future__ import annotations

from dataclasses import dataclass

from .run import Run


@dataclass(frozen=True)
class Charts:
    """SVG of each picture; empty where there is nothing to draw."""

    timeline: str = ""
    timeline_narrow: str = ""
    clients: str = ""
    gaps: str = ""
    phases: str = ""


@dataclass(frozen=True)
class Mark:
    """A numbered event of the timeline; `at` in seconds since the run began."""

    number: int
    at: float


def gap_values(run: Run) -> tuple[str, list[float]]:
    """What is known of how long clients were away, in ascending order, and how that is called.

    By the ledger, else as AWS saw it.
    """
    if run.messages and run.messages.sample and run.restored:
        return (
            "From the last message in the old region to the first in the new; of those who are back, the longest pause "
            "between two of their messages. By the ledger.",
            run.messages.sample,
        )
    if run.messages and run.messages.sample:
        return "From the last message in the old region to the first in the new, by the ledger.", run.messages.sample
    found = [row.seconds for row in run.clients.rows if row.seconds is not None]
    return "From being told to leave to being connected in the new region, as AWS saw it.", sorted(found)


def gaps_by_client(run: Run) -> dict[str, float]:
    """The same per client, of as many as are known."""
    if run.messages and run.messages.sample:
        return run.messages.gaps
    return {row.client_id: row.seconds for row in run.clients.rows if row.seconds is not None}
