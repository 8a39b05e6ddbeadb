"""Shows the progress of a move, read from the journal that the move writes."""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import ansible.module_utils
from ansible import constants as C  # noqa: N812 - as Ansible's own plugins name it
from ansible.errors import AnsibleError
from ansible.plugins.callback import CallbackBase
from ansible.template import Templar

# Ansible adds a project's module_utils to those that modules import, and not to those that its plugins do.
ansible.module_utils.__path__.append(str(Path(__file__).resolve().parents[2] / "module_utils"))

from ansible.module_utils.region_switch.model.errors import many, printable  # noqa: E402
from ansible.module_utils.region_switch.record import events  # noqa: E402
from ansible.module_utils.region_switch.record.events import Entry, new_entries  # noqa: E402

DOCUMENTATION = r"""
name: move_progress
type: aggregate
short_description: Progress of C(iot_region_switch)
description:
  - Prints a line when a move enters a phase, and while a phase lasts one every 5 seconds, or on a terminal a bar.
  - Shows the outcome of a move that was interrupted, and where its report is.
  - Where another program reads the output, such as that of P(ansible.posix.json#callback), it writes to standard error.
  - Reads the journal of the run, so it shows nothing in check mode, nor where the module runs on another host.
requirements: [rich for the bar]
"""

MODULE = "iot_region_switch"
INTERVAL = 5.0
POLL = 0.2
# Seconds that an interrupted move has to write its report.
REPORT_TIMEOUT = 30.0
SERVERS_SHOWN = 4
# The callback of AWX and of ansible-runner, which have a terminal and record each line of it.
RECORDED = "awx_display"
# Standard output of these callbacks is lines of text.
FOR_PEOPLE = {RECORDED, "debug", "default", "dense", "diy", "minimal", "oneline", "selective", "unixy", "yaml"}


@dataclass
class Progress:
    """The state of a move by the journal's entries so far.

    Attributes:
        doing: the phase, as it is shown.
        detail: how far it is, empty if unknown.
        done, total: clients disconnected or landed, of those of this wave; total 0 where nothing is counted.
        began: epoch seconds at which the phase began.
        back: whether the move is being restored.
        outcome: of the run, empty until it ends.
    """

    doing: str = "reading the current state"
    detail: str = ""
    done: int = 0
    total: int = 0
    began: float = field(default_factory=time.time)
    back: bool = False
    outcome: str = ""

    def apply(self, entry: Entry, now: float) -> str | None:
        """Apply one entry of the journal; return the line to show, if any.

        Raises:
            ValueError: it is damaged, or of an unknown version.
        """
        event = events.read(entry)
        kind = type(event)
        self.back = self.back or kind is events.Restored
        if self.back and kind in _BACK:
            self._enter(_WAY_BACK, now)
            return _BACK[kind](event)
        if isinstance(event, events.DnsWaiting):
            self.detail = _stale(event)
        elif isinstance(event, events.Progress):
            self._count(event, now)
        elif isinstance(event, events.End):
            self.outcome = event.outcome
        elif kind in _DOING:
            self._enter(_DOING[kind], now)
        return _LINES[kind](event) if kind in _LINES else None

    def _count(self, event: events.Progress, now: float) -> None:
        doing = _WAY_BACK if self.back else _PHASES.get(event.phase, _PHASES["landing"])
        if doing != self.doing:
            self._enter(doing, now)
        self.done, self.total, self.detail = event.done, event.total, _counts(event)

    def _enter(self, doing: str, now: float) -> None:
        self.doing, self.began, self.detail, self.done, self.total = doing, now, "", 0, 0

    def status(self, now: float) -> str:
        """The phase, and how far it is or how long it has taken."""
        return f"{self.doing}: {self.detail}" if self.detail else f"{self.doing}, for {now - self.began:.0f} s"


def _counts(event: events.Progress) -> str:
    parts = [f"{event.done} of {event.total}"]
    if event.phase == "sweep":
        parts.append(f"{event.rate:.0f} per second")
        parts += [f"{event.eta:.0f} s left"] if event.eta is not None else []
    return f"{', '.join(parts)}; {event.landed} landed, {event.stragglers} stragglers"


def _stale(event: events.DnsWaiting) -> str:
    servers: dict[str, float | None] = {}
    for each in event.stale:
        known = servers.get(each["server"])
        seconds = each.get("seconds")
        servers[each["server"]] = seconds if known is None else max(known, seconds or 0)
    shown = [
        f"{server} still answers the old region" + (f" for {seconds:.0f} s" if seconds is not None else "")
        for server, seconds in list(servers.items())[:SERVERS_SHOWN]
    ]
    more = [f"{len(servers) - SERVERS_SHOWN} more"] if len(servers) > SERVERS_SHOWN else []
    return f"{', '.join(shown + more) or 'not proven yet'}; {event.left:.0f} s left at most"


def _plan_line(event: events.Plan) -> str:
    moves = [f"{move.endpoint} {move.source} -> {move.target}" for move in event.moves if move.needed]
    return f"plan: {', '.join(moves) or 'no endpoint moves'}; {many(event.misplaced, 'misplaced client')}"


