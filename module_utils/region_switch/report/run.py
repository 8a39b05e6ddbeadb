"""Reads a run's folder: its summary, the steps of its journal, its clients and messages.

A run that was killed has no summary, and its journal may end in the middle of a line. What cannot be read is named in
`notes`, and the rest is shown.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..fleet.roster_reading import Clients, read_clients
from ..record.folder import MOST_BYTES
from ..record.journal import MOST_OF_LINE, VERSION
from ..record.summary import SUMMARY, Summary
from .messages import MOST_ROWS, Messages

# What comes once per client or by the clock is read from the roster, if at all.
_MANY = re.compile(rb'\{"at": "([^"]{1,40})", "step": "(?:delete_connection|landed|progress)"')
MOST_MARKS = 14

Entry = dict[str, Any]


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
        summary: as in summary.json; of a run that was killed what its journal and its roster say.
        ended: whether the run wrote its end.
        error: the line that it ended with.
        seconds: from its first entry to its latest: the clock may have been set back in between.
        stale: the last that was said of servers which still answered the old target.
        findings: what spoke against the move, each with `kind`: refused, waived or note.
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
    """Return what a run's folder tells.

    Raises:
        OSError: there is no journal that can be read.
    """
    notes: list[str] = []
    entries = list(_entries(directory / "journal.jsonl", notes))
    times = [moment(entry["at"]) for entry in entries]
    began = times[0] if times else 0.0
    steps = _Steps(entries, began)
    messages = Messages.read(directory, notes)
    clients = _clients(directory / "clients.sqlite", began, steps.homes(), notes)
    end = steps.last("end")
    run = Run(
        summary=_summary(directory, steps, clients, notes),
        ended=bool(end),
        error=str(end.get("error") or ""),
        began=began,
        seconds=round(max(times, default=0.0) - began, 3),
        events=steps.events(),
        phases=[],
        servers=steps.servers(),
        waves=steps.waves(),
        switch=steps.switch(),
        stale=steps.stale(),
        findings=steps.findings(),
        skipped={str(each.get("region")): str(each.get("reason", "")) for each in steps.all("skipped")},
        plan=steps.last("plan"),
        start=steps.first("start"),
        checked=bool(steps.first("preflight")),
        restored=bool(steps.first("restored")),
        clients=clients,
        messages=messages,
        notes=notes,
    )
    run.phases = _phases(run.summary["phases"], steps)
    return run


def moment(text: str) -> float:
    """Epoch seconds of an ISO 8601 time."""
    return datetime.fromisoformat(text).timestamp()


def _entries(path: Path, notes: list[str]) -> Iterator[Entry]:
    """The entries of a journal but for those of single clients; what is no entry is passed over and counted."""
    damaged = cut = 0
    many: re.Match[bytes] | None = None
    with path.open("rb") as stream:
        while line := stream.readline(MOST_OF_LINE):
            if found := _MANY.match(line):
                many = found
                continue
            if not line.endswith(b"\n"):
                cut = 1
            elif entry := _entry(line):
                yield entry
            else:
                damaged += 1
    if many and (entry := _entry(b'{"at": "%b", "step": "last"}' % many[1])):
        # Of a run that was killed they are the last that it did.
        yield entry
    if cut:
        notes.append("The journal's last line was cut off: the run was killed while it wrote it.")
    if damaged:
        notes.append(f"{damaged} lines of the journal are damaged and left out.")


def _entry(line: bytes) -> Entry | None:
    try:
        found = json.loads(line)
        moment(found["at"])
    except (ValueError, RecursionError, TypeError, KeyError, OverflowError):
        return None
    return found if isinstance(found.get("step"), str) else None


class _Steps:
    """A journal's entries, asked for what they add up to."""

    def __init__(self, entries: list[Entry], began: float) -> None:
        self._entries = entries
        self._began = began

    def all(self, step: str) -> list[Entry]:
        return [entry for entry in self._entries if entry["step"] == step]

    def first(self, step: str) -> Entry:
        return next(iter(self.all(step)), {})

    def last(self, step: str) -> Entry:
        return next(reversed(self.all(step)), {})

    def at(self, entry: Entry) -> float:
        return round(moment(entry["at"]) - self._began, 3)

    def at_last(self, step: str) -> float | None:
        entry = self.last(step)
        return self.at(entry) if entry else None

    def events(self) -> list[Event]:
        found, counted, back = [], set(), False
        for entry in self._entries:
            step = entry["step"]
            back = back or step == "restored"
            if back and step in _BACK:
                found.append(Event(self.at(entry), _BACK[step].format_map(_Blank(entry))))
            elif step in _COUNTED:
                if step not in counted:
                    counted.add(step)
                    found.append(Event(self.at(entry), _COUNTED[step].format(self._clients_of(step))))
            elif text := _text(entry):
                found.append(Event(self.at(entry), text, step not in _PREPARING))
        return found

    def _clients_of(self, step: str) -> int:
        return sum(len(entry.get("clients") or [0]) for entry in self.all(step))

    def switch(self) -> Span | None:
        """From sending the batch until all of Route 53's servers had it."""
        entry = self.first("switch")
        if not entry:
            return None
        end = self.at_last("insync")
        return Span("Route 53", self.at(entry), end if end is not None else self.at_last("switched"))

    def servers(self) -> list[Span]:
        """Each DNS server from the switch until it was right."""
        switch = self.first("switched") or self.first("preflight") or self.first("start")
        start = self.at(switch) if switch else 0.0
        ends = {_name(each, "server"): self.at(each) for each in self.all("dns_settled")}
        kinds = {_name(each, "server"): bool(each.get("resolver")) for each in self.all("dns_settled")}
        late = {_name(each, "server") for each in self.stale()}
        if not self.last("dns"):
            late -= set(ends)
        found = [
            Span(name, start, end, "resolver" if kinds[name] else "name server")
            for name, end in ends.items()
            if name not in late
        ]
        return found + [Span(name, start, None, "stale") for name in sorted(late)]

    def stale(self) -> list[dict[str, Any]]:
        """What was last said of stale servers, in the end or while they were waited for."""
        said = self.last("dns") or self.last("dns_waiting")
        return [each for each in said.get("stale") or [] if isinstance(each, dict)]

    def waves(self) -> list[Span]:
        back = self._entries.index(entry) if (entry := self.first("restored")) else len(self._entries)
        there, again = self._entries[:back], self._entries[back:]
        return [*self._waves(there, "wave {}"), *self._waves(again, "rollback")]

    def _waves(self, entries: list[Entry], name: str) -> list[Span]:
        ends = {entry.get("wave"): entry for entry in entries if entry["step"] == "landing"}
        found = []
        for entry in entries:
            if entry["step"] != "sweep":
                continue
            end = ends.get(entry.get("wave"), {})
            text = f"{_many(entry.get('clients'), 'client')}"
            text += f", {end.get('landed')} landed, {end.get('late')} late" if end else ", not ended"
            span = Span(name.format(entry.get("wave")), self.at(entry), self.at(end) if end else None, text)
            found.append(span)
        return found

    def findings(self) -> list[dict[str, Any]]:
        entry = self.last("preflight")
        waived = entry.get("waived") or []
        found = [dict(each) for each in entry.get("findings") or [] if isinstance(each, dict)]
        for each in found:
            each["kind"] = "note"
            if each.get("blocking"):
                each["kind"] = "waived" if each.get("check") in waived else "refused"
        order = ("refused", "waived", "note")
        return sorted(found, key=lambda each: order.index(each["kind"]))

    def phases(self) -> list[dict[str, Any]]:
        """The phases of a run that was killed, by when its steps came; the last lasted until the last entry."""
        found: list[dict[str, Any]] = []
        before = self.at(self._entries[0]) if self._entries else 0.0
        for name, steps in _PHASES.items():
            ends = [at for step in steps if (at := self.at_last(step)) is not None]
            if ends and ends[-1] >= before:
                found.append({"name": name, "seconds": round(ends[-1] - before, 3)})
                before = ends[-1]
        if found and (rest := self.at(self._entries[-1]) - before) > 0:
            found[-1]["seconds"] = round(found[-1]["seconds"] + rest, 3)
        return found

    def homes(self) -> dict[str, str]:
        """Where the records point in the end: `{endpoint: region}`, as far as the run knew or did it."""
        known = self.last("end").get("records")
        if isinstance(known, dict):
            return {str(endpoint): str(region) for endpoint, region in known.items()}
        plan = self.first("plan").get("plan")
        if not isinstance(plan, dict):
            return {}
        # Where it was killed while it changed them, nobody can tell whether they are changed.
        there = (
            bool(self.first("switch")) and not self.first("restore") and self.last("end").get("outcome") != "refused"
        )
        return {endpoint: move["to" if there else "from"] for endpoint, move in plan.items()}

    def starts(self) -> list[float]:
        return [self.at(entry) for entry in self.all("start")]


