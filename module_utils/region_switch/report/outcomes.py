"""What an outcome means, and what to do, in a sentence each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .run import Run

OUTCOMES = {
    "moved": (
        "Records point where the mode says, every DNS server that was asked agrees, and every misplaced client was "
        "seen connected in its region.",
        "Nothing is left to do.",
    ),
    "unchanged": ("Everything was already as the mode says. Nothing was changed in AWS.", "Nothing is left to do."),
    "refused": (
        "The move would have failed, so it was not started. Nothing was changed.",
        "Fix what the error names, then run the same mode again.",
    ),
    "partial": (
        "Records are as the mode says, but some clients were not seen in their region.",
        "Look at them in the table below, then run the same mode again: it resumes where it stopped.",
    ),
    "rolled_back": (
        "The move did not succeed, so it was rolled back: records were restored and clients sent back.",
        "Find the cause, then run the same mode again.",
    ),
    "failed": (
        "AWS, DNS or the network did not behave as expected. What happened before that is below.",
        "Fix what the error names, then run the same mode again: it resumes where it stopped.",
    ),
    "killed": (
        "The journal has no end: the run was killed, or is still running.",
        "Run the same mode again: it resumes where it stopped.",
    ),
}
# The rollback was stopped, or some clients did not come back.
PARTLY_ROLLED_BACK = (
    "The move did not succeed and the records were restored, but not every client was seen back.",
    "Look at them in the table below. To go back, move to the previous mode; to go forward, run the same mode again.",
)


def meaning(run: Run) -> tuple[str, str]:
    """What a run's outcome means, and what to do; both empty for an unknown outcome."""
    outcome = str(run.summary["outcome"])
    if run.restored and outcome in ("partial", "failed", "killed"):
        return PARTLY_ROLLED_BACK
    options = run.start.get("options")
    swept = not isinstance(options, Mapping) or options.get("sweep") != "none"
    given_up = sorted({str(each.get("server")) for each in run.stale})
    total = int(run.summary["clients"].get("total") or 0)
    return qualified(OUTCOMES.get(outcome, ("", "")), outcome, total, swept, given_up)


def qualified(
    general: tuple[str, str], outcome: str, total: int, swept: bool, given_up: Sequence[str]
) -> tuple[str, str]:
    """The meaning of an outcome, and what to do, as far as they apply to a run.

    Args:
        general: both, for the outcome in general.
        total: clients that were found or expected.
        swept: whether clients were to be disconnected.
        given_up: DNS servers that never answered the new region.
    """
    if outcome not in ("moved", "unchanged") or (total and swept and not given_up):
        return general
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
