"""What a run came to."""

from __future__ import annotations

from enum import StrEnum

from .errors import RefusedError, RolledBackError, UnfinishedError


class Outcome(StrEnum):
    """The `outcome` of summary.json.

    MOVED, UNCHANGED: everything is as the mode says and proven; UNCHANGED: it was so already.
    REFUSED: the move would have gone wrong; nothing was changed.
    PARTIAL: the records are as the mode says, and not every client was seen where it belongs.
    ROLLED_BACK: the records were restored, and the clients sent back.
    FAILED: AWS, DNS or the network did not do as asked.
    """

    MOVED = "moved"
    UNCHANGED = "unchanged"
    REFUSED = "refused"
    PARTIAL = "partial"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"


def decide(error: BaseException | None, wrote: bool, proven: bool) -> Outcome:
    """Decide what a run came to.

    Args:
        error: what ended it; None where it came to its end.
        wrote: whether it changed anything at AWS, or may have.
        proven: whether everybody was seen where they belong.
    """
    if error is None:
        return (Outcome.MOVED if wrote else Outcome.UNCHANGED) if proven else Outcome.PARTIAL
    if isinstance(error, RolledBackError):
        return Outcome.ROLLED_BACK
    if not wrote:
        return Outcome.REFUSED if isinstance(error, RefusedError) else Outcome.FAILED
    return Outcome.PARTIAL if isinstance(error, UnfinishedError) else Outcome.FAILED
