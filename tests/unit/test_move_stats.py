"""What a move hands on to whatever runs behind it."""

from __future__ import annotations

from typing import Any

from move_stats import move_error, move_lines, move_stats

SUMMARY = {"run_id": "run", "outcome": "moved"}
RUN: dict[str, Any] = {
    "outcome": "moved", "run_id": "run", "report": "/srv/reports/run", "summary": SUMMARY, "plan": {}, "lines": ["x"],
}  # fmt: skip


def test_run_hands_on_its_outcome_and_its_summary() -> None:
    assert move_stats(RUN) == {
        "failover_outcome": "moved",
        "failover_error": "",
        "failover_run_id": "run",
        "failover_report": "/srv/reports/run",
        "failover_summary": SUMMARY,
        "failover_plan": {},
    }


def test_plan_hands_on_its_token_and_whether_it_would_be_refused() -> None:
    planned = {"token": "abc-1", "plan": {}, "changed": True}

    assert move_stats(planned)["failover_outcome"] == "planned"
    assert move_stats(planned)["failover_token"] == "abc-1"
    assert move_stats({**planned, "msg": "preflight: found 1 reason"})["failover_outcome"] == "refused"


def test_run_that_failed_hands_on_what_it_came_to_and_why() -> None:
    found = move_stats({**RUN, "outcome": "rolled_back", "msg": "DNS on devices"})

    assert (found["failover_outcome"], found["failover_error"]) == ("rolled_back", "DNS on devices")


def test_module_whose_process_is_gone_is_told_from_one_that_failed() -> None:
    assert move_error({**RUN, "msg": "Module result deserialization failed: No start of json char found"}) == (
        "move: its process ended without a result: run the same command again, it resumes"
    )
    assert move_error({**RUN, "msg": "records changed"}) == "records changed"
    assert move_error(RUN) == ""


def test_what_ended_before_it_was_a_run_has_failed() -> None:
    assert move_stats({"msg": "x"}) == {"failover_outcome": "failed", "failover_error": "x"}


def test_finding_that_the_error_names_is_shown_once() -> None:
    lines = ["mode 3: refused", "refused quota (us-east-1): 2 of 1", "refused ttl: 60 s", "note    ttl: 60 s"]
    error = "preflight: found 2 reasons against this move, nothing was changed: quota (us-east-1): 2 of 1; and 1 more"

    assert move_lines({"lines": lines, "msg": error}) == [lines[0], *lines[2:]]
    assert move_lines({"lines": lines}) == lines
    assert move_lines({"msg": "x"}) == []
