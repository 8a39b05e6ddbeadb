"""Says what a move is doing while it does it, read from the journal that the move keeps."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible.template import Templar

DOCUMENTATION = r"""
name: move_progress
type: aggregate
short_description: Progress of C(iot_region_switch)
description:
  - Prints a line when a move enters a phase, and one every 5 seconds while a phase lasts.
  - Reads the journal of the run, so it shows nothing in check mode, nor where the module runs on another host.
requirements: []
"""

MODULE = "iot_region_switch"
INTERVAL = 5.0
POLL = 0.2


@dataclass
class Progress:
    """What the journal's entries so far add up to.

    Attributes:
        doing: the phase, as people read it.
        total: clients to disconnect in this pass.
        done: clients disconnected in this pass.
        began: epoch seconds at which the phase was seen to begin.
    """

    doing: str = "reading what is"
    total: int = 0
    done: int = 0
    began: float = 0.0

    def apply(self, entry: dict[str, Any], now: float) -> str | None:
        """Take one entry of the journal in; return the line that it is worth, if any."""
        step = str(entry.get("step"))
        if step == "delete_connection":
            self.done += 1
            if self.done == self.total:
                self._enter("waiting until every client is seen where it belongs", now)
            return None
        if step == "sweep":
            self.total, self.done = int(entry["clients"]), 0
        if step in _DOING:
            self._enter(_DOING[step], now)
        return _LINES[step](entry) if step in _LINES else None

    def _enter(self, doing: str, now: float) -> None:
        self.doing, self.began = doing, now

    def status(self, now: float) -> str:
        """What is being done and for how long; with rate and time left while clients are disconnected."""
        seconds = max(now - self.began, 0.001)
        if not 0 < self.done < self.total:
            return f"{self.doing}, for {seconds:.0f} s"
        rate = self.done / seconds
        left = (self.total - self.done) / rate
        return f"{self.doing}: {self.done} of {self.total}, {rate:.0f} per second, {left:.0f} s left"


def _plan_line(entry: dict[str, Any]) -> str:
    moves = [
        f"{name} {move['from']} -> {move['to']}" for name, move in entry["plan"].items() if move["from"] != move["to"]
    ]
    return f"plan: {', '.join(moves) or 'no name moves'}; {entry['misplaced']} clients are elsewhere"


_DOING = {
    "switch": "changing the records",
    "switched": "waiting until Route 53's servers have the change",
    "insync": "waiting until every name server and resolver answers the new region",
    "sweep": "disconnecting clients",
}
_LINES: dict[str, Callable[[dict[str, Any]], str]] = {
    "plan": _plan_line,
    "insync": lambda _: "records: changed and INSYNC",
    "dns": lambda entry: f"DNS: as wanted on {', '.join(entry['servers'])}",
    "sweep": lambda entry: f"sweep: {entry['clients']} clients",
    "sweep_again": lambda entry: f"sweep: {len(entry['clients'])} clients went back and are disconnected again",
    "landing": lambda entry: f"landing: {entry['landed']} landed, {entry['late']} late",
}


def new_entries(journal: Path, offset: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the whole lines behind an offset, each with the offset behind it; a line being written waits."""
    with journal.open("rb") as stream:
        stream.seek(offset)
        for line in stream:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            yield json.loads(line), offset


class Watcher:
    """Follows the journal of the next run that begins in a reports folder."""

    def __init__(self, reports: Path, say: Callable[[str], None]) -> None:
        self._reports = reports
        self._say = say
        self._earlier = self._journals()
        self._over = threading.Event()
        self._progress = Progress(began=time.time())
        self._said = time.monotonic()
        self._offset = 0
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Say what is left to say and end."""
        self._over.set()
        self._thread.join()

    def _journals(self) -> set[Path]:
        return set(self._reports.glob("*/journal.jsonl"))

    def _follow(self) -> None:
        journal: Path | None = None
        over = False
        while not over:
            over = self._over.wait(POLL)
            journal = journal or min(self._journals() - self._earlier, default=None)
            if journal:
                self._read(journal)

    def _read(self, journal: Path) -> None:
        for entry, offset in new_entries(journal, self._offset):
            self._offset = offset
            if line := self._progress.apply(entry, time.time()):
                self._print(line)
        if time.monotonic() - self._said >= INTERVAL:
            self._print(self._progress.status(time.time()))

    def _print(self, line: str) -> None:
        self._say(f"    {line}")
        self._said = time.monotonic()


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Watches every task that moves a fleet."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "move_progress"

    def __init__(self) -> None:
        super().__init__()
        self._play: Any = None
        self._watcher: Watcher | None = None

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._play = play

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        if task.action == MODULE and not self._watcher:
            variables = self._play.get_variable_manager().get_vars(play=self._play, host=host, task=task)
            templar = Templar(loader=self._play.get_loader(), variables=variables)
            self._watcher = Watcher(Path(str(templar.template(task.args["reports_directory"]))), self._display.display)

    def v2_runner_on_ok(self, result: Any) -> None:  # noqa: ARG002 - Ansible's signature
        self._stop()

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:  # noqa: ARG002 - Ansible's signature
        self._stop()

    def v2_playbook_on_stats(self, stats: Any) -> None:  # noqa: ARG002 - Ansible's signature
        self._stop()

    def _stop(self) -> None:
        if self._watcher:
            self._watcher.stop()
            self._watcher = None