# What summaries of an earlier release do not have.
_LATER = {"by"}
_PHASES = {
    "plan": ("plan",),
    "preflight": ("preflight",),
    "switch": ("switch", "switched", "insync"),
    "dns": ("dns_waiting", "dns_settled", "dns"),
    "sweep": ("sweep", "sweep_again", "landing"),
    "restore": ("restore", "restored", "returned"),
}
_COUNTED = {
    "sweep_again": "Disconnected again, because they went back or stayed: {}",
    "delete_connection_failed": "AWS did not disconnect: {}",
}
# A rollback has waves, too.
_BACK = {
    "sweep": "Rollback; clients to disconnect: {clients}",
    "landing": "Rollback; of the disconnected clients {landed} are back, {late} are not yet",
}
_TEXTS = {
    "plan": "Plan made; misplaced clients: {misplaced}",
    "switch": "Records sent to Route 53, in one batch",
    "switched": "Records switched: Route 53 accepted the batch",
    "insync": "INSYNC: all of Route 53's servers have the records",
    "paused": "Paused while devices are asked about DNS",
    "sweep": "Wave {wave} of {waves} begins; clients to disconnect: {clients}",
    "landing": "Wave {wave} ends: {landed} landed, {late} late",
    "skipped": "{region} is skipped: its API does not answer",
    "restore": "Rolling back: restoring the records",
    "restored": "Records restored",
    "returned": "Seen back: {back} of {told} clients that had been disconnected",
    "interrupted": "Stopped: {reason}",
    "unforeseen": "Unexpected error: {error}",
}


