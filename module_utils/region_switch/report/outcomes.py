"""What an outcome means, and what to do about it, in a sentence each."""

from __future__ import annotations

from .run import Run

OUTCOMES = {
    "moved": (
        "Records point where the mode says, every DNS server that was asked says so, and every client that was "
        "elsewhere was seen connected where it belongs.",
        "Nothing is left to do.",
    ),
    "unchanged": ("Everything was as the mode says already. Nothing was written at AWS.", "Nothing is left to do."),
    "refused": (
        "The move would have gone wrong, so it was not begun. Nothing was changed.",
        "Do what the line says, then run the same mode again.",
    ),
    "partial": (
        "Records are as the mode says, and some clients were not seen where they belong.",
        "Look at them in the table below, then run the same mode again: it goes on where it stands.",
    ),
    "rolled_back": (
        "The move did not land, so the records were put back and the clients sent back.",
        "See why, then run the same mode again.",
    ),
    "failed": (
        "AWS, DNS or the network did not do as asked. What had happened until then is below.",
        "Mend what the line names and run the same mode again: it goes on where it stands.",
    ),
    "killed": (
        "The run did not write its end: it was killed, or it is still going on.",
        "Run the same mode again: it goes on where it stands.",
    ),
}
# A move that was being taken back when it was stopped, or that could not be taken back to its end.
TAKEN_BACK = (
    "The move did not land and the records were put back; not every client was seen back.",
    "Look at them in the table below. To go back, move to the mode of before; to go on, run the same mode again.",
)


def meaning(run: Run) -> tuple[str, str]:
    """What a run's outcome means, and what to do; empty of an outcome that is none."""
    outcome = str(run.summary["outcome"])
    if run.restored and outcome in ("partial", "failed", "killed"):
        return TAKEN_BACK
    return OUTCOMES.get(outcome, ("", ""))
