"""Reads a run's folder: its summary, the steps of its journal, its clients and messages.

A run that was killed has no summary, and its journal may end in the middle of a line. What cannot be read is named in
`notes`, and the rest is shown.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from ..fleet.roster import FILE
from ..fleet.roster_reading import Clients, read_clients
from ..model.errors import many
from ..record import events
from ..record.events import DamagedError, Entry
from ..record.folder import MOST_BYTES
from ..record.journal import MOST_OF_LINE, timestamp
from ..record.summary import KEYS, SUMMARY, Summary
from .messages import MOST_ROWS, Messages

MOST_MARKS = 14

# When an entry was written in epoch seconds, and its event; None of a step that is read from the roster, or not known.
Moment = tuple[float, events.Event | None]
Kind = TypeVar("Kind", bound=events.Event)


@dataclass(frozen=True)
class Event:
    """A step worth drawing, `at` in seconds since the run began."""

    at: float
    text: str
    drawn: bool = True


@dataclass(frozen=True)
class Span:
    """Something that took a while; in seconds since the run began. `end` is None where it did not end."""

    name: str
    start: float
    end: float | None
    text: str = ""


@dataclass
class Run:
    """A run as its page shows it.

    Attributes:
        summary: as in summary.json; for a run that was killed, from its journal and its roster.
        ended: whether the run wrote its end.
        error: the line that it ended with.
        seconds: from its first entry to its latest: the clock may have been set back in between.
        stale: the latest answers of servers that still answered the old target.
        findings: of the checks, each with `kind`: refused, waived or note.
        skipped: `{region: why}`.
        checked: whether the checks were made; restored: whether the records were put back.
        notes: what could not be read, and what is missing.
    """

    summary: dict[str, Any]
    ended: bool
    error: str
    began: float
    seconds: float
    events: list[Event]
    phases: list[Span]
    servers: list[Span]
    waves: list[Span]
    switch: Span | None
    stale: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    skipped: dict[str, str]
    plan: Entry
    start: Entry
    checked: bool
    restored: bool
    clients: Clients
    messages: Messages | None
    notes: list[str]

    @property
    def did_something(self) -> bool:
        """Whether there is anything to draw: a run that changed nothing is words."""
        return bool(self.switch or self.waves)


def numbered(run: Run) -> dict[int, int]:
    """`{index of an event: number}` of those that are drawn; of very many the first and the last."""
    indices = [index for index, event in enumerate(run.events) if event.drawn]
    if len(indices) > MOST_MARKS:
        indices = indices[: MOST_MARKS // 2] + indices[-MOST_MARKS // 2 :]
    return {index: number for number, index in enumerate(indices, 1)}


def colours(run: Run) -> dict[str, int]:
    """`{region: number of its series}`: those that are left first, then those that are entered."""
    moves = run.summary["plan"].values()
    known = [move[key] for key in ("from", "to") for move in moves if move["from"] != move["to"]]
    known += [move["to"] for move in moves]
    timeline = run.messages.timeline if run.messages else []
    known += sorted({region for _, counts in timeline for region in counts})
    return {region: number for number, region in enumerate(dict.fromkeys(known))}


def read(directory: Path) -> Run:
    """Return the content of a run's folder.

    Raises:
        OSError: there is no journal that can be read.
        DamagedError: its plan is damaged; the page would show another move without it.
    """
    notes: list[str] = []
    moments = list(_moments(directory / "journal.jsonl", notes))
    began = moments[0][0] if moments else 0.0
    steps = _Steps([(round(at - began, 3), event) for at, event in moments])
    start, plan, end = steps.first(events.Start), steps.last(events.Plan), steps.last(events.End)
    messages = Messages.read(directory, notes)
    clients = _clients(directory / FILE, began, steps.homes(), notes)
    run = Run(
        summary=_summary(directory, steps, began, clients, notes),
        ended=end is not None,
        error=end.error or "" if end else "",
        began=began,
        seconds=steps.seconds(),
        events=steps.timeline(),
        phases=[],
        servers=steps.servers(),
        waves=steps.waves(),
        switch=steps.switch(),
        stale=steps.stale(),
        findings=steps.findings(),
        skipped={each.region: each.reason for _, each in steps.all(events.Skipped)},
        plan=plan.details() if plan else {},
        start=start.details() if start else {},
        checked=steps.first(events.Preflight) is not None,
        restored=steps.first(events.Restored) is not None,
        clients=clients,
        messages=messages,
        notes=notes,
    )
    run.phases = _phases(run.summary["phases"], steps)
    return run


def moment(text: str) -> float:
    """Epoch seconds of an ISO 8601 time."""
    return datetime.fromisoformat(text).timestamp()


def _moments(path: Path, notes: list[str]) -> Iterator[Moment]:
    """The entries of a journal except those of single clients; lines that are not entries are left out and counted.

    Raises:
        OSError, DamagedError: see `read`.
    """
    damaged = cut = 0
    many: re.Match[bytes] | None = None
    with path.open("rb") as stream:
        while line := stream.readline(MOST_OF_LINE):
            if found := events.EVERY_CLIENT.match(line):
                many = found
                continue
            if not line.endswith(b"\n"):
                cut = 1
                continue
            try:
                yield _moment(line)
            except (ValueError, RecursionError, TypeError, KeyError, OverflowError) as error:
                if isinstance(error, DamagedError) and error.step == events.Plan.step:
                    raise
                damaged += 1
    if many:
        # In a run that was killed they may be the last entries.
        with suppress(ValueError, OverflowError):
            yield moment(many[1].decode()), None
    if cut:
        notes.append("The journal's last line was cut off: the run was killed while it wrote it.")
    if damaged:
        notes.append(f"{damaged} lines of the journal are damaged and left out.")


def _moment(line: bytes) -> Moment:
    found = json.loads(line)
    if not isinstance(found["step"], str):
        raise TypeError
    return moment(found["at"]), events.read(found)


class _Steps:
    """A journal's events, each with its seconds since the run began, and what the page shows of them."""

    def __init__(self, steps: list[Moment]) -> None:
        self._steps = steps

    def all(self, kind: type[Kind]) -> list[tuple[float, Kind]]:
        return [(at, event) for at, event in self._steps if isinstance(event, kind)]

    def first(self, kind: type[Kind]) -> Kind | None:
        return next((event for _, event in self.all(kind)), None)

    def last(self, kind: type[Kind]) -> Kind | None:
        return next((event for _, event in reversed(self.all(kind))), None)

    def at_first(self, kind: type[events.Event]) -> float | None:
        return next((at for at, _ in self.all(kind)), None)

    def at_last(self, kind: type[events.Event]) -> float | None:
        return next((at for at, _ in reversed(self.all(kind))), None)

    def seconds(self) -> float:
        return max((at for at, _ in self._steps), default=0.0)

    def timeline(self) -> list[Event]:
        found, counted, back = [], set(), False
        for at, event in self._steps:
            kind = type(event)
            back = back or kind is events.Restored
            if back and kind in _BACK:
                found.append(Event(at, _BACK[kind].format_map(vars(event))))
            elif kind in _COUNTED:
                if kind not in counted:
                    counted.add(kind)
                    found.append(Event(at, _COUNTED[kind].format(self._clients_of(kind))))
            elif text := _text(event):
                found.append(Event(at, text, kind not in _PREPARING))
        return found

    def _clients_of(self, kind: type) -> int:
        found = [event for _, event in self._steps if type(event) is kind]
        return sum(len(event.clients) if isinstance(event, events.SweepAgain) else 1 for event in found)

    def switch(self) -> Span | None:
        """From sending the batch until all of Route 53's servers had it."""
        at = self.at_first(events.Switch)
        if at is None:
            return None
        end = self.at_last(events.Insync)
        return Span("Route 53", at, end if end is not None else self.at_last(events.Switched))

    def servers(self) -> list[Span]:
        """Each DNS server, from the switch until it gave the new answer."""
        starts = map(self.at_first, (events.Switched, events.Preflight, events.Start))
        start = next((at for at in starts if at is not None), 0.0)
        settled = {event.server: (at, event) for at, event in self.all(events.DnsSettled)}
        late = {each["server"] for each in self.stale()}
        if not self.last(events.Dns):
            late -= set(settled)
        found = [
            Span(name, start, end, "resolver" if event.resolver else "name server")
            for name, (end, event) in settled.items()
            if name not in late
        ]
        return found + [Span(name, start, None, "stale") for name in sorted(late)]

    def stale(self) -> list[Entry]:
        """The latest answers of stale servers, at the end of the wait or during it."""
        latest = self.last(events.Dns) or self.last(events.DnsWaiting)
        return latest.stale if latest else []

    def waves(self) -> list[Span]:
        back = next((index for index, (_, event) in enumerate(self._steps) if isinstance(event, events.Restored)), None)
        there, again = _Steps(self._steps[:back]), _Steps([] if back is None else self._steps[back:])
        return [*there._waves("wave {}"), *again._waves("rollback")]

    def _waves(self, name: str) -> list[Span]:
        ends = {event.wave: (at, event) for at, event in self.all(events.Landing)}
        found = []
        for start, event in self.all(events.Sweep):
            end, landing = ends.get(event.wave, (None, None))
            text = many(event.clients, "client")
            text += f", {landing.landed} landed, {landing.late} late" if landing else ", not ended"
            found.append(Span(name.format(event.wave), start, end, text))
        return found

    def findings(self) -> list[Entry]:
        checks = self.last(events.Preflight) or events.Preflight()
        found = [dict(each) for each in checks.findings]
        for each in found:
            each["kind"] = "note"
            if each["blocking"]:
                each["kind"] = "waived" if each["check"] in checks.waived else "refused"
        order = ("refused", "waived", "note")
        return sorted(found, key=lambda each: order.index(each["kind"]))

    def phases(self) -> list[Entry]:
        """The phases of a run that was killed, by when its steps came; the last lasted until the last entry."""
        found: list[Entry] = []
        before = 0.0
        for name, kinds in _PHASES.items():
            ends = [at for kind in kinds if (at := self.at_last(kind)) is not None]
            if ends and ends[-1] >= before:
                found.append({"name": name, "seconds": round(ends[-1] - before, 3)})
                before = ends[-1]
        if found and (rest := self._steps[-1][0] - before) > 0:
            found[-1]["seconds"] = round(found[-1]["seconds"] + rest, 3)
        return found

    def homes(self) -> dict[str, str]:
        """Where the records point in the end: `{endpoint: region}`, as far as the run knew or changed them."""
        end, plan = self.last(events.End), self.first(events.Plan)
        if end and end.records is not None:
            return end.records
        # If it was killed while it changed them, it is unknown whether they are changed.
        there = self.first(events.Switch) and not self.first(events.Restore) and not (end and end.outcome == "refused")
        return {move.endpoint: move.target if there else move.source for move in (plan.moves if plan else ())}

    def starts(self) -> list[float]:
        return [at for at, _ in self.all(events.Start)]


