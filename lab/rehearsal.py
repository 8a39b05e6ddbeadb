"""A move under a fault of the menu, and again when it is over: what happened, and what is not as expected."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import api, monitor, topology
from lab.errors import LabError
from lab.faults import MOVES, Fault
from lab.load import control as load
from lab.sabotage import ENDPOINTS, Move
from region_switch.record import ledger

REPORTS = topology.REPOSITORY / "reports"
ARRIVAL_TIMEOUT = 90.0
LEDGER_TIMEOUT = 60.0
POLL = 0.2
# The error of a refused move names its findings, one behind the other.
REFUSED = re.compile(r"^preflight: found \d+ reasons? against this move, nothing was changed: ")
FINDING = re.compile(r"; (?=[a-z_]+(?: \([^)]*\))?: )")

Show = Callable[[str], None]


@dataclass(frozen=True)
class Seen:
    """A move as its operator sees it.

    Attributes:
        lines: what it said, without what Ansible says of every play.
        summary: of its report; None where it did not get that far.
        writes: the operations of AWS that changed something, in order.
        records: for each of ENDPOINTS, the region that its record leads to afterwards.
    """

    returncode: int
    lines: list[str]
    summary: dict[str, Any] | None
    writes: list[str]
    records: list[str]

    @property
    def outcome(self) -> str | None:
        return self.summary["outcome"] if self.summary else None


@dataclass(frozen=True)
class Rehearsal:
    """A move under a fault, the same command after it, and the messages that were lost over both."""

    fault: Fault
    move: Move
    under: Seen
    then: Seen
    lost: int

    def line(self) -> str | None:
        """Return the line that the operator has to read."""
        says = self.fault.says.replace("SOURCE", self.move.source.name).replace("TARGET", self.move.target.name)
        return next((line for line in findings(self.under.lines) if re.search(says, line)), None)

    def problems(self) -> list[str]:
        """What is not as the fault's expectation says; nothing when the fault was handled."""
        return [*_problems_under(self), *_problems_then(self)]


def _problems_under(rehearsal: Rehearsal) -> list[str]:
    fault, under = rehearsal.fault, rehearsal.under
    found = []
    if under.outcome != fault.outcome:
        found.append(f"outcome: found {under.outcome}, expected {fault.outcome}")
    if (under.returncode == 0) != (fault.outcome == "moved"):
        found.append(f"exit code: found {under.returncode} of a move that ended as {fault.outcome}")
    if rehearsal.line() is None:
        found.append(f"lines: found none that matches {fault.says!r}")
    expected = [getattr(rehearsal.move, place).name for place in fault.records]
    if under.records != expected:
        found.append(f"records: found {under.records}, expected {expected}")
    if fault.writes is not None and under.writes != list(fault.writes):
        found.append(f"writes: found {under.writes}, expected {list(fault.writes)}")
    return found + _problems_of_clients(under)


def _problems_of_clients(seen: Seen) -> list[str]:
    if seen.summary is None or seen.outcome != "moved":
        return []
    clients = seen.summary["clients"]
    return [f"{key}: found {clients[key]}, expected 0" for key in ("stragglers", "bounced") if clients[key]]


def _problems_then(rehearsal: Rehearsal) -> list[str]:
    then, found = rehearsal.then, []
    if then.outcome not in rehearsal.fault.then:
        found.append(f"outcome afterwards: found {then.outcome}, expected {' or '.join(rehearsal.fault.then)}")
    if rehearsal.lost:
        found.append(f"messages: found {rehearsal.lost} lost, expected 0")
    return found + _problems_of_clients(then)


def rehearse(fault: Fault, move: Move, show: Show) -> Rehearsal:
    """Move under a fault and, once it is over, again; the fleet has to be in the source region.

    Raises:
        LabError: the fault could not be brought about, or devices did not get where the records lead.
    """
    monitor.start()
    if fault.clients:
        load.start(fault.clients, 0.0, show)
    try:
        return _rehearse(fault, move, show)
    finally:
        if fault.clients:
            load.stop(show)


def _rehearse(fault: Fault, move: Move, show: Show) -> Rehearsal:
    began = time.time()
    with fault.inject(move):
        under = run_move(move.mode, show)
        if under.outcome == "rolled_back":
            wait_for_arrivals(_way_back(move).mode)
    show(f"the fault {fault.name} is over; the same command again")
    then = run_move(move.mode, show)
    wait_for_arrivals(move.mode)
    return Rehearsal(fault, move, under, then, lost_since(began))


