"""What a move costs per client, and that its memory does not grow with the fleet: found, told, looked for, reported.

Run by `make bench-fleet`. The real module against a simulated account (`simulated_account.py`), in a
process of its own; `--kill` kills it when half of the clients were told and runs the same command again, and keeps
the figures in the section "fleet" of docs/benchmarks.json.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tests.conftest  # noqa: F401 - makes the engine importable under Ansible's name

from . import results

SECTION = "fleet"
TOLD, FIGURES = "told", "figures.json"
# Credentials of nobody: requests are signed, and go nowhere.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "simulated", "AWS_SECRET_ACCESS_KEY": "simulated"}


@dataclass(frozen=True)
class Figures:
    """What one process took.

    Attributes:
        peak: bytes of memory at most (VmHWM).
        cpu, seconds: of this process, from its first request to its report.
        calls: requests by operation.
        killed: whether it was killed on its way.
        result: what the module returned; empty where it was killed.
    """

    peak: int
    cpu: float
    seconds: float
    calls: dict[str, int]
    killed: bool
    result: dict[str, Any]


def prepare(folder: Path, clients: int) -> None:
    """Make an account with so many clients, nobody of whom was told anything yet."""
    with (folder / TOLD).open("wb") as told:
        told.truncate(clients)


def move(folder: Path, kill_after: int = 0, direct: bool = False) -> Figures:
    """Move the clients of a folder's account in a process of its own.

    Args:
        kill_after: kill it when it has made so many DeleteConnection requests; 0: never.
        direct: leave out botocore.
    """
    path = ":".join(str(results.REPOSITORY / name) for name in (".", "module_utils", "library"))
    environment = {**os.environ, **CREDENTIALS, "PYTHONPATH": path}
    command = [sys.executable, "-m", "tests.bench.fleet_size", "--worker", str(folder), "--kill-after", str(kill_after)]
    command += ["--direct"] if direct else []
    # In a session of its own, as Ansible's worker makes one: the move looks whether those who wait for it are there.
    done = subprocess.run(
        command, cwd=results.REPOSITORY, env=environment, check=False, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    if done.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the move ended with {done.returncode}: {done.stderr[-2000:]}")
    return Figures(**json.loads((folder / FIGURES).read_text()), killed=done.returncode != 0)


def times_told(folder: Path) -> Counter[int]:
    """`{how often told: how many clients}`."""
    return Counter((folder / TOLD).read_bytes())


def _work(folder: Path, kill_after: int, direct: bool) -> None:
    """Move in this process, and leave its figures."""
    from ..modules.modules import run
    from ..modules.zone_server import Cname, dns_server
    from .simulated_account import ENDPOINT, HOSTS, NEW, OLD, ZONE_ID, Account

    began = time.monotonic()

    def figures(result: dict[str, Any]) -> None:
        calls = {name: int(repr(count)[6:-1]) for name, count in account.calls.items()}
        found = {"peak": _peak(), "cpu": time.process_time(), "seconds": time.monotonic() - began}
        (folder / FIGURES).write_text(json.dumps({**found, "calls": calls, "result": result}))

    account = Account(folder / TOLD, kill_after, lambda: figures({}))
    (account.install_directly if direct else account.install)()
    with dns_server(lambda _: Cname(HOSTS[NEW], 0)) as server:
        options = {
            "mode": "2",
            "modes": {"1": {ENDPOINT: OLD}, "2": {ENDPOINT: NEW}},
            "endpoints": [ENDPOINT],
            "regions": [OLD, NEW],
            "hosted_zone_id": ZONE_ID,
            "name_servers": [server],
            "resolvers": [server],
            "dns_consecutive": 1,
            # There is no MQTT endpoint here to look at.
            "preflight": False,
            "reports_directory": str(folder / "reports"),
        }
        figures(run("iot_region_switch", options))


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) * 1024


def measure(clients: int, direct: bool, kill: bool) -> dict[str, Any]:
    """Move so many simulated clients; return what each run took, and how many were told twice.

    Raises:
        RuntimeError: somebody was told never or more than twice, or a move did not end as meant: killed, or moved.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, clients)
        found = [move(folder, kill_after, direct) for kill_after in ([clients // 2, 0] if kill else [0])]
        counts = times_told(folder)
    if kill and not found[0].killed:
        raise RuntimeError(f"{clients} clients: found {found[0].result.get('msg')}, expected the first move killed")
    result = found[-1].result
    if result.get("outcome") != "moved" or counts[1] + counts[2] != clients:
        raise RuntimeError(
            f"{clients} clients: found {result.get('msg')}, {dict(counts)} told, expected each once or twice"
        )
    runs = [
        {
            "run": "killed" if each.killed else "resumed" if kill else "whole",
            "told": each.calls["DeleteConnection"],
            "calls": sum(each.calls.values()),
            "seconds": round(each.seconds, 1),
            "cpu": round(each.cpu, 1),
            "peak_mib": round(each.peak / 2**20, 1),
        }
        for each in found
    ]
    return {"clients": clients, "direct": direct, "runs": runs, "told_twice": counts[2]}


def keep(cell: dict[str, Any]) -> None:
    """Put a cell in the place of the earlier one of its size and kind."""
    cells = {(each["clients"], each["direct"]): each for each in results.read().get(SECTION, {}).get("cells", [])}
    cells[cell["clients"], cell["direct"]] = cell
    results.write(SECTION, {"cells": [cells[key] for key in sorted(cells)]})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=1_000_000)
    parser.add_argument("--kill", action="store_true", help="kill the move at half of its clients, and run it again")
    parser.add_argument("--direct", action="store_true", help="leave out the making of requests: the engine's own cost")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kill-after", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        _work(given.worker, given.kill_after, given.direct)
        return 0
    # Not in the worker, whose memory is measured.
    from . import page, tables

    try:
        cell = measure(given.clients, given.direct, given.kill)
    except RuntimeError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    if given.kill:
        keep(cell)
    sys.stdout.write(tables.fleet({SECTION: {"machine": results.machine(), "cells": [cell]}}) + "\n")
    page.show_written()
    return 0


if __name__ == "__main__":
    sys.exit(main())
