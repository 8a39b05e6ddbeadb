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


def connected(stand_in: StandIn, fleet: dict[str, str]) -> dict[str, list[str]]:
    return {client: stand_in.connected_regions(client) for client in fleet}


def test_move_killed_after_the_switch_is_finished_by_the_next_run(fleet: dict[str, str], stand_in: StandIn) -> None:
    failover("1")
    earlier = journals()

    def switched() -> bool:
        return any('"switched"' in journal.read_text() for journal in journals() - earlier)

    with stand_in.insync_held():
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "failover.yml", "-e", "mode=3"]
        killed = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            wait_for("the records being switched", switched)
        finally:
            killed.kill()
            killed.wait()
        os.kill(json.loads((REPORTS / ".lock").read_text())["pid"], signal.SIGKILL)
    assert connected(stand_in, fleet) == {client: ["us-east-1"] for client in fleet}

    failover("3")

    assert summary()["outcome"] == "moved"
    assert summary()["clients"]["landed"] == len(fleet)
    assert summary()["messages"]["lost"] == 0
    assert connected(stand_in, fleet) == {client: ["ap-northeast-1"] for client in fleet}