def findings(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a run, and in the place of the error of a refused one the findings that it names."""
    for line in lines:
        named = REFUSED.sub("", line)
        yield from FINDING.split(named) if named != line else [line]


def _way_back(move: Move) -> Move:
    return next(other for other in MOVES.values() if other.target == move.source)


def run_move(mode: str, show: Show, *arguments: str) -> Seen:
    """Run `failover.yml -e mode=…` as an operator does, showing each line as it comes."""
    earlier, last = _journals(), api.last_request()
    command = ["ansible-playbook", "failover.yml", "-e", f"mode={mode}", *arguments]
    show(" ".join(command))
    lines = []
    with subprocess.Popen(
        command,
        cwd=topology.REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for raw in process.stdout or ():
            if line := operator_line(raw):
                lines.append(line)
                show(f"    {line}")
    writes = api.writes_since(last)
    return Seen(process.returncode, lines, _summary(_journals() - earlier), writes, record_regions())


def _journals() -> set[Path]:
    # The link `latest` points to one of them once more.
    return {journal for journal in REPORTS.glob("*/journal.jsonl") if not journal.parent.is_symlink()}


def _summary(journals: set[Path]) -> dict[str, Any] | None:
    """The summary of the one run that kept a journal; None where it has none."""
    summaries = [journal.with_name("summary.json") for journal in journals]
    found = [json.loads(path.read_text(encoding="utf-8")) for path in summaries if path.exists()]
    return found[0] if len(found) == 1 else None


def operator_line(raw: str) -> str | None:
    """Return what a line of a playbook's output says about the move; None for what every playbook prints."""
    line = raw.rstrip("\n")
    if line.startswith(("fatal:", "failed:")) and "=> " in line:
        try:
            return str(json.loads(line.split("=> ", 1)[1])["msg"])
        except (ValueError, KeyError):
            return line
    words = line.strip().strip('",')
    # Said again, and in full, by the task's own line.
    if line.startswith("[ERROR]: Task failed") or words.startswith("^ column"):
        return None
    if line.startswith(("[ERROR]", "[WARNING]")):
        return words
    # Ansible's own lines begin at the margin; those of the callback and of messages are indented.
    if not line.startswith("    ") or words in ("", "]", "msg: [", 'msg": ['):
        return None
    return words.removeprefix('msg": "')


def record_regions() -> list[str]:
    """For each of ENDPOINTS, the region that its record points to, or what else it points to."""
    route53 = api.client("route53", topology.REGIONS[0].name)
    listed = route53.list_resource_record_sets(HostedZoneId=topology.HOSTED_ZONE_ID)["ResourceRecordSets"]
    values = {each["Name"].rstrip("."): each["ResourceRecords"][0]["Value"].rstrip(".") for each in listed}
    regions = {str(region.dns_name): region.name for region in topology.REGIONS}
    return [regions.get(values.get(name, ""), values.get(name, "no record")) for name in ENDPOINTS]


def wait_for_arrivals(mode: str) -> monitor.Arrivals:
    """Wait until every device's messages arrive in the region of the mode, and only there.

    Raises:
        LabError: they do not within ARRIVAL_TIMEOUT.
    """
    expected = monitor.expected_regions(mode)
    deadline = time.monotonic() + ARRIVAL_TIMEOUT
    while True:
        arrivals = monitor.recent_arrivals(seconds=2.0)
        if {client: list(regions) for client, regions in arrivals.items()} == {
            client: [region] for client, region in expected.items()
        }:
            return arrivals
        if time.monotonic() > deadline:
            raise LabError(f"messages: found {arrivals}, expected them as mode {mode} says ({expected}): see .lab/log")
        time.sleep(POLL)


def lost_since(began: float) -> int:
    """Return how many messages are lost of those since then; late ones are waited for.

    Raises:
        LabError: nobody keeps the ledger.
    """
    deadline = time.monotonic() + LEDGER_TIMEOUT
    tally = ledger.Tally(monitor.ledger_path(), began)
    while True:
        if not tally.update():
            raise LabError("ledger: there is none: see 'make lab-status' for the program monitor")
        lost = tally.messages()["lost"]
        if not lost or time.monotonic() > deadline:
            return lost
        time.sleep(POLL)