def _text(entry: Entry) -> str:
    """What an event is called; empty where it is none."""
    step = entry["step"]
    if step == "start":
        return "Resumed: devices have been asked" if entry.get("goes_on") else ""
    if step == "preflight":
        return f"Checks made: {_many(len(entry.get('findings') or []), 'finding')}"
    if step == "dns":
        stale = {_name(each, "server") for each in entry.get("stale") or []}
        result = f"{_many(len(stale), 'server')} given up" if stale else "every server answers the new region"
        return f"DNS gate passed: {result}"
    if step == "landing" and entry.get("absent"):
        return f"{_TEXTS[step].format_map(_Blank(entry))}; {entry['absent']} were gone before they were disconnected"
    if step == "end":
        return f"End: {_OUTCOME_WORDS.get(str(entry.get('outcome')), entry.get('outcome'))}"
    return _TEXTS[step].format_map(_Blank(entry)) if step in _TEXTS else ""


_PREPARING = {"plan", "preflight", "switch"}
_OUTCOME_WORDS = {"rolled_back": "rolled back"}


class _Blank(dict[str, Any]):
    """An entry in which what is missing is a question mark."""

    def __missing__(self, key: str) -> str:
        return "?"


def _name(each: Any, key: str) -> str:
    return str(each.get(key)) if isinstance(each, dict) else str(each)


def _many(count: object, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _summary(directory: Path, steps: _Steps, clients: Clients, notes: list[str]) -> dict[str, Any]:
    start, plan = steps.first("start"), steps.last("plan")
    version = start.get("version", VERSION)
    if version != VERSION:
        notes.append(f"The journal is of another version ({version}): what this release does not know is left out.")
    try:
        with (directory / SUMMARY).open("rb") as stream:
            found: dict[str, Any] = json.loads(stream.read(MOST_BYTES))
        if not set(Summary("", "").as_dict()) - _LATER <= set(found) or not steps.last("end"):
            raise ValueError
        return found
    except (OSError, ValueError, TypeError, RecursionError):
        outcome = str(steps.last("end").get("outcome") or "killed")
        if outcome == "killed":
            notes.append("The run was killed, or is still running: the figures come from its journal and roster.")
    return {
        "run_id": start.get("run_id", directory.name), "mode": start.get("mode", "?"), "outcome": outcome,
        "started_at": start.get("at"), "finished_at": None, "plan": plan.get("plan") or {},
        "phases": steps.phases(),
        "clients": clients.counts, "sweep": {"calls": clients.calls, "rate": None, "throttled": None, "passes": None},
        "messages": None, "gap_seconds": None, "by": start.get("by"),
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
        counts = ("total", "misplaced", "landed", "stragglers", "bounced", "in_both_regions")
        return Clients(counts=dict.fromkeys(counts, 0))
    try:
        return read_clients(path, began, homes, MOST_ROWS)
    except sqlite3.Error as error:
        notes.append(f"The roster (clients.sqlite) cannot be read: {error}.")
        return Clients()
