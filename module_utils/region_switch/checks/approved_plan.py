"""The clients of a plan that was shown for approval, kept so that a fleet which drifts can be compared with it."""

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
from ..record.who import Who

FOLDER = "plans"
# Who made plans, also those that no other clients may be approved by.
MAKERS = "planned"
# Plans that were read and never carried out are of no use to anybody.
KEPT = 20


def keep(reports: Path, token: str, roster: Roster) -> None:
    """Write the list of clients that a token stands for.

    Raises:
        RefusedError: the folder of reports may not be used.
        StorageError: it cannot be written.
    """
    with _kept(reports, _path(reports, token)) as file:
        file.writelines(map(approval.line, roster.leaving()))


def sign(reports: Path, token: str, maker: Who) -> None:
    """Note who made the plan that a token stands for.

    Raises:
        RefusedError: the folder of reports may not be used.
        StorageError: it cannot be written.
    """
    with _kept(reports, reports / MAKERS / f"{token}.json") as file:
        file.write(json.dumps({"at": timestamp(), **maker.as_dict()}))


def maker(reports: Path, token: str) -> dict[str, Any] | None:
    """Who made the plan that a token stands for, `Who.as_dict` with `at`; None where nobody here knows."""
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
        See `approval.differences`; None where the list is not there, or is not the one that the token stands for.
    """
    parts = approval.parts(token)
    if parts is None:
        return None
    path = _path(reports, token)
    try:
        # Whoever wrote it: it is believed where the token, which was approved, has its digest.
        if approval.digest(_lines(path)) != parts[1]:
            return None
        approved = (tuple(json.loads(line)) for line in _lines(path))
        return approval.differences(approved, roster.leaving())
    except (OSError, ValueError):
        return None


@contextmanager
def _kept(reports: Path, path: Path) -> Iterator[IO[str]]:
    """Write a file of a folder in that of the reports, of whose files the newest are kept.

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
