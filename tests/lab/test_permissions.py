"""The playbooks run under exactly the policies that playbooks/iam_policies.yml writes for their inventory.

A first set-up, and each action that is missing, are seen in tests/modules/test_permissions.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import StandIn, failover, run_playbook, summary
from .moves import move_and_prove


@pytest.fixture(scope="module")
def policies(fleet: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The two policies of the lab's inventory, whose clients are narrowed to its own, as it writes them."""
    folder = tmp_path_factory.mktemp("policies")
    more = {"iam_policies_client_ids": ["client_*"], "iam_policies_directory": str(folder)}
    run = run_playbook("playbooks/iam_policies.yml", "-e", json.dumps(more))
    assert run.returncode == 0, run.error
    return {path.name: json.loads(path.read_text()) for path in Path(folder).iterdir()}


def denied(stand_in: StandIn, last: int) -> set[str]:
    return {each["denied"] for each in stand_in.get(f"requests?after={last}")} - {""}


def test_setup_runs_under_its_policy(stand_in: StandIn, policies: dict[str, dict[str, Any]]) -> None:
    last = stand_in.last_request()

    with stand_in.allowed(policies["iam-setup.json"]):
        run = run_playbook("setup.yml")

    assert run.returncode == 0, run.error

    assert denied(stand_in, last) == set()


def test_looks_and_moves_run_under_their_policy(
    fleet: dict[str, str], stand_in: StandIn, policies: dict[str, dict[str, Any]]
) -> None:
    last = stand_in.last_request()

    with stand_in.allowed(policies["iam-failover.json"]):
        for mode in ("2", "3"):
            move_and_prove(fleet, stand_in, mode)
        for playbook in ("playbooks/status.yml", "playbooks/readiness.yml"):
            run = run_playbook(playbook)
            assert run.returncode == 0, run.error
        refused = run_playbook("failover.yml", "-e", "mode=1", "-e", "failover_max_endpoints=1")
        assert refused.returncode == 2
        assert summary()["outcome"] == "refused"
        assert run_playbook("playbooks/rollback.yml").returncode == 0
        assert summary()["outcome"] == "moved"

    assert denied(stand_in, last) == set()
    failover("1")


def test_missing_permission_stops_a_playbook_with_the_action_in_its_line(
    stand_in: StandIn, policies: dict[str, dict[str, Any]]
) -> None:
    policy = policies["iam-failover.json"]
    without = [
        {**each, "Action": [action for action in each["Action"] if action != "iot:DeleteConnection"]}
        if isinstance(each["Action"], list)
        else each
        for each in policy["Statement"]
    ]
    last = stand_in.last_request()

    with stand_in.allowed({**policy, "Statement": without}):
        run = run_playbook("failover.yml", "-e", "mode=4")

    assert run.returncode == 2
    assert "iot:DeleteConnection denied (Forbidden)" in run.error
    assert stand_in.writes_since(last) == []
    assert denied(stand_in, last) == {"iot:DeleteConnection"}