def _sweep_line(event: events.Sweep) -> str:
    wave = f" (wave {event.wave} of {event.waves})" if event.waves > 1 else ""
    return f"sweep: {many(event.clients, 'client')}{wave}"


def _dns_line(event: events.Dns) -> str:
    given_up = sorted({each["server"] for each in event.stale})
    right = [server for server in event.servers if server not in given_up]
    never = f"; never on {', '.join(given_up)}, and the move continues anyway" if given_up else ""
    return f"DNS: correct on {', '.join(right) or 'no server'}{never}"


def _findings_line(event: events.Preflight) -> str:
    blocking = sum(each["blocking"] and each["check"] not in event.waived for each in event.findings)
    return f"preflight: {many(len(event.findings), 'finding')}, {blocking} blocking"


def _skipped_line(event: events.Skipped) -> str:
    if event.gone:
        return f"skipped: {event.region} is not asked"
    # The rest is what a move that needs the region would have expected.
    reason = event.reason.partition(", expected")[0]
    return f"skipped: {event.region} does not answer" + (f": {reason}" if reason else "")


_PHASES = {"sweep": "disconnecting clients", "landing": "waiting until every client has landed"}
_WAY_BACK = "sending clients back"
_DOING: dict[type, str] = {
    events.Plan: "checking the target",
    events.Switch: "changing the records",
    events.Switched: "waiting until Route 53's servers have the change",
    events.Insync: "waiting until every name server and resolver answers the new region",
    events.Sweep: _PHASES["sweep"],
    events.Landing: "looking for late clients",
    events.Restore: "restoring the records",
    events.Restored: _WAY_BACK,
    events.Interrupted: "stopping",
}
_LINES: dict[type, Callable[[Any], str]] = {
    events.Skipped: _skipped_line,
    events.Plan: _plan_line,
    events.Preflight: _findings_line,
    events.Insync: lambda _: "records: changed and INSYNC",
    events.Dns: _dns_line,
    events.Sweep: _sweep_line,
    events.Landing: lambda event: f"landing: {event.landed} landed, {event.late} late",
    events.Restore: lambda _: "restore: restoring the records",
    events.Restored: lambda _: "restore: the records are restored",
    events.Returned: lambda event: f"restore: {event.back} of {event.told} clients were seen back",
    events.Interrupted: lambda event: f"interrupted: {event.reason}",
}


# Restoring has waves, too.
_BACK: dict[type, Callable[[Any], str]] = {
    events.Sweep: lambda event: f"restore: {many(event.clients, 'client')} to disconnect",
    events.Landing: lambda event: f"restore: {event.landed} of the disconnected clients are back, {event.late} not yet",
}


