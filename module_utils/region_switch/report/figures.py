"""Figures of a run that both its pictures and its page show."""

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
    """A label, and how many seconds each client was away, in ascending order: by the ledger, else as AWS saw it."""
    if run.messages and run.messages.sample and run.restored:
        return (
            "From the last message in the old region to the first in the new; for clients that came back, the longest "
            "pause between two messages. By the ledger.",
            run.messages.sample,
        )
    if run.messages and run.messages.sample:
        return "From the last message in the old region to the first in the new, by the ledger.", run.messages.sample
    found = [row.seconds for row in run.clients.rows if row.seconds is not None]
    return "From the disconnect to the connection in the new region, as AWS saw it.", sorted(found)


def gaps_by_client(run: Run) -> dict[str, float]:
    """The same by client ID, for the clients where it is known."""
    if run.messages and run.messages.sample:
        return run.messages.gaps
    return {row.client_id: row.seconds for row in run.clients.rows if row.seconds is not None}
