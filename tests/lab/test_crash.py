"""A move that was killed: the same command again brings it to its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from .conftest import REPOSITORY, StandIn, failover, summary, wait_for

REPORTS = REPOSITORY / "reports"


def journals() -> set[Path]:
    return set(REPORTS.glob("*/journal.jsonl"))


def test_move_killed_after_the_switch_is_finished_by_the_next_run(fleet: dict[str, str], stand_in: StandIn) -> None:
    failover("1")
    earlier = journals()
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "failover.yml", "-e", "mode=3"]
    killed = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        wait_for(
            "the records being switched", lambda: any('"switched"' in each.read_text() for each in journals() - earlier)
        )
        # Ansible first: it would report the module's death and so end by itself.
        killed.kill()
        os.kill(json.loads((REPORTS / ".lock").read_text())["pid"], signal.SIGKILL)
    finally:
        killed.kill()
        killed.wait()
    assert {client: stand_in.connected_regions(client) for client in fleet} == dict.fromkeys(fleet, ["us-east-1"])

    failover("3")

    assert summary()["outcome"] == "moved"
    assert summary()["clients"]["landed"] == len(fleet)
    assert summary()["messages"]["lost"] == 0
    assert {client: stand_in.connected_regions(client) for client in fleet} == dict.fromkeys(fleet, ["ap-northeast-1"])
