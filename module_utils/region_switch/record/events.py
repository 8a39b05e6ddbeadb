"""The steps of a run's journal, one class each, which writes and reads itself.

An entry of `journal.jsonl` is `{"at": ISO 8601, "step": name, …}`, where `…` are the fields of the event in order. What
an older release did not write has its default then, and what a newer one adds is ignored. docs/runbook.md explains
each step to operators.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Self, Union, dataclass_transform, get_args, get_origin, get_type_hints

from ..model.plan import Move

# Of journals: a release whose journals older ones would misunderstand has another one.
VERSION = 1

Entry = dict[str, Any]
# Keys that each of them has, and of what type they are.
Route = Annotated[dict[str, str], {"from": str, "to": str}]
StaleServer = Annotated[Entry, {"server": str}]
FindingEntry = Annotated[Entry, {"check": str, "blocking": bool}]


class DamagedError(ValueError):
    """An entry that lacks a field of its step, or has a value of another type.

    Attributes:
        step: its name.
    """

    def __init__(self, step: str, key: str) -> None:
        super().__init__(f"no {key} in the step {step}")
        self.step = step


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Event:
    """A step of a run. Fields without a default are in every journal; numbers without a unit are seconds.

    Attributes:
        every_client: whether the step comes once for each client of a move: a journal may have a million of them.
        omitted: fields that are not written where they have their defaults.
    """

    step: ClassVar[str]
    every_client: ClassVar[bool]
    omitted: ClassVar[tuple[str, ...]]
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init_subclass__(cls, step: str, every_client: bool = False, omitted: tuple[str, ...] = ()) -> None:
        cls.step, cls.every_client, cls.omitted = step, every_client, omitted
        dataclass(frozen=True, kw_only=True)(cls)

    def details(self) -> Entry:
        """The fields of the entry, without its time and its step; the inverse of `read`."""
        entry = dict(vars(self))
        for key in self.omitted:
            if entry[key] == getattr(type(self), key):
                del entry[key]
        return entry

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Self:
        """Return the event of an entry of this step.

        Raises:
            DamagedError: the entry lacks a field, or has a value of another type.
        """
        hints = _hints(cls.step)
        for each in fields(cls):
            missing = each.default is MISSING and each.default_factory is MISSING and each.name not in entry
            if missing or (each.name in entry and not _fits(entry[each.name], hints[each.name])):
                raise DamagedError(cls.step, each.name)
        return cls(**{name: entry[name] for name in hints if name in entry})


@cache
def _hints(step: str) -> Entry:
    found = get_type_hints(STEPS[step], include_extras=True)
    return {each.name: found[each.name] for each in fields(STEPS[step])}


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value that JSON had is of a type."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin is Annotated:
        base, keys = inner
        return _fits(value, base) and all(key in value and _fits(value[key], each) for key, each in keys.items())
    if origin in (Union, UnionType):
        return any(_fits(value, each) for each in inner)
    if origin is list:
        return isinstance(value, list) and all(_fits(each, inner[0]) for each in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(each, inner[1]) for each in value.values())
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


class Start(Event, step="start", omitted=("number", "rollback", "by", "environment", "options", "goes_on")):
    """A run begins, or resumes after its pause: then it has only `desired` and `goes_on`. Once each.

    Attributes:
        version: of the journal, see VERSION; it may be anything.
        desired: `{endpoint: region}`.
        number: of the run among those of its folder, from 1 on.
        by: who started the run, as in summary.json.
        environment: `{program: version}`.
        options: those that matter, by name.
        goes_on: whether it resumes.
    """

    version: Any = VERSION
    run_id: str = ""
    mode: str = "?"
    desired: dict[str, str] = field(default_factory=dict)
    number: int | None = None
    rollback: bool | None = None
    by: Entry | None = None
    environment: Entry | None = None
    options: Entry | None = None
    goes_on: bool = False


class Skipped(Event, step="skipped", omitted=("gone",)):
    """A region whose API does not answer, and why it is considered dead. Once per such region.

    Attributes:
        gone: whether the operator declared it dead.
    """

    region: str
    reason: str = ""
    gone: bool | None = None


class Plan(Event, step="plan", omitted=("unmapped", "seconds", "pace", "targets", "token")):
    """What the run found and will do. Once.

    Attributes:
        plan: `{endpoint: {"from": region, "to": region}}`; equal regions where nothing moves.
        misplaced: clients that are in another region than the mode's.
        unmapped: clients of no endpoint, which are not moved.
        seconds: the least that it takes to disconnect everyone.
        pace: `{"leaving": {region: clients a second}, "arriving": the same}`.
        targets: `{region: host name}`.
        token: what an approval names.
    """

    plan: dict[str, Route]
    misplaced: int = 0
    unmapped: int | None = None
    seconds: float | None = None
    pace: Entry | None = None
    targets: dict[str, str] | None = None
    token: str | None = None

    @property
    def moves(self) -> list[Move]:
        """One for each endpoint, also those that stay where they are."""
        return [Move(endpoint, route["from"], route["to"]) for endpoint, route in self.plan.items()]


class Preflight(Event, step="preflight"):
    """Every check has been made. Once.

    Attributes:
        findings: see `model.findings.Finding`.
        waived: names of the checks whose findings do not block.
    """

    findings: list[FindingEntry] = field(default_factory=list)
    waived: list[str] = field(default_factory=list)


class Approved(Event, step="approved"):
    """The plan is the one that was approved. Once, where an approval is required.

    Attributes:
        differences: lines that describe how the clients differ from those of the token.
        planned_by: who made the plan, None if unknown.
    """

    token: str
    differences: list[str] = field(default_factory=list)
    planned_by: Entry | None = None


class Switch(Event, step="switch", omitted=("before",)):
    """The records are about to be changed. Once.

    Attributes:
        records: `{endpoint: host name}` as they will be.
        before: `{endpoint: record set as Route 53 had it}`.
    """

    records: Entry = field(default_factory=dict)
    before: Entry | None = None


class Switched(Event, step="switched"):
    """Route 53 has accepted the change; `change_id` is None where that was proved by reading again. Once."""

    change_id: str | None = None


class Insync(Event, step="insync"):
    """All of Route 53's name servers have the change. Once, unless its ID is not known."""

    change_id: str | None = None


