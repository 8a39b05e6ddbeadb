"""Folders of runs as the engine leaves them, for tests of what reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.region_switch.fleet.roster import Roster, TrackedClient
from ansible.module_utils.region_switch.fleet.source import Connection
from ansible.module_utils.region_switch.record.ledger import percentiles
from ansible.module_utils.region_switch.record.summary import Summary

OLD, NEW = "us-east-1", "ap-northeast-1"
ENDPOINT = "mqtt1.example.com"
BEGAN = 1_795_569_651.0
PLAN = {ENDPOINT: {"from": OLD, "to": NEW}}
OPTIONS = {"ledger": "/var/lib/mqtt-fleet/ledger.sqlite", "waves": [1, 100]}
ERROR = "clients: found 1 of 2 not landed after 300 s, expected all in their region"
FINDING = {
    "check": "device_certificate",
    "blocking": True,
    "region": NEW,
    "endpoint": ENDPOINT,
    "found": "2 not registered",
    "expected": "all of them ACTIVE",
    "advice": "run setup.yml",
}

Entry = dict[str, Any]


def at(seconds: float) -> str:
    return datetime.fromtimestamp(BEGAN + seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def entry(after: float, step: str, /, **details: Any) -> Entry:
    return {"at": at(after), "step": step, **details}


def start(**details: Any) -> Entry:
    known = {"version": 1, "run_id": "run", "mode": "3", "environment": {"Python": "3.11.7"}, "options": OPTIONS}
    return entry(0, "start", **{**known, **details})


def planned() -> list[Entry]:
    pace = {"leaving": {OLD: 100.0}, "arriving": {NEW: 2700.0}}
    return [
        start(),
        entry(0.2, "plan", plan=PLAN, misplaced=2, unmapped=0, seconds=0.0, pace=pace, token="abc-2"),
        entry(0.4, "preflight", findings=[], waived=[]),
    ]


def switched() -> list[Entry]:
    return [
        *planned(),
        entry(0.4, "switch", records={}, before={}),
        entry(0.5, "switched", change_id="/change/C1"),
        entry(1.0, "insync", change_id="/change/C1"),
        entry(1.2, "dns_settled", server="ns1.example.net", resolver=False),
        entry(1.4, "dns_settled", server="192.0.2.53", resolver=True),
        entry(1.5, "dns", servers=["ns1.example.net", "192.0.2.53"], stale=[]),
    ]


def swept(clients: int = 2, late: int = 0) -> list[Entry]:
    end = 2.0 + clients / 100
    return [
        *switched(),
        entry(1.6, "sweep", wave=1, waves=1, clients=clients),
        entry(1.6, "delete_connection", client_id="a", region=OLD, found=True),
        entry(end, "landing", wave=1, landed=clients - late, late=late),
    ]


def write_journal(folder: Path, entries: Sequence[Entry], tail: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{json.dumps(each)}\n" for each in entries)
    (folder / "journal.jsonl").write_text(text + tail, encoding="utf-8")
    return folder


def write_roster(folder: Path, client_ids: Sequence[str], stragglers: Sequence[str] = ()) -> dict[str, int]:
    """A roster whose clients were told to leave and have landed, but for the stragglers; return its counts."""
    folder.mkdir(parents=True, exist_ok=True)
    with Roster(folder / "clients.sqlite") as roster:
        roster.add((Connection(client_id, ENDPOINT, OLD, BEGAN - 60) for client_id in client_ids), {ENDPOINT: NEW})
        for number, client_id in enumerate(client_ids):
            client = TrackedClient(client_id, OLD, ENDPOINT, NEW, 0.0)
            told = BEGAN + 1.6 + number / 100
            known: dict[str, Any] = {"kicked_at": told, "kicks": 1, "wave": 1, "looks": 1}
            if client_id in stragglers:
                roster.update(client, "told", **known, in_target=0, in_source=1, note="AWS said no")
            else:
                landed = told + 0.1 + number % 7 / 100
                roster.update(client, "landed", **known, landed_at=landed, in_target=1, in_source=0)
        roster.commit()
        counts = roster.counts()
    counts.pop("dark")
    return counts


def write_messages(folder: Path, client_ids: Sequence[str], end: float) -> list[float]:
    """The ledger's side of a run; return the gaps."""
    gaps = {client_id: round(0.2 + number % 13 / 50, 3) for number, client_id in enumerate(client_ids)}
    timeline = [(BEGAN + step / 2, {OLD: 20} if step / 2 < 1.6 else {NEW: 20}) for step in range(-10, int(end * 2))]
    found = {
        "since": BEGAN - 5, "until": BEGAN + end, "width": 0.5, "timeline": timeline, "gaps": gaps,
        "sample": sorted(gaps.values()), "measured": len(gaps),
        "clients": {each: {"sent": 20, "received": 20, "lost": 0, "duplicated": 1} for each in client_ids},
    }  # fmt: skip
    (folder / "messages.json").write_text(json.dumps(found), encoding="utf-8")
    return sorted(gaps.values())


def write_summary(folder: Path, outcome: str, **values: Any) -> Entry:
    summary = Summary("run", "3", outcome=outcome, started_at=at(0), finished_at=at(3)).as_dict()
    summary |= {"plan": PLAN, "phases": [{"name": "plan", "seconds": 0.2}, {"name": "sweep", "seconds": 1.234}]}
    summary |= values
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return summary


def moved(folder: Path, client_ids: Sequence[str]) -> Entry:
    """A run that moved these clients; return its summary."""
    end = 2.0 + len(client_ids) / 100
    write_journal(folder, [*swept(len(client_ids)), entry(end + 0.1, "end", outcome="moved", error=None)])
    counts, gaps = write_roster(folder, client_ids), write_messages(folder, client_ids, end)
    sent = 20 * len(client_ids)
    messages = {"sent": sent, "received": sent, "lost": 0, "duplicated": len(client_ids)}
    sweep = {"calls": len(client_ids), "rate": 99.5, "throttled": 3, "passes": 1}
    return write_summary(
        folder, "moved", clients=counts, sweep=sweep, messages=messages, gap_seconds=percentiles(gaps)
    )  # fmt: skip


def failed(folder: Path) -> Entry:
    """A run whose DNS gate was not passed; return its summary."""
    stale = {"server": "192.0.2.53", "name": ENDPOINT, "answer": "old.example.net", "expected": "new.example.net"}
    steps = [
        *switched()[:-2],
        entry(2.5, "dns_waiting", stale=[{**stale, "seconds": 30.0}], left=1.0),
        entry(3.0, "end", outcome="failed", error="DNS after 300 s: found 192.0.2.53 stale"),
    ]
    write_journal(folder, steps)
    with Roster(folder / "clients.sqlite") as roster:
        roster.add([Connection("a", ENDPOINT, OLD, 0.0)], {ENDPOINT: NEW})
        counts = roster.counts()
    counts.pop("dark")
    return write_summary(folder, "failed", clients=counts)