# Keys that summaries of an earlier release do not have.
_LATER = {"by"}
_PHASES: dict[str, tuple[type[events.Event], ...]] = {
    "plan": (events.Plan,),
    "preflight": (events.Preflight,),
    "switch": (events.Switch, events.Switched, events.Insync),
    "dns": (events.DnsWaiting, events.DnsSettled, events.Dns),
    "sweep": (events.Sweep, events.SweepAgain, events.Landing),
    "restore": (events.Restore, events.Restored, events.Returned),
}
_COUNTED: dict[type, str] = {
    events.SweepAgain: "Disconnected again, because they went back or stayed: {}",
    events.DeleteConnectionFailed: "AWS did not disconnect: {}",
}
# Restoring has waves, too.
_BACK: dict[type, str] = {
    events.Sweep: "Rollback; clients to disconnect: {clients}",
    events.Landing: "Rollback; of the disconnected clients {landed} are back, {late} are not yet",
}
_TEXTS: dict[type, str] = {
    events.Plan: "Plan made; misplaced clients: {misplaced}",
    events.Switch: "Records sent to Route 53, in one batch",
    events.Switched: "Records switched: Route 53 accepted the batch",
    events.Insync: "INSYNC: all of Route 53's servers have the records",
    events.Paused: "Paused while devices are asked about DNS",
    events.Sweep: "Wave {wave} of {waves} begins; clients to disconnect: {clients}",
    events.Landing: "Wave {wave} ends: {landed} landed, {late} late",
    events.Skipped: "{region} is skipped: its API does not answer",
    events.Restore: "Rolling back: restoring the records",
    events.Restored: "Records restored",
    events.Returned: "Seen back: {back} of {told} clients that had been disconnected",
    events.Interrupted: "Stopped: {reason}",
    events.Unforeseen: "Unexpected error: {error}",
}


