"""What an operator does besides moving, in the lab: look, stop, go back, and meet a colleague."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import sabotage
from tests.terminal import Terminal

from .conftest import REPOSITORY, StandIn, failover, messages_arrive_only_in, run_playbook, summary, wait_for

ANSIBLE = str(Path(sys.executable).parent / "ansible-playbook")
REPORTS = REPOSITORY / "reports"
OLD, NEW = "us-east-1", "ap-northeast-1"
ENDPOINTS = sabotage.ENDPOINTS


@pytest.fixture
def in_mode_1(fleet: dict[str, str]) -> dict[str, str]:
    """The fleet where mode 1 has it, publishing there."""
    failover("1")
    wait_for("messages in the old region", lambda: messages_arrive_only_in(dict.fromkeys(fleet, OLD)))
    return fleet


@pytest.fixture
def written() -> Iterator[Callable[[str], bool]]:
    """Says whether a run that began since has a step in its journal."""
    earlier = set(REPORTS.glob("*/journal.jsonl"))

    def has(step: str) -> bool:
        begun = set(REPORTS.glob("*/journal.jsonl")) - earlier
        return any(f'"step": "{step}"' in journal.read_text() for journal in begun)

    yield has


def status() -> str:
    run = run_playbook("playbooks/status.yml")
    assert run.returncode == 0, run.error
    assert run.changed == 0
    return run.output


def test_ctrl_c_in_a_slow_sweep_ends_with_a_report_and_the_same_command_goes_on(
    in_mode_1: dict[str, str], stand_in: StandIn, written: Callable[[str], bool]
) -> None:
    slow = (
        {**sabotage.OF_A_DEVICE, "kind": "latency", "seconds": 5.0},
        {"operation": "*", "kind": "latency", "seconds": 0.3},
    )
    with sabotage.calls(*slow):
        terminal = Terminal([ANSIBLE, "failover.yml", "-e", "mode=3"], REPOSITORY)
        wait_for("the sweep", lambda: written("sweep"))
        terminal.press(b"\x03")
        code = terminal.end()

    assert code not in (0, 2)
    last = terminal.shown[terminal.shown.index("User interrupted") :]
    # Ansible sends one after the other, and the second may come first; the run may say so before Ansible does.
    assert re.search("interrupted: run: found SIG(INT|TERM), expected", terminal.shown)
    assert f"report: {REPORTS / summary()['run_id']}" in last
    assert "Traceback" not in terminal.shown
    assert summary()["outcome"] == "partial"

    failover("3")

    assert summary()["clients"]["stragglers"] == 0
    assert summary()["messages"]["lost"] == 0
    wait_for("messages in the new region", lambda: messages_arrive_only_in(dict.fromkeys(in_mode_1, NEW)))


def test_two_operators_at_once_with_different_modes_are_kept_apart(
    in_mode_1: dict[str, str], stand_in: StandIn, written: Callable[[str], bool]
) -> None:
    with stand_in.insync_held():
        first = subprocess.Popen(
            [ANSIBLE, "failover.yml", "-e", "mode=3"], cwd=REPOSITORY, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        wait_for("the switch", lambda: written("switched"))
        shown = status()
        second = run_playbook("failover.yml", "-e", "mode=2")
    output, _ = first.communicate()

    assert second.returncode == 2
    holder = re.search(r"found (a run to mode 3 by \S+ \(pid \d+\) since \S+Z), expected no other run", second.error)
    assert holder, second.error
    assert f"running: {holder[1]}" in shown
    assert first.returncode == 0, output
    assert summary()["outcome"] == "moved"
    assert [stand_in.connected_regions(client) for client in in_mode_1] == [[NEW], [NEW]]


def test_status_shows_the_mode_the_clients_and_the_last_run(in_mode_1: dict[str, str]) -> None:
    shown = status()

    assert "mode: 1" in shown
    for endpoint in ENDPOINTS:
        assert re.search(rf"{re.escape(endpoint)} +{OLD} +1 +0", shown)
    assert "misplaced: 0 clients" in shown
    assert f"last run: {summary()['run_id']}, mode 1: {summary()['outcome']}" in shown


def test_status_shows_a_dead_region(in_mode_1: dict[str, str]) -> None:
    with sabotage.calls({"operation": "*", "region": NEW, "kind": "hang"}):
        shown = status()

    assert f"{NEW}: not reachable" in shown
    assert re.search(rf"{re.escape(ENDPOINTS[0])} +{OLD} +1 +no answer", shown)


def test_rollback_returns_to_the_records_before_the_last_run_and_then_changes_nothing(
    in_mode_1: dict[str, str], stand_in: StandIn
) -> None:
    failover("3")

    run = run_playbook("playbooks/rollback.yml")
    assert run.returncode == 0, run.error
    assert (summary()["outcome"], summary()["mode"]) == ("moved", "1")
    assert summary()["clients"]["stragglers"] == 0
    assert summary()["messages"]["lost"] == 0
    journal = (REPORTS / "latest" / "journal.jsonl").read_text().splitlines()
    assert json.loads(journal[0])["rollback"] is True

    last = stand_in.last_request()
    again = run_playbook("playbooks/rollback.yml")
    assert again.returncode == 0, again.error
    assert summary()["outcome"] == "unchanged"
    assert stand_in.writes_since(last) == []
