"""Time and memory of a move against the size of the fleet, from ten clients to a million.

Run by `make bench-curve`. Simulated: the whole module against a simulated account whose quotas are out of the way, so
that what is seen is the controller's own share; without botocore, as docs/benchmarks.md explains. Real (`--real`, as
root): light clients in the lab, at the quota's pace. Each size is kept as soon as it is measured, and the others stay.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import page, results
from .fleet_size import move, prepare, times_told

SIMULATED = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
REAL = (10, 100, 1_000, 8_500)
SECTION = "curve"
# Of all clients together, a second: what the ledger's writer takes beside everything else.
MESSAGES = 200
MODULE = "iot_region_switch"
# A process says itself how much it ever took: its last moments are all that could be missed.
POLL = 0.25


def simulated(clients: int) -> dict[str, Any]:
    """Move a simulated fleet in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, clients)
        figures = move(folder, direct=True)
        told = times_told(folder)
    if figures.result.get("outcome") != "moved" or told[1] != clients:
        raise RuntimeError(
            f"{clients} clients: found {figures.result.get('msg')}, {dict(told)} told, expected each once"
        )
    return {
        "clients": clients,
        "seconds": round(figures.seconds, 2),
        "cpu": round(figures.cpu, 2),
        "peak_mib": round(figures.peak / 2**20, 1),
    }


def real(clients: int) -> dict[str, Any]:
    """Move so many light clients of the lab, which is up and set up, to the other region."""
    from lab.load import control

    # A move waits until the ledger has something of each client.
    control.start(clients, publish_interval=max(1.0, clients / MESSAGES), say=lambda _: None)
    mode = "3" if control.regions().get("us-east-1") else "1"
    began = time.monotonic()
    command = ["ansible-playbook", "failover.yml", "-e", f"mode={mode}"]
    with subprocess.Popen(
        command, cwd=results.REPOSITORY, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    ) as process:
        peak = _Peak(process.pid)
        returncode = process.wait()
        bytes_at_most = peak.end()
    summary = json.loads((results.REPOSITORY / "reports" / "latest" / "summary.json").read_text(encoding="utf-8"))
    if returncode or summary["outcome"] != "moved":
        raise RuntimeError(
            f"{clients} clients: found the outcome {summary['outcome']}, expected moved: see reports/latest"
        )
    return {
        "clients": summary["clients"]["misplaced"],
        "seconds": round(time.monotonic() - began, 2),
        "phases": summary["phases"],
        "rate": summary["sweep"]["rate"],
        "peak_mib": round(bytes_at_most / 2**20, 1),
    }


class _Peak:
    """The most memory that any process of the module takes, as long as a command runs."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._most = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> int:
        self._ended.set()
        self._thread.join()
        return self._most

    def _watch(self) -> None:
        while not self._ended.wait(POLL):
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError, KeyError):
                    if MODULE in (process / "cmdline").read_text(errors="replace") and self._began(process.name):
                        self._most = max(self._most, int(_status(process.name)["VmHWM"].split()[0]) * 1024)

    def _began(self, pid: str) -> bool:
        """Whether the command began a process, by any number of others."""
        while int(pid) not in (0, self._root):
            pid = _status(pid)["PPid"]
        return int(pid) == self._root


def _status(pid: str) -> dict[str, str]:
    lines = Path("/proc", pid, "status").read_text(encoding="utf-8").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def keep(kind: str, point: dict[str, Any]) -> None:
    """Put a point in the place of the earlier one of its kind and size."""
    section = results.read().get(SECTION, {})
    points = {each["clients"]: each for each in section.get(kind, [])}
    points[point["clients"]] = {**point, "commit": results.machine()["commit"]}
    kinds = {name: section[name] for name in ("simulated", "real") if name in section}
    results.write(SECTION, {**kinds, kind: [points[size] for size in sorted(points)]})


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.curve", description=__doc__.splitlines()[0])
    parser.add_argument("--real", action="store_true", help="light clients in the lab in the place of simulated ones")
    parser.add_argument("--clients", type=int, nargs="+", help="these sizes only")
    given = parser.parse_args()
    kind, sizes, measure = ("real", REAL, real) if given.real else ("simulated", SIMULATED, simulated)
    if given.real:
        _prepare_lab()
    try:
        for size in given.clients or sizes:
            point = measure(size)
            keep(kind, point)
            sys.stdout.write(
                f"{kind}: {point['clients']} clients: {point['seconds']} s, peak {point['peak_mib']} MiB\n"
            )
            sys.stdout.flush()
    finally:
        if given.real:
            _stop_load()
    page.show_written()
    return 0


def _prepare_lab() -> None:
    from rich.console import Console

    from lab import drill

    console = Console(highlight=False, soft_wrap=True)
    drill.prepare(console)
    drill.move(console, "1")


def _stop_load() -> None:
    from lab.load import control

    control.stop(lambda _: None)


if __name__ == "__main__":
    sys.exit(main())