def _text(event: events.Event | None) -> str:
    """The text of an event on the page; empty if it is not shown."""
    if isinstance(event, events.Start):
        return "Resumed: devices have been asked" if event.goes_on else ""
    if isinstance(event, events.Preflight):
        return f"Checks made: {many(len(event.findings), 'finding')}"
    if isinstance(event, events.Dns):
        stale = {each["server"] for each in event.stale}
        result = f"{many(len(stale), 'server')} given up" if stale else "every server answers the new region"
        return f"DNS gate passed: {result}"
    if isinstance(event, events.End):
        return f"End: {event.outcome.replace('_', ' ')}"
    text = _TEXTS.get(type(event), "").format_map(vars(event)) if event else ""
    if isinstance(event, events.Landing) and event.absent:
        return f"{text}; {event.absent} were gone before they were disconnected"
    return text


_PREPARING = {events.Plan, events.Preflight, events.Switch}


def _summary(directory: Path, steps: _Steps, began: float, clients: Clients, notes: list[str]) -> Entry:
    start, plan, end = steps.first(events.Start) or events.Start(), steps.last(events.Plan), steps.last(events.End)
    if start.version != events.VERSION:
        notes.append(
            f"The journal is of another version ({start.version}): what this release does not know is left out."
        )
    try:
        with (directory / SUMMARY).open("rb") as stream:
            found: Entry = json.loads(stream.read(MOST_BYTES))
        if not set(KEYS) - _LATER <= set(found) or not end:
            raise ValueError
        return found
    except (OSError, ValueError, TypeError, RecursionError):
        if not end:
            notes.append("The run was killed, or is still running: the figures come from its journal and roster.")
    return {
        "run_id": start.run_id or directory.name, "mode": start.mode, "outcome": end.outcome if end else "killed",
        "started_at": timestamp(began) if steps.starts() else None, "finished_at": None,
        "plan": plan.plan if plan else {}, "phases": steps.phases(), "clients": clients.counts,
        "sweep": {"calls": clients.calls, "rate": None, "throttled": None, "passes": None},
        "messages": None, "gap_seconds": None, "by": start.by,
    }  # fmt: skip


def _phases(found: list[dict[str, Any]], steps: _Steps) -> list[Span]:
    """Phases one after the other; a run that paused began again with another `plan`."""
    starts, spans, at = iter(steps.starts()), [], 0.0
    for phase in found:
        if phase["name"] == "plan":
            at = max(at, next(starts, at))
        spans.append(Span(phase["name"], round(at, 3), round(at + phase["seconds"], 3)))
        at += phase["seconds"]
    return spans


def _clients(path: Path, began: float, homes: dict[str, str], notes: list[str]) -> Clients:
    if not path.exists():
        notes.append("There is no roster (clients.sqlite): the run ended before it looked for clients.")
        return Clients(counts=Summary("", "").clients)
    try:
        return read_clients(path, began, homes, MOST_ROWS)
    except sqlite3.Error as error:
        notes.append(f"The roster (clients.sqlite) cannot be read: {error}.")
        return Clients()