class DnsWaiting(Event, step="dns_waiting"):
    """The run waits for DNS. Each second.

    Attributes:
        stale: see `dns.gate.Stale`.
        left: seconds until the run gives up.
    """

    stale: list[StaleServer]
    left: float


class DnsSettled(Event, step="dns_settled"):
    """A DNS server gives the new answer. Once per server."""

    server: str
    resolver: bool = False


class Dns(Event, step="dns"):
    """The wait for DNS has ended. Once.

    Attributes:
        servers: those that give the new answer.
        stale: answers of those that were given up, see `dns.gate.Stale`.
    """

    servers: list[str] = field(default_factory=list)
    stale: list[StaleServer] = field(default_factory=list)


class Paused(Event, step="paused"):
    """The run waits after its switch, while devices are asked about DNS. Once."""


class Sweep(Event, step="sweep"):
    """A wave begins, also one of a rollback. Once a wave.

    Attributes:
        wave: its number, from 1 on.
        waves: how many there are.
        clients: how many are in it.
    """

    wave: int = 1
    waves: int = 1
    clients: int


class DeleteConnection(Event, step="delete_connection", every_client=True):
    """A client was disconnected. Once per client and time that it is.

    Attributes:
        region: the one that it leaves.
        found: whether AWS knew the connection.
    """

    client_id: str
    region: str
    found: bool


class DeleteConnectionFailed(Event, step="delete_connection_failed"):
    """AWS did not disconnect a client. Once per such client and error."""

    client_id: str
    error: str


