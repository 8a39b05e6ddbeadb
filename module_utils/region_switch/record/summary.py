"""The summary of a run, `reports/<run>/summary.json`, and the link `reports/latest`."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..model.plan import Move
from . import folder
from .journal import timestamp

SUMMARY = "summary.json"
KEYS = (
    *("run_id", "mode", "outcome", "started_at", "finished_at", "plan", "phases", "clients", "sweep", "messages"),
    *("gap_seconds", "by"),
)


def new_run_id(mode: str) -> str:
    """A name that sorts by time and fits a file name, such as `20261123T204500Z-mode3-0f3a`."""
    slug = "".join(letter if letter.isalnum() else "_" for letter in mode)[:32]
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-mode{slug}-{secrets.token_hex(2)}"


@dataclass
class Summary:
    """The run so far; `as_dict` is summary.json."""

    run_id: str
    mode: str
    moves: Sequence[Move] = ()
    outcome: str = "failed"
    error: str | None = None
    started_at: str = field(default_factory=timestamp)
    finished_at: str | None = None
    phases: list[dict[str, Any]] = field(default_factory=list)
    clients: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("total", "misplaced", "landed", "stragglers", "bounced", "in_both_regions"), 0
        )
    )
    sweep: dict[str, Any] = field(default_factory=lambda: {"calls": 0, "rate": 0.0, "throttled": 0, "passes": 0})
    messages: dict[str, int] | None = None
    gap_seconds: dict[str, float] | None = None
    by: dict[str, Any] | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[dict[str, Any]]:
        """Time a phase, also one that fails; yields a dict for further keys of its entry."""
        started = time.monotonic()
        noted: dict[str, Any] = {}
        try:
            yield noted
        finally:
            self.phases.append({"name": name, "seconds": round(time.monotonic() - started, 3), **noted})

    @property
    def given_up(self) -> list[str]:
        """The DNS servers that never gave the new answer, and were given up."""
        return [str(server) for phase in self.phases for server in phase.get("stale", ())]

    def as_dict(self) -> dict[str, Any]:
        """The summary with its KEYS, which other tools read."""
        found = {**vars(self), "plan": plan_dict(self.moves)}
        return {key: found[key] for key in KEYS}


def plan_dict(moves: Sequence[Move]) -> dict[str, dict[str, str]]:
    """`{endpoint: {"from": region, "to": region}}`; equal regions where nothing moves."""
    return {move.endpoint: {"from": move.source, "to": move.target} for move in moves}


def write(directory: Path, summary: dict[str, Any]) -> None:
    """Write summary.json whole or not at all, and point `latest` beside the folder at it.

    Raises:
        StorageError: it cannot be written.
    """
    with folder.replacing(directory / SUMMARY, errors="backslashreplace") as stream:
        stream.write(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    folder.point_latest(directory)


def lines(summary: dict[str, Any], report: str, page: str = "") -> list[str]:
    """The lines that a run shows to the operator.

    Args:
        report: the run's folder.
        page: the page to open, empty where none was written.
    """
    clients, sweep = summary["clients"], summary["sweep"]
    shown = [f"mode {summary['mode']}: {summary['outcome']}"]
    for endpoint, move in summary["plan"].items():
        moved = move["from"] != move["to"]
        shown.append(f"{endpoint}: {move['from']} -> {move['to']}" if moved else f"{endpoint}: stays in {move['to']}")
    shown.append(
        "clients: {landed} of {total} in their region, {stragglers} stragglers, {bounced} bounced, "
        "{in_both_regions} in both regions".format(**clients)
    )
    if sweep["calls"]:
        shown.append("sweep: {calls} calls, {rate} per second, {throttled} throttled, {passes} passes".format(**sweep))
    if summary["messages"]:
        counts = summary["messages"]
        shown.append(
            "messages: {sent} sent, {received} received, {lost} lost, {duplicated} duplicated".format(**counts)
        )
    if summary["gap_seconds"]:
        shown.append("gap per client: p50 {p50} s, p95 {p95} s, max {max} s".format(**summary["gap_seconds"]))
    return [*shown, f"report: {report}", *([f"open in a browser: {page}"] if page else [])]
