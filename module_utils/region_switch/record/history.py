"""What earlier runs did, read from their journals. Writes nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from ..model.errors import RefusedError, SwitchError
from . import events, folder
from .events import DamagedError, Entry, Event
from .folder import UntrustedError
from .journal import lines

JOURNAL = "journal.jsonl"

Kind = TypeVar("Kind", bound=Event)


class JournalError(SwitchError):
    """A journal that cannot be used: damaged, of a newer version, or writable for other users."""


@dataclass(frozen=True)
class _Earlier:
    """A run that has begun.

    Attributes:
        start: of its journal; has only defaults where that cannot be read.
        began: epoch seconds; if not in its journal, by its folder's name, or its folder's time.
        damage: why it cannot be read, None where it can.
    """

    folder: Path
    start: events.Start
    began: float
    damage: JournalError | None = None

    @property
    def number(self) -> int:
        """Runs of a folder are numbered, independently of the clock; 0 in a release that did not number them."""
        return self.start.number or 0


def entries(path: Path, everything: bool = True) -> Iterator[Entry]:
    """Yield the entries of a journal, `{"at", "step", …}` each; one that was cut off in the middle is ignored.

    Args:
        everything: also those of single clients.

    Raises:
        JournalError: a line that is no entry, a journal of a newer version, or a file that cannot be read.
    """
    try:
        for number, line in enumerate(lines(path), 1):
            # Without its end, the line was being written when the run was killed.
            if line.endswith(b"\n") and (everything or not events.EVERY_CLIENT.match(line)):
                yield _entry(line, f"journal {path} line {number}")
    except UntrustedError as error:
        raise JournalError(f"journal {error}") from error
    except OSError as error:
        raise JournalError(
            f"journal {path}: cannot be read ({error.strerror}): correct that, then run the same command again"
        ) from error


def _entry(line: bytes, where: str) -> Entry:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(found.get(key), str) for key in ("at", "step")):
        raise _damaged(where, "no entry")
    version = found.get("version", events.VERSION)
    if found["step"] == events.Start.step and version != events.VERSION:
        raise JournalError(
            f"{where}: found version {json.dumps(version)[:40]}, expected {events.VERSION}: use the release that wrote "
            "it, or choose a mode with failover.yml"
        )
    return found


def _damaged(where: str, found: str) -> JournalError:
    return JournalError(f"{where}: damaged ({found}): move the run's folder away, or choose a mode with failover.yml")


def _read(kind: type[Kind], entry: Entry, where: str) -> Kind:
    try:
        return kind.read(entry)
    except DamagedError as error:
        raise _damaged(where, str(error)) from error


def _earlier(run: Path) -> _Earlier | None:
    """The beginning of a run, None if it was killed before it wrote one."""
    journal = run / JOURNAL
    try:
        folder.check_run(run)
        first = next(entries(journal), None)
        return _Earlier(run, *_beginning(first, f"journal {journal} line 1")) if first else None
    except (UntrustedError, JournalError) as error:
        return _Earlier(run, events.Start(), _began_at_most(run), JournalError(str(error)))


def _beginning(first: Entry, where: str) -> tuple[events.Start, float]:
    """The start of a run, and when that was in epoch seconds."""
    if first["step"] != events.Start.step:
        raise _damaged(where, f"the step {first['step'][:40]}")
    try:
        return _read(events.Start, first, where), datetime.fromisoformat(first["at"]).timestamp()
    except (ValueError, OverflowError) as error:
        raise _damaged(where, "no time") from error


def _began_at_most(run: Path) -> float:
    """The latest time at which a run can have begun whose journal does not have it."""
    try:
        # The end of that second: the name has no milliseconds.
        return datetime.strptime(run.name[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp() + 1
    except ValueError:
        return run.lstat().st_mtime


def _has_journal(run: Path) -> bool:
    try:
        (run / JOURNAL).lstat()
    except FileNotFoundError:
        return False
    except OSError:
        # Unknown: reading it reports the error.
        return True
    return True


def _newest_first(root: Path) -> list[_Earlier]:
    """The runs of this user, and of root, that have begun. Those of other users are ignored: see folder.foreign.

    Their numbers give the order. One whose journal cannot be read counts as newer than all that had begun by then.
    """
    found = [run for path in folder.ours(root) if _has_journal(path) and (run := _earlier(path))]

    def age(run: _Earlier) -> tuple[int, float, bool, str]:
        number = run.number
        if run.damage is not None:
            number = max((each.number for each in found if not each.damage and each.began <= run.began), default=0)
        return number, run.began, run.damage is not None, run.folder.name

    return sorted(found, key=age, reverse=True)


def next_number(root: Path) -> int:
    """The number of a run that begins now; the caller holds the lock."""
    return max((run.number for run in _newest_first(root)), default=0) + 1


def interrupted(root: Path, desired: dict[str, str], since: float, until: float = math.inf) -> Path | None:
    """The folder of the newest run, if it had the same target state and was killed between its plan and its end.

    One that was killed earlier has seen only a part of the fleet, which guards and waves are not designed for. None
    also if its journal cannot be read: the new run then starts from the beginning.

    Args:
        root: the folder of all runs.
        desired: `{endpoint: region}`.
        since, until: epoch seconds; a run that began before is too old; one that began later used another clock.
    """
    newest = next(iter(_newest_first(root)), None)
    if newest is None or not since <= newest.began <= until or newest.start.desired != desired:
        return None
    try:
        steps = {entry["step"] for entry in entries(newest.folder / JOURNAL, everything=False)}
    except JournalError:
        return None
    return newest.folder if events.Plan.step in steps and events.End.step not in steps else None


@dataclass(frozen=True)
class Previous:
    """The newest run that switched records and was not a rollback.

    Attributes:
        before, after: `{endpoint: region}` from before it, and as it left them.
        notes: lines that name the older runs that are ignored because their journals cannot be read.
    """

    run_id: str
    before: dict[str, str]
    after: dict[str, str]
    notes: list[str]

    def expect(self, found: dict[str, str]) -> None:
        """Check that the records are as the run left them, or as before it.

        Args:
            found: `{endpoint: region}`.

        Raises:
            RefusedError: they have been changed since, which a rollback would undo.
        """
        if found in (self.before, self.after):
            return
        wrong = ", ".join(f"{name} in {region}" for name, region in found.items() if region != self.after.get(name))
        left = ", ".join(f"{name} in {self.after.get(name)}" for name in found)
        raise RefusedError(
            f"rollback of {self.run_id}: found {wrong}, expected the records as that run left them ({left}): they "
            "have been changed since, so choose a mode with failover.yml"
        )


def previous_records(root: Path) -> Previous:
    """Return the newest run that switched records and was not a rollback, and the records from before it.

    A run counts even if it is unknown whether it switched them, because it was killed or AWS did not answer: the state
    before it is safe in both cases.

    Raises:
        RefusedError: there is no such run.
        JournalError: the journal of a newer run than it is damaged or of a newer version: it may have switched them.
    """
    earlier = _newest_first(root)
    for number, run in enumerate(earlier):
        if run.damage is not None:
            raise run.damage
        if run.start.rollback:
            continue
        records = _records_of(run.folder / JOURNAL)
        if records is not None:
            left_out = [each.damage for each in earlier[number + 1 :] if each.damage is not None]
            notes = [f"ignored, because it is of an older run: {error}" for error in left_out]
            return Previous(run.folder.name, *records, notes)
    raise RefusedError(f"rollback: no run in {root} has switched records: choose a mode with failover.yml")


def _records_of(journal: Path) -> tuple[dict[str, str], dict[str, str]] | None:
    """`{endpoint: region}` before a run and as it planned them, None if it switched nothing."""
    last = {entry["step"]: entry for entry in entries(journal, everything=False)}
    if events.Switch.step not in last:
        return None
    where = f"journal {journal}"
    end, plan = last.get(events.End.step), last.get(events.Plan.step)
    if end and _read(events.End, end, where).outcome == "refused":
        return None
    moves = _read(events.Plan, plan, where).moves if plan else []
    if not moves:
        raise _damaged(where, "records switched without a plan")
    return {each.endpoint: each.source for each in moves}, {each.endpoint: each.target for each in moves}