class Landed(Event, step="landed", every_client=True):
    """A client was seen where it belongs. Once per client.

    Attributes:
        region: the one that it went to.
        seconds: since it was disconnected, None if unknown.
    """

    client_id: str
    region: str
    seconds: float | None


class Progress(Event, step="progress"):
    """How far a wave is. Each second.

    Attributes:
        phase: "sweep" while clients are disconnected, "landing" while the run waits for the last of them.
        done, total: clients disconnected (sweep) or landed (landing), of those of the move.
        rate: clients disconnected per second.
        landed, in_flight: clients that have landed, and that have not yet.
        stragglers: clients that were disconnected and have not landed.
        eta: seconds until everyone is disconnected, None if unknown.
    """

    phase: str
    done: int
    total: int
    rate: float = 0.0
    landed: int
    in_flight: int = 0
    eta: float | None = None
    stragglers: int


class SweepAgain(Event, step="sweep_again"):
    """Clients bounced, or stayed. Once per such client and time.

    Attributes:
        clients: client IDs.
        seconds: until they are disconnected again.
    """

    clients: list[str]
    seconds: float = 0.0


class Landing(Event, step="landing", omitted=("absent",)):
    """A wave ends. Once a wave.

    Attributes:
        landed, late: clients of the wave that have landed, and have not.
        absent: late clients that were gone before they were disconnected.
    """

    wave: int = 1
    landed: int
    late: int
    absent: int = 0


class Restore(Event, step="restore"):
    """The records are about to be restored, to `{endpoint: host name}`. Once, if a move fails after its switch."""

    records: Entry = field(default_factory=dict)


class Restored(Event, step="restored"):
    """The records are restored; `change_id` as in `Switched`. Once, after `Restore`."""

    change_id: str | None = None


class Returned(Event, step="returned"):
    """The wait for the clients has ended. Once, after `Restored`.

    Attributes:
        told, back: clients that had been disconnected, and how many of them were seen back.
    """

    told: int
    back: int


class Interrupted(Event, step="interrupted"):
    """The run was asked to stop: by a signal, or the end of its ansible-playbook. Once."""

    reason: str


class Unforeseen(Event, step="unforeseen"):
    """An unexpected error. Once.

    Attributes:
        frames: `file:line function` of the program, the outermost first.
    """

    error: str
    frames: list[str] = field(default_factory=list)


class End(Event, step="end", omitted=("records",)):
    """The run has ended. Once, and last.

    Attributes:
        outcome, error: as in summary.json, and the line that it ended with.
        records: `{endpoint: region}` where the records point, as far as the run knows; empty: at none of its regions.
    """

    outcome: str
    error: str | None = None
    records: dict[str, str] | None = None


STEPS: dict[str, type[Event]] = {each.step: each for each in Event.__subclasses__()}
# The beginning of the lines of single clients, with the time as its group: readers that do not need them skip them.
EVERY_CLIENT = re.compile(
    rb'\{"at": "([^"]{1,40})", "step": "(?:%b)"'
    % b"|".join(step.encode() for step, kind in STEPS.items() if kind.every_client)
)


def read(entry: Mapping[str, Any]) -> Event | None:
    """Return the event of an entry, None where this release does not know the step.

    Raises:
        DamagedError: the entry is not what a run writes of its step.
    """
    kind = STEPS.get(str(entry.get("step")))
    return kind.read(entry) if kind else None


def new_entries(journal: Path, offset: int) -> Iterator[tuple[Entry, int]]:
    """Yield the entries after an offset, each with the offset after it; a line without an end is left for later.

    Lines of single clients, and lines that are not entries, yield an empty one.

    Raises:
        OSError: the journal cannot be read.
    """
    with journal.open("rb") as stream:
        stream.seek(offset)
        for line in stream:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            yield _parsed(line), offset


def _parsed(line: bytes) -> Entry:
    if EVERY_CLIENT.match(line):
        return {}
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
