"""What the playbooks take when there is nothing to do, beside what Ansible takes to start. Needs the lab, set up.

An empty playbook (one local ping), failover.yml to the mode that the fleet is in, and setup.yml again, by turns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from lab import drill

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "reports" / "bench-overhead.json"
EMPTY = """---
- name: Nothing
  hosts: localhost
  tasks:
    - name: Ping
      ansible.builtin.ping:
"""
START = "empty playbook"


@dataclass(frozen=True)
class Taken:
    """Seconds of one run, and CPU seconds of it and everything it started."""

    seconds: float
    cpu: float


def _run(*arguments: str) -> Taken:
    """Run a playbook that must change nothing."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["ansible-playbook", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    recap = drill.recap(done.stdout)
    if done.returncode or any(each.rstrip(";") != "changed=0" for each in recap.split() if each.startswith("changed=")):
        raise RuntimeError(f"{' '.join(command)}: found {recap or done.stderr[-500:]}, expected nothing changed")
    return Taken(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _figures(rounds: list[dict[str, Taken]]) -> dict[str, dict[str, float]]:
    """Medians over the rounds; ratios are taken within a round."""
    figures = {}
    for name in rounds[0]:
        taken = [each[name] for each in rounds]
        starts = [each[START] for each in rounds]
        figures[name] = {
            "seconds": round(statistics.median(each.seconds for each in taken), 2),
            "cpu": round(statistics.median(each.cpu for each in taken), 2),
            "seconds_to_start": round(
                statistics.median(each.seconds / start.seconds for each, start in zip(taken, starts, strict=True)), 2
            ),
            "cpu_to_start": round(
                statistics.median(each.cpu / start.cpu for each, start in zip(taken, starts, strict=True)), 2
            ),
        }
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mode", default=drill.BEFORE, help="the mode that the fleet is in")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.yml"
        empty.write_text(EMPTY)
        playbooks = {
            START: (str(empty),),
            "failover.yml": ("failover.yml", "-e", f"mode={given.mode}"),
            "setup.yml": ("setup.yml",),
        }
        for arguments in playbooks.values():
            _run(*arguments)
        rounds = [{name: _run(*arguments) for name, arguments in playbooks.items()} for _ in range(given.rounds)]
    figures = _figures(rounds)
    lines = ["| playbook | seconds | CPU seconds | beside an empty one | CPU beside it |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {found['seconds']} | {found['cpu']} | {found['seconds_to_start']} × | {found['cpu_to_start']} × |"
        for name, found in figures.items()
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    RESULTS.parent.mkdir(exist_ok=True)
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "system": platform.platform()}
    RESULTS.write_text(json.dumps({**vars(given), "machine": machine, "playbooks": figures}, indent=2) + "\n")
    sys.stdout.write(f"results: {RESULTS.relative_to(REPOSITORY)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