class Terminal:
    """A progress bar in the last line of a terminal, hidden before anything else is written there."""

    def __init__(self, lock: Any) -> None:
        # Every playbook loads this plugin, few draw: only those load what takes long.
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar
        from rich.table import Column

        # Ansible's own: it is held during every write, also to the stream that the bar is drawn on.
        self.lock = lock
        self._streams = sys.stdout, sys.stderr
        text = Column(no_wrap=True, overflow="ellipsis")
        self._bar = Bar(
            TextColumn("    {task.description}", table_column=Column(no_wrap=True), markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[detail]}", table_column=text, markup=False),
            console=Console(file=sys.stdout, highlight=False),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("", detail="")
        self._shown = False
        self.free = True
        sys.stdout, sys.stderr = (BarHidingStream(stream, self) for stream in self._streams)

    def show(self, progress: Progress, now: float) -> None:
        """Draw the bar, unless the last line has no end yet."""
        with self.lock:
            if not self.free:
                return
            if not self._shown:
                self._bar.start()
                # The cursor stays visible, however this process ends.
                self._bar.console.show_cursor(True)
                self._shown = True
            detail = printable(progress.detail) or f"{now - progress.began:.0f} s"
            self._bar.update(
                self._task, description=progress.doing, completed=progress.done, total=progress.total or None,
                detail=detail,
            )  # fmt: skip
            self._bar.refresh()

    def hide(self) -> None:
        with self.lock:
            if self._shown:
                self._bar.stop()
                self._shown = False

    def close(self) -> None:
        self.hide()
        sys.stdout, sys.stderr = self._streams


class BarHidingStream:
    """A stream to a terminal that hides the bar before anything is written."""

    def __init__(self, stream: TextIO, terminal: Terminal) -> None:
        self._stream = stream
        self._terminal = terminal

    def write(self, text: str) -> int:
        with self._terminal.lock:
            self._terminal.hide()
            self._terminal.free = text.endswith("\n")
            return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Watcher:
    """Follows the journal of the run that begins in a reports folder, or of one that resumes.

    Args:
        reports: the folder.
        show: prints a line.
        terminal: where the bar is drawn; None prints a line every INTERVAL instead.
        run_id: the run that resumes, empty for the one that begins next.
    """

    def __init__(
        self, reports: Path, show: Callable[[str], None], terminal: Terminal | None = None, run_id: str = ""
    ) -> None:
        self._reports = reports
        self._show = show
        self._terminal = terminal
        self._earlier = set() if run_id else self._journals()
        self._journal: Path | None = reports / run_id / "journal.jsonl" if run_id else None
        self._offset = _size(self._journal) if self._journal else 0
        self._over = threading.Event()
        self._progress = Progress()
        self._shown_at = time.monotonic()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Show what is left and end."""
        self._over.set()
        self._thread.join()
        if self._terminal:
            self._terminal.close()

    def interrupted(self, timeout: float) -> None:
        """Wait until the interrupted run has written its report; show its outcome and where the report is."""
        if not self._journal:
            self.stop()
            return
        folder = self._journal.parent
        deadline = time.monotonic() + timeout
        # The summary is written after the journal's end.
        while not (self._progress.outcome and (folder / "summary.json").exists()) and time.monotonic() < deadline:
            time.sleep(POLL)
        self.stop()
        if self._progress.outcome:
            self._print(f"outcome: {self._progress.outcome}")
            self._print(f"report: {folder}")
        else:
            self._print(f"no report after {timeout:.0f} s; the journal is in {folder}: run the same mode again")

    def _journals(self) -> set[Path]:
        return set(self._reports.glob("*/journal.jsonl"))

    def _begun(self) -> Path | None:
        """The journal of the run that this ansible-playbook has begun; another one may begin a run at the same time."""
        journal = min(self._journals() - self._earlier, default=None)
        if journal is None or _started_by(self._reports / ".lock") not in (0, os.getpid()):
            return None
        return journal

    def _follow(self) -> None:
        over = False
        while not over:
            over = self._over.wait(POLL)
            self._journal = self._journal or self._begun()
            if self._journal and not self._read(self._journal):
                return

    def _read(self, journal: Path) -> bool:
        """Show what is new; False if the journal cannot be read."""
        try:
            for entry, offset in new_entries(journal, self._offset):
                self._offset = offset
                self._take(entry)
        except OSError:
            return False
        if self._terminal:
            self._terminal.show(self._progress, time.time())
        elif time.monotonic() - self._shown_at >= INTERVAL:
            self._print(self._progress.status(time.time()))
        return True

    def _take(self, entry: Entry) -> None:
        try:
            line = self._progress.apply(entry, time.time())
        except (TypeError, ValueError):
            # A journal of another version: less is shown.
            return
        if line:
            self._print(line)

    def _print(self, line: str) -> None:
        self._show(f"    {printable(line)}")
        self._shown_at = time.monotonic()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _started_by(lock: Path) -> int:
    """Pid of the ansible-playbook whose run took the lock last, 0 where unknown."""
    try:
        return int(json.loads(lock.read_text(encoding="utf-8"))["started_by"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Watches every task that moves a fleet."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "move_progress"

    def __init__(self) -> None:
        super().__init__()
        self._play: Any = None
        self._watcher: Watcher | None = None
        # On Ctrl-C Ansible calls no further callback.
        atexit.register(self._at_exit, os.getpid())

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._play = play

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        if task.action != MODULE or self._watcher:
            return
        variables = self._play.get_variable_manager().get_vars(play=self._play, host=host, task=task)
        templar = Templar(loader=self._play.get_loader(), variables=variables)
        try:
            reports = Path(str(templar.template(task.args["reports_directory"])))
            run_id = str(templar.template(task.args.get("run_id", "")))
            people = for_people(str(C.DEFAULT_STDOUT_CALLBACK))
            drawn = people and C.DEFAULT_STDOUT_CALLBACK != RECORDED and _drawable(sys.stdout)
            terminal = Terminal(self._display._lock) if drawn else None
            show = partial(self._display.display, stderr=not people)
            self._watcher = Watcher(reports, show, terminal, run_id)
        except (AnsibleError, KeyError):
            # A task that is skipped may lack arguments; one that runs reports that itself.
            return

    def _stop(self, *_: object, **__: object) -> None:
        if self._watcher:
            self._watcher.stop()
            self._watcher = None

    v2_runner_on_ok = v2_runner_on_failed = v2_runner_on_skipped = v2_runner_on_unreachable = _stop
    v2_playbook_on_stats = _stop

    def _at_exit(self, pid: int) -> None:
        if self._watcher and os.getpid() == pid:
            self._watcher.interrupted(REPORT_TIMEOUT)


def for_people(stdout_callback: str) -> bool:
    """Whether a callback prints for people: additional lines would spoil output that a program reads."""
    return stdout_callback.rpartition(".")[2] in FOR_PEOPLE


def _drawable(stream: TextIO) -> bool:
    """Whether a bar can be drawn on a stream."""
    if not stream.isatty():
        return False
    try:
        from rich.console import Console
    except ModuleNotFoundError:
        return False

    console = Console(file=stream)
    return console.is_terminal and not console.is_dumb_terminal
