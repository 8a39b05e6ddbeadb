"""A run that pauses behind DNS, so that its caller can look at DNS from the devices, and resumes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..model.errors import RefusedError
from ..model.plan import Move
from ..record import folder
from ..record.summary import Summary
from . import survey
from .course import Course
from .survey import Plan

FILE = "paused.json"
_OF_SUMMARY = ("run_id", "mode", "started_at", "phases", "by")


def store(course: Course) -> None:
    """Store what cannot be read from AWS again: the records before the switch, and their TTL."""
    found = {
        "summary": {name: getattr(course.summary, name) for name in _OF_SUMMARY},
        "moves": [[move.endpoint, move.source, move.target] for move in course.summary.moves],
        "before": course.before,
        "ttl": course.ttl,
        "notes": course.notes,
    }
    with folder.replacing(course.directory / FILE, errors="backslashreplace") as stream:
        json.dump(found, stream, ensure_ascii=False)


def read(directory: Path) -> dict[str, Any]:
    """Read what a run has stored, and delete it: a run resumes once.

    Raises:
        RefusedError: it did not pause, or has resumed since.
        UntrustedError: somebody else has made the file, or may write to it.
    """
    try:
        found = json.loads(folder.read_text(directory / FILE))
        found["summary"] = Summary(**found["summary"], moves=[Move(*move) for move in found.pop("moves")])
        found["ttl"] = float(found["ttl"])
        if not (isinstance(found["before"], dict) and isinstance(found["notes"], list)):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RefusedError(
            f"run {directory.name}: found no {FILE} that can be read, expected that of a run which paused: "
            "run the mode again without run_id"
        ) from error
    (directory / FILE).unlink()
    return found  # type: ignore[no-any-return]


def resume(course: Course, desired: dict[str, str]) -> Plan:
    """The plan of a run that resumes: the current state, and the records as they were before it switched them.

    Raises:
        RefusedError: somebody has changed its records since.
    """
    with course.summary.phase("plan"):
        course.roster.resume()
        plan = survey.read(course, desired, course.roster)
    if plan.needed:
        raise RefusedError(
            f"run {course.summary.run_id}: found {', '.join(move.endpoint for move in plan.needed)} changed since, "
            "expected the records as the run switched them: find out who moves them, then run the mode again"
        )
    course.switched = True
    course.homes, course.hosts = dict(plan.desired), plan.targets
    records = {name: record for name, raw in course.before.items() if (record := course.dns.kept(raw))}
    return replace(plan, moves=list(course.summary.moves), records={**plan.records, **records})
