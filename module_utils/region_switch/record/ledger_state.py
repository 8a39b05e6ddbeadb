"""Whether the monitor writes the ledger, so that a move will have figures of messages."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..model.findings import Finding
from .ledger import open_ledger

# Seconds in which a fleet sends something: each client has a message of its own once a minute.
QUIET = 180.0
NO_FIGURES = "without it a move counts neither loss nor gaps"


@dataclass(frozen=True)
class LedgerState:
    """What a ledger shows about its monitor.

    Attributes:
        newest: when the newest message arrived, epoch seconds; None: none did.
        unwatched: AWS Regions in which the monitor is not subscribed.
    """

    newest: float | None
    unwatched: Sequence[str]


def unkept(path: str | None, now: float) -> list[Finding]:
    """Why a move would have no figures of messages: at most one finding, which is only a note.

    Args:
        path: the ledger; empty: the operator named none; None: not checked.
        now: epoch seconds.
    """
    if path is None:
        return []
    if not path:
        return [_found("no ledger named", "the monitor's", f"name it in failover_ledger; {NO_FIGURES}")]
    try:
        state = _read(Path(path))
    except OSError as error:
        return [_missing(path, error)]
    except sqlite3.Error as error:
        expected = (
            "a readable one: check its permissions, and whether the monitor runs (systemctl status fleet-monitor)"
        )
        return [_found(f"{path} not readable ({error})", expected, NO_FIGURES)]
    return judged(path, state, now)


def judged(path: str, state: LedgerState, now: float) -> list[Finding]:
    """The same, of a ledger that was read."""
    look = "check the monitor (systemctl status fleet-monitor)"
    if state.unwatched:
        found = f"the monitor of {path} not subscribed in {', '.join(state.unwatched)}"
        return [_found(found, "subscribed", f"{look}; messages that arrive there are not counted")]
    see_to_it = f"{look}; {NO_FIGURES}"
    if state.newest is None:
        return [_found(f"no message in {path} yet", "messages of the clients", see_to_it)]
    if now - state.newest > QUIET:
        quiet = f"nothing arrived in {path} for {(now - state.newest) / 60:.0f} min"
        return [_found(quiet, "messages of the clients", see_to_it)]
    return []


def _missing(path: str, error: OSError) -> Finding:
    if isinstance(error, PermissionError):
        expected = "read permission"
        advice = f"add this user to the group that may read it (fleet_monitor_group); {NO_FIGURES}"
        return _found(f"{path} not readable ({error.strerror})", expected, advice)
    return _found(f"no ledger {path}", "the monitor's", f"run playbooks/deploy_monitor.yml; {NO_FIGURES}")


def _found(found: str, expected: str, advice: str) -> Finding:
    return Finding("message_figures", False, "", "", found, expected, advice)


def _read(path: Path) -> LedgerState:
    """Read it.

    Raises:
        OSError: it does not exist, or may not be read.
        sqlite3.Error: it is not a ledger, or cannot be read at the moment.
    """
    path.open("rb").close()
    with closing(open_ledger(path)) as connection:
        (newest,) = connection.execute("SELECT max(arrived_at) FROM message").fetchone()
        rows = connection.execute("SELECT region FROM subscription WHERE since IS NULL ORDER BY region")
        return LedgerState(newest, [str(region) for (region,) in rows])
