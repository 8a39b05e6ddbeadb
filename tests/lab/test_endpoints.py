"""Set-up and a move ask AWS by the names of its endpoints, as in production, where a wrong one leads nowhere."""

from __future__ import annotations

import json

from lab import topology

from .conftest import failover, run_playbook, summary


def test_set_up_and_a_move_find_aws_by_its_own_names(fleet: dict[str, str]) -> None:
    failover("1")
    names = json.dumps({"aws_environment": topology.named_environment()})

    again = run_playbook("setup.yml", "-e", names)
    assert again.returncode == 0, again.error
    assert again.changed == 0

    failover("3", "-e", names)
    assert summary()["outcome"] == "moved"
    assert summary()["clients"]["landed"] == len(fleet)
