"""The whole move, rehearsed: lab up, setup, deploy, mode 1, mode 3, and what became of every message.

Run by `make drill`. Prints what an operator wants to see and ends with the report's path; the
exit code is 0 only when every client landed and no message was lost.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lab import monitor, topology
from lab.monitor import Arrivals

# The article's first and third pattern: both names in one region, then both in the other.
BEFORE, AFTER = "1", "3"
ARRIVAL_TIMEOUT = 60.0
PROGRESS_INTERVAL = 5.0


class DrillError(Exception):
    """The rehearsal cannot go on; the text says what was found and what to do."""


@dataclass(frozen=True)
class Playbook:
    """A playbook to run and the log its whole output goes to."""

    title: str
    arguments: tuple[str, ...]

    @property
    def log(self) -> Path:
        return topology.state_directory() / "log" / f"drill-{self.title.replace(' ', '-')}.log"


def main() -> int:
    """Run the rehearsal and return the process's exit code."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        return _rehearse(console)
    except (DrillError, monitor.MonitorError) as error:
        console.print(f"drill: {error}", style="red")
        return 1
    except KeyboardInterrupt:
        console.print("drill: interrupted; the lab is still up, 'make lab-down' takes it down")
        return 130


def _rehearse(console: Console) -> int:
    if subprocess.run([sys.executable, "-m", "lab", "up"], check=False, cwd=topology.REPOSITORY).returncode:
        raise DrillError("the lab did not come up, see the line above")
    _run(console, Playbook("setup", ("setup.yml",)))
    _run(console, Playbook("deploy clients", ("playbooks/deploy_clients.yml",)))
    monitor.start()
    _move(console, BEFORE)
    _show_arrivals(console, f"mode {BEFORE}", _wait_for_arrivals(console, BEFORE))
    _move(console, AFTER)
    _show_arrivals(console, f"mode {AFTER}", _wait_for_arrivals(console, AFTER))
    return _verdict(console)


def _move(console: Console, mode: str) -> None:
    _run(console, Playbook(f"failover mode {mode}", ("failover.yml", "-e", f"mode={mode}")), follow=True)


def _run(console: Console, playbook: Playbook, follow: bool = False) -> None:
    """Run a playbook, its output in a log; raise DrillError with the log's last error when it fails."""
    command = ["ansible-playbook", *playbook.arguments]
    console.print(f"==> {' '.join(command)}", style="bold")
    playbook.log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with playbook.log.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, cwd=topology.REPOSITORY, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        watcher = threading.Thread(target=_report_while, args=(console, process, follow), daemon=True)
        watcher.start()
        returncode = process.wait()
        watcher.join()
    text = playbook.log.read_text(encoding="utf-8")
    if returncode:
        raise DrillError(f"{playbook.title} failed: {last_error(text)} (whole output: {playbook.log})")
    console.print(f"    {recap(text)}, {time.monotonic() - started:.0f} s")


def _report_while(console: Console, process: subprocess.Popen[bytes], follow: bool) -> None:
    """Say every few seconds that work goes on; during a move, say each client's change of region."""
    regions: dict[str, str] = {}
    said = time.monotonic()
    while process.poll() is None:
        time.sleep(0.25)
        if follow:
            for client_id, region in monitor.latest_regions().items():
                if regions.get(client_id, region) != region:
                    console.print(f"    {client_id}: messages now arrive in {region}")
                    said = time.monotonic()
                regions[client_id] = region
        if time.monotonic() - said >= PROGRESS_INTERVAL:
            console.print("    …")
            said = time.monotonic()


def last_error(output: str) -> str:
    """Return the message of the last failed task in a playbook's output, or its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for line in reversed(lines):
        if line.startswith("fatal:") and "=> " in line:
            try:
                return str(json.loads(line.split("=> ", 1)[1])["msg"])
            except (ValueError, KeyError):
                return line
        if line.startswith("[ERROR]:"):
            return line.removeprefix("[ERROR]:").strip()
    return lines[-1] if lines else "no output"


def recap(output: str) -> str:
    """Return `host: ok=… changed=…` of each host of a playbook's recap, in one line."""
    lines = output.partition("PLAY RECAP")[2].splitlines()[1:]
    hosts = [line.split() for line in lines if " : ok=" in line]
    return "; ".join(f"{words[0]}: {words[2]} {words[3]}" for words in hosts) or "no recap"


def _wait_for_arrivals(console: Console, mode: str) -> dict[str, Arrivals]:
    """Wait until every client's messages arrive in the region of the mode, and only there."""
    expected = monitor.expected_regions(mode)
    deadline = time.monotonic() + ARRIVAL_TIMEOUT
    while True:
        arrivals = monitor.recent_arrivals(seconds=2.0)
        if {client: tuple(found.per_region) for client, found in arrivals.items()} == {
            client: (region,) for client, region in expected.items()
        }:
            return arrivals
        if time.monotonic() > deadline:
            _show_arrivals(console, "found", arrivals)
            raise DrillError(f"messages do not arrive as mode {mode} says ({expected}) within {ARRIVAL_TIMEOUT:.0f} s")
        time.sleep(0.2)


def _show_arrivals(console: Console, title: str, arrivals: dict[str, Arrivals]) -> None:
    table = Table("client", *(region.name for region in topology.REGIONS), title=f"messages in the last 2 s, {title}")
    for client_id, found in sorted(arrivals.items()):
        table.add_row(client_id, *(str(found.per_region.get(region.name, "-")) for region in topology.REGIONS))
    console.print(table)


def _verdict(console: Console) -> int:
    """Print what the move's report says and return the exit code it means."""
    report = (topology.REPOSITORY / "reports" / "latest").resolve()
    summary = json.loads((report / "summary.json").read_text(encoding="utf-8"))
    clients, messages, gap = summary["clients"], summary["messages"], summary["gap_seconds"]
    console.print(
        f"{summary['outcome']}: {clients['landed']} of {clients['total']} clients landed, "
        f"{clients['stragglers']} stragglers"
    )
    if messages is None:
        raise DrillError("the run has no message counts: the monitor kept no ledger, see 'make lab-status'")
    console.print("messages: {sent} sent, {received} received, {lost} lost, {duplicated} duplicated".format(**messages))
    if gap is not None:
        console.print(f"gap per client: p50 {gap['p50']:.2f} s, max {gap['max']:.2f} s")
    landed = summary["outcome"] in ("moved", "unchanged") and clients["stragglers"] == 0
    console.print(f"report: {report.relative_to(topology.REPOSITORY)}/summary.json")
    return 0 if landed and messages["lost"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
