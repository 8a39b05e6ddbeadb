"""What a run came to: one function for every way in which it may end."""

from __future__ import annotations

import pytest
from ansible.module_utils.region_switch.model.errors import (
    AwsError,
    NotConvergedError,
    RecordsChangedError,
    RefusedError,
    RolledBackError,
    SwitchError,
    UnfinishedError,
)
from ansible.module_utils.region_switch.model.outcome import Outcome, decide
from ansible.module_utils.region_switch.move.interrupt import Interrupted

REFUSED = RefusedError("mode: found 9")
STALE = NotConvergedError("ns1 still answers the old region")
STOPPED = Interrupted("run: found SIGINT")
AWS = AwsError("DeleteConnection", "us-east-1", "NoAnswer", 0, "no answer within 5 s")
CHANGED = RecordsChangedError("records changed by someone else")


@pytest.mark.parametrize(
    ("error", "untouched", "wrote"),
    [
        (REFUSED, "refused", "failed"),
        (CHANGED, "refused", "failed"),
        # A server that does not converge after the switch, and an operator who stops the run at that moment.
        (STALE, "failed", "partial"),
        (STOPPED, "failed", "partial"),
        (UnfinishedError("wave 1: found 3 of 5"), "failed", "partial"),
        (AWS, "failed", "failed"),
        (SwitchError("x"), "failed", "failed"),
        (ValueError("x"), "failed", "failed"),
        (KeyboardInterrupt(), "failed", "failed"),
        (RolledBackError("the records were restored"), "rolled_back", "rolled_back"),
    ],
)
def test_outcome_of_an_error_says_whether_anything_was_changed(
    error: BaseException, untouched: str, wrote: str
) -> None:
    for proven in (False, True):
        assert decide(error, False, proven) == untouched
        assert decide(error, True, proven) == wrote


def test_outcome_without_an_error_is_what_was_proven() -> None:
    assert decide(None, False, True) is Outcome.UNCHANGED
    assert decide(None, True, True) is Outcome.MOVED
    assert decide(None, True, False) is decide(None, False, False) is Outcome.PARTIAL


def test_outcome_is_written_as_text() -> None:
    assert f"{Outcome.ROLLED_BACK}" == "rolled_back"
