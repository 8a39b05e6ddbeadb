"""The whole move, rehearsed: lab up, setup, deploy, mode 1, mode 3, and what happened to every message.

Run by `make drill`. Prints what an operator wants to see and ends with the report's path; the
exit code is 0 only when every client landed and no message was lost. `make drill FAULT=<name>` moves
to mode 3 under a fault of the menu, and again when it is over; the exit code is 0 when the fault was
handled as the menu expects.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lab import faults, monitor, rehearsal, topology
from lab.errors import LabError
from lab.faults import Fault
from lab.monitor import Arrivals

# The article's first and third pattern: both names in one region, then both in the other.
BEFORE, AFTER = "1", "3"
PROGRESS_INTERVAL = 5.0


@dataclass(frozen=True)
class Playbook:
    """A playbook to run; its whole output goes to a log."""

    title: str
    arguments: tuple[str, ...]

    @property
    def log(self) -> Path:
        return topology.state_directory() / "log" / f"drill-{self.title.replace(' ', '-')}.log"


def main() -> int:
    """Run the rehearsal and return the process's exit code."""
    parser = argparse.ArgumentParser(prog="lab.drill", description="The whole move, rehearsed.")
    parser.add_argument("--fault", metavar="NAME", help="move under a fault of the menu; 'list' shows the menu")
    name = parser.parse_args().fault
    console = Console(highlight=False, soft_wrap=True)
    try:
        if name == "list":
            console.print("\n".join(faults.menu()), markup=False)
            return 0
        fault = faults.find(name) if name else None
        prepare(console)
        return _rehearse_fault(console, fault) if fault else _rehearse(console)
    except LabError as error:
        console.print(f"drill: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("drill: interrupted; the lab is still up, 'make lab-down' takes it down")
        return 130


def prepare(console: Console) -> None:
    """Bring the lab up, set both regions up, deploy the clients and start the monitor.

    Raises:
        LabError: one of these failed; the text says which and why.
    """
    if subprocess.run([sys.executable, "-m", "lab", "up"], check=False, cwd=topology.REPOSITORY).returncode:
        raise LabError("the lab did not come up, see the line above")
    _run(console, Playbook("setup", ("setup.yml",)))
    _run(console, Playbook("deploy clients", ("playbooks/deploy_clients.yml",)))
    monitor.start()


def move(console: Console, mode: str) -> dict[str, Any]:
    """Run `failover.yml -e mode=…`, saying when a client's messages change region; return summary.json.

    Raises:
        LabError: the move failed.
    """
    _run(console, Playbook(f"failover mode {mode}", ("failover.yml", "-e", f"mode={mode}")), follow=True)
    summary: dict[str, Any] = json.loads((latest_report() / "summary.json").read_text(encoding="utf-8"))
    return summary


def latest_report() -> Path:
    return (topology.REPOSITORY / "reports" / "latest").resolve()


def _rehearse(console: Console) -> int:
    move(console, BEFORE)
    _show_arrivals(console, f"mode {BEFORE}", rehearsal.wait_for_arrivals(BEFORE))
    began = time.time()
    summary = move(console, AFTER)
    _show_arrivals(console, f"mode {AFTER}", rehearsal.wait_for_arrivals(AFTER))
    for client_id, gap in sorted(monitor.gaps(BEFORE, AFTER, began).items()):
        console.print(f"{client_id}: {gap:.2f} s between its last message in one region and its first in the other")
    return _verdict(console, summary)


def _rehearse_fault(console: Console, fault: Fault) -> int:
    move(console, BEFORE)
    rehearsal.wait_for_arrivals(BEFORE)
    console.print(f"==> fault {fault.name}: {fault.description}", style="bold", markup=False)
    found = rehearsal.rehearse(fault, faults.MOVES[AFTER], lambda line: console.print(line, markup=False))
    console.print(f"under the fault: {found.under.outcome or 'no report'}; afterwards: {found.then.outcome}")
    console.print(f"messages: {found.lost} lost over both")
    problems = found.problems()
    for problem in problems:
        console.print(problem, style="red", markup=False)
    console.print(f"fault {fault.name}: {'not handled as expected' if problems else 'handled as expected'}")
    return 1 if problems else 0


def _run(console: Console, playbook: Playbook, follow: bool = False) -> None:
    """Run a playbook, its output in a log; raise LabError with the log's last error when it fails."""
    command = ["ansible-playbook", *playbook.arguments]
    console.print(f"==> {' '.join(command)}", style="bold")
    playbook.log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with playbook.log.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, cwd=topology.REPOSITORY, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        watcher = threading.Thread(target=_report_while, args=(console, process, playbook, follow), daemon=True)
        watcher.start()
        returncode = process.wait()
        watcher.join()
    text = playbook.log.read_text(encoding="utf-8")
    if returncode:
        raise LabError(f"{playbook.title} failed: {last_error(text)} (whole output: {playbook.log})")
    console.print(f"    {recap(text)}, {time.monotonic() - started:.0f} s")


def _report_while(console: Console, process: subprocess.Popen[bytes], playbook: Playbook, follow: bool) -> None:
    """Print every few seconds what is being done and, during a move, each client's change of region."""
    regions: dict[str, str] = {}
    shown = 0
    said = time.monotonic()
    while process.poll() is None:
        time.sleep(0.25)
        lines = progress_lines(playbook.log.read_text(encoding="utf-8"))
        for line in lines[shown:]:
            console.print(line, markup=False)
            said = time.monotonic()
        shown = len(lines)
        for client_id, region in monitor.latest_regions().items() if follow else ():
            if regions.get(client_id, region) != region:
                console.print(f"    {client_id}: messages now arrive in {region}")
                said = time.monotonic()
            regions[client_id] = region
        if time.monotonic() - said >= PROGRESS_INTERVAL:
            console.print(f"    {current_task(playbook.log.read_text(encoding='utf-8'))} …", markup=False)
            said = time.monotonic()


def progress_lines(output: str) -> list[str]:
    """Return what the callback plugin said so far of a move."""
    return [line for line in output.splitlines() if re.match(r"    [A-Za-z]", line)]


def current_task(output: str) -> str:
    """Return the name of the last task that a playbook's output begins."""
    tasks = [line for line in output.splitlines() if line.startswith("TASK [")]
    return tasks[-1].removeprefix("TASK [").rpartition("]")[0] if tasks else "starting"


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


def _show_arrivals(console: Console, title: str, arrivals: Arrivals) -> None:
    names = [region.name for region in topology.REGIONS]
    table = Table("client", "library", "endpoint", *names, title=f"messages in the last 2 s, {title}")
    for device in monitor.devices():
        found = arrivals.get(device.client_id, {})
        table.add_row(device.client_id, device.library, device.endpoint, *(str(found.get(name, "-")) for name in names))
    console.print(table)


def _verdict(console: Console, summary: dict[str, Any]) -> int:
    """Print what the move's report says and return the exit code it means."""
    clients, messages = summary["clients"], summary["messages"]
    console.print(
        f"{summary['outcome']}: {clients['landed']} of {clients['total']} clients landed, "
        f"{clients['stragglers']} stragglers"
    )
    if messages is None:
        raise LabError("the run has no message counts: the monitor kept no ledger, see 'make lab-status'")
    console.print("messages: {sent} sent, {received} received, {lost} lost, {duplicated} duplicated".format(**messages))
    console.print(f"report: {latest_report().relative_to(topology.REPOSITORY)}/report.html")
    return 0 if summary["outcome"] == "moved" and clients["stragglers"] == 0 and messages["lost"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
