"""The clients of a plan that was shown for approval, kept to compare a fleet that drifts with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ..fleet.roster import Roster
from ..model import approval
from ..model.approval import Difference
from ..record import folder
from ..record.folder import UntrustedError
from ..record.journal import timestamp
from ..record.storage import failed

FOLDER = "plans"
# Who made each plan, including plans that allow no drift.
MAKERS = "planned"
# Older plans that were never carried out are deleted.
KEPT = 20


def keep(reports: Path, token: str, roster: Roster) -> None:
    """Write the list of clients that a token stands for.

    Raises:
        RefusedError: the folder of reports may not be used.
        StorageError: it cannot be written.
    """
    with _kept(reports, _path(reports, token)) as file:
        file.writelines(map(approval.line, roster.leaving()))


def sign(reports: Path, token: str, maker: Mapping[str, Any]) -> None:
    """Store who made the plan that a token stands for, as `who.here` says.

    Raises:
        RefusedError: the folder of reports may not be used.
        StorageError: it cannot be written.
    """
    with _kept(reports, reports / MAKERS / f"{token}.json") as file:
        file.write(json.dumps({"at": timestamp(), **maker}))


def maker(reports: Path, token: str) -> dict[str, Any] | None:
    """Who made the plan that a token stands for, as `who.here` says, with `at`; None where it is unknown."""
    if approval.parts(token) is None:
        return None
    try:
        found = json.loads(folder.read_text(reports / MAKERS / f"{token}.json"))
    except (OSError, ValueError, RecursionError, UntrustedError):
        return None
    return found if isinstance(found, dict) else None


def differences(reports: Path, token: str, roster: Roster) -> Mapping[str, Difference] | None:
    """How the clients that leave differ from those that a token stands for.

    Returns:
        See `approval.differences`; None where the list is missing, or is not the one that the token stands for.
    """
    parts = approval.parts(token)
    if parts is None:
        return None
    path = _path(reports, token)
    try:
        # Whoever wrote it, the file is trusted only if its digest is part of the approved token.
        if approval.digest(_lines(path)) != parts[1]:
            return None
        approved = (tuple(json.loads(line)) for line in _lines(path))
        return approval.differences(approved, roster.leaving())
    except (OSError, ValueError):
        return None


@contextmanager
def _kept(reports: Path, path: Path) -> Iterator[IO[str]]:
    """Write a file in a folder of the reports folder, and delete all but its newest files.

    Raises:
        RefusedError: the folder of reports may not be used.
        StorageError: it cannot be written.
    """
    folder.claim(reports)
    plans = path.parent
    try:
        if not plans.exists():
            folder.make(plans)
        with folder.replacing(path) as file:
            yield file
        for old in sorted(plans.glob(f"*{path.suffix}"), key=lambda each: each.lstat().st_mtime)[:-KEPT]:
            old.unlink(missing_ok=True)
    except OSError as error:
        raise failed(plans, error) from error


def _path(reports: Path, token: str) -> Path:
    return reports / FOLDER / f"{token}.jsonl"


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        yield from file
