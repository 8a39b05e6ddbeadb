"""The outcome of a run."""

from __future__ import annotations

from enum import StrEnum

from .errors import RefusedError, RolledBackError, UnfinishedError


class Outcome(StrEnum):
    """The `outcome` of summary.json.

    MOVED, UNCHANGED: records and clients match the mode, and that is proven; UNCHANGED: they already did.
    REFUSED: the move would have gone wrong; nothing was changed.
    PARTIAL: the records match the mode, but not every client was seen in its region.
    ROLLED_BACK: the records were restored, and the clients brought back.
    FAILED: AWS, DNS or the network failed.
    """

    MOVED = "moved"
    UNCHANGED = "unchanged"
    REFUSED = "refused"
    PARTIAL = "partial"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"


def decide(error: BaseException | None, wrote: bool, proven: bool) -> Outcome:
    """Decide the outcome of a run.

    Args:
        error: what ended it; None where it completed.
        wrote: whether it changed anything at AWS, or may have.
        proven: whether every client was seen in its region.
    """
    if error is None:
        return (Outcome.MOVED if wrote else Outcome.UNCHANGED) if proven else Outcome.PARTIAL
    if isinstance(error, RolledBackError):
        return Outcome.ROLLED_BACK
    if not wrote:
        return Outcome.REFUSED if isinstance(error, RefusedError) else Outcome.FAILED
    return Outcome.PARTIAL if isinstance(error, UnfinishedError) else Outcome.FAILED
