"""The end of a run: clients and messages are counted, and its report is written however it ended."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import report
from ..model import evidence, findings
from ..model.errors import StorageError, listed, many, one_line
from ..module import FailedResultError, Result
from ..record import events, ledger, ledger_state
from ..record import summary as summaries
from ..record.journal import timestamp
from ..report import messages
from . import paused
from .course import Course

LEDGER_TIMEOUT = 10.0
LEDGER_INTERVAL = 0.2
NAMES_SHOWN = 10


def conclude(course: Course) -> None:
    """Write the report. What cannot be written to disk becomes a note; the module's result has the rest."""
    with on_disk(course):
        course.roster.settle()
    with on_disk(course):
        _count(course)
    if course.wrote and not course.paused and not course.counted:
        with on_disk(course):
            count_messages(course, 0.0 if course.interrupted else LEDGER_TIMEOUT)
    course.summary.finished_at = timestamp()
    with on_disk(course):
        course.roster.write_csv(course.directory / "clients.csv")
    with on_disk(course):
        if course.paused:
            paused.store(course)
            course.journal.write(events.Paused())
        else:
            outcome, error = course.summary.outcome, course.summary.error
            course.journal.write(events.End(outcome=outcome, error=error, records=course.homes))
    with on_disk(course):
        summaries.write(course.directory, course.summary.as_dict())


@contextmanager
def on_disk(course: Course) -> Iterator[None]:
    """Turn a failed write in the block into a note, and into the run's error where it has none."""
    try:
        yield
    except (StorageError, sqlite3.Error) as error:
        course.notes.append(f"not on disk: {error}")
        course.summary.error = course.summary.error or str(error)


def _count(course: Course) -> None:
    """Count the clients against the final records."""
    course.roster.records_are(course.homes)
    counts = course.roster.counts()
    dark = counts.pop("dark")
    course.summary.clients = counts
    if dark and course.switched:
        course.notes.append(f"{many(dark, 'client')} connected in neither region, as far as seen")


def count_messages(course: Course, patience: float) -> None:
    """Read the ledger until no message is missing, or for `patience` seconds."""
    course.counted = True
    if not course.options.run.ledger:
        return
    moved = {client_id: (region, target) for client_id, region, target in course.roster.moved()}
    deadline = course.runtime.monotonic() + patience
    tally = ledger.Tally(Path(course.options.run.ledger), course.started, moved)
    while tally.update():
        course.summary.messages = tally.messages()
        found = tally.gaps()
        course.summary.gap_seconds = ledger.percentiles(found.values())
        course.gaps = found
        complete = not course.summary.messages["lost"] and len(found) == len(moved)
        if complete or course.runtime.monotonic() >= deadline:
            course.notes += ledger.told_apart(tally.implausible())
            return
        course.runtime.sleep(LEDGER_INTERVAL)
    if not any(each.check == "message_figures" for each in course.findings):
        course.findings += ledger_state.unkept(course.options.run.ledger, course.runtime.now())


def stragglers(course: Course) -> str | None:
    """The error that names the stragglers; None where all clients have landed."""
    if course.options.scope.sweep == "none":
        return None
    counts = course.roster.counts()
    if not counts["stragglers"]:
        return None
    shown = listed(course.roster.stragglers(NAMES_SHOWN + 1), NAMES_SHOWN)
    return (
        f"clients: found {counts['stragglers']} of {counts['total']} not landed after "
        f"{course.options.pace.landing_timeout:.0f} s ({shown}), expected all in their region: look at these devices "
        "(clients.csv in the report), then run again"
    )


def write_page(course: Course) -> None:
    """Write the page, and that of the run which this one resumes. An error becomes a note."""
    try:
        if course.options.run.ledger and (course.switched or course.wrote):
            kept, clients = Path(course.options.run.ledger), course.summary.clients["total"]
            messages.keep(kept, course.directory, course.started, course.runtime.now(), course.gaps, clients)
        course.notes += report.write(course.directory)
        course.page = str(course.directory / report.NAME)
        if course.earlier is not None:
            report.write(course.earlier)
    except Exception as error:  # noqa: BLE001 - the move is over, and its outcome stands
        course.notes.append(f"{report.NAME}: not written ({one_line(error)}): make report writes it")


def result(course: Course, diff: dict[str, Any]) -> Result:
    """The module's result.

    Raises:
        FailedResultError: the move failed; carries the same result.
    """
    found = course.summary.as_dict()
    said = {**found, "outcome": _in_words(course)}
    shown = [*summaries.lines(said, str(course.directory), course.page), *course.notes]
    shown += findings.table(course.findings, course.options.checks.waive)
    result: Result = {"changed": course.wrote, "diff": diff, "summary": found, "report": str(course.directory)}
    targets = {move.endpoint: course.hosts[move.target] for move in course.summary.moves if move.target in course.hosts}
    result |= {"targets": targets, "paused": course.paused, "lines": shown}
    result |= {"findings": findings.as_dicts(course.findings)}
    result |= {key: found[key] for key in ("run_id", "outcome", "plan")}
    if course.summary.error:
        raise FailedResultError(course.summary.error, result)
    return result


def _in_words(course: Course) -> str:
    swept = course.options.scope.sweep == "misplaced"
    return evidence.outcome(course.summary.outcome, course.summary.clients["total"], swept, course.summary.given_up)
