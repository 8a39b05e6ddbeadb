"""What the playbooks take when there is nothing to do, beside what Ansible takes to start.

An empty playbook (one local ping), failover.yml to the mode that the fleet is in, and setup.yml again, by turns. Run by
`make bench-overhead`; writes the section "overhead" of docs/benchmarks.json.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from lab import drill
from lab.errors import LabError

from . import page, results, tables

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
    done = subprocess.run(command, cwd=results.REPOSITORY, capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    recap = drill.recap(done.stdout)
    if done.returncode or any(each.rstrip(";") != "changed=0" for each in recap.split() if each.startswith("changed=")):
        raise LabError(f"{' '.join(command)}: found {recap or done.stderr[-500:]}, expected nothing changed")
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
    given = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    try:
        drill.prepare(console)
        drill.move(console, drill.BEFORE)
        figures = _measure(given.rounds)
    except LabError as error:
        console.print(f"bench: {error}", style="red", markup=False)
        return 1
    results.write("overhead", {"rounds": given.rounds, "playbooks": figures})
    sys.stdout.write(tables.overhead(results.read()) + "\n")
    page.show_written()
    return 0


def _measure(rounds: int) -> dict[str, dict[str, float]]:
    """Run the playbooks by turns; each once before, so that all find the same caches."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.yml"
        empty.write_text(EMPTY)
        playbooks = {
            START: (str(empty),),
            "failover.yml": ("failover.yml", "-e", f"mode={drill.BEFORE}"),
            "setup.yml": ("setup.yml",),
        }
        for arguments in playbooks.values():
            _run(*arguments)
        return _figures([{name: _run(*each) for name, each in playbooks.items()} for _ in range(rounds)])


if __name__ == "__main__":
    sys.exit(main())
