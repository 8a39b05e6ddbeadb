"""Journals in each form that a release has written, oldest first."""

from __future__ import annotations

from typing import Any

OLD, NEW = "us-east-1", "ap-northeast-1"
MOVING, STAYING = "mqtt1.example.com", "mqtt2.example.com"
BEFORE = {MOVING: OLD, STAYING: OLD}
AFTER = {MOVING: NEW, STAYING: OLD}
PLAN = {name: {"from": BEFORE[name], "to": AFTER[name]} for name in BEFORE}
HOSTS = {region: f"a1b2c3-ats.iot.{region}.amazonaws.com" for region in (OLD, NEW)}
RECORDS = {MOVING: HOSTS[NEW]}
RAW = {MOVING: {"Name": f"{MOVING}.", "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": HOSTS[OLD]}]}}
RUN = "20261123T220000Z-mode3-0f3a"
STALE = {"server": "192.0.2.53", "name": MOVING, "answer": HOSTS[OLD], "expected": HOSTS[NEW], "seconds": 12.5}
FINDING = {
    "check": "record_ttl", "blocking": True, "region": NEW, "endpoint": MOVING, "found": "300", "expected": "60",
    "advice": "run setup.yml",
}  # fmt: skip
PROGRESS = {
    "phase": "sweep", "done": 1, "total": 2, "rate": 1.0, "landed": 0, "in_flight": 1, "eta": 1.0, "stragglers": 1,
}  # fmt: skip
BY = {"user": "root", "host": "controller"}

Entry = dict[str, Any]


def entry(step: str, /, **details: Any) -> Entry:
    return {"step": step, **details}


def client(step: str, region: str, **details: Any) -> Entry:
    return entry(step, client_id="a", region=region, **details)


_BEGAN = {"run_id": RUN, "mode": "3", "desired": AFTER}
_SWITCHED = [entry("switched", change_id="/change/C1"), entry("insync", change_id="/change/C1")]
_TOLD = [
    client("delete_connection", OLD, found=True),
    entry("delete_connection_failed", client_id="b", error="DeleteConnection: found ThrottlingException"),
]
_PLAN: Entry = {"plan": PLAN, "misplaced": 2}
_PACE = {"leaving": {OLD: 100.0}, "arriving": {NEW: 2700.0}}
_END: Entry = {"outcome": "moved", "error": None}
# By number and number of waves on.
_WAVE = [
    entry("sweep", wave=1, waves=1, clients=2),
    *_TOLD,
    client("landed", NEW, seconds=0.8),
    entry("progress", **PROGRESS),
]
_DNS = [entry("dns_waiting", stale=[STALE], left=287.5), entry("dns", servers=["ns1", "192.0.2.53"], stale=[])]
_CHECKS = entry("preflight", findings=[FINDING], waived=["record_ttl"])

MOVED: dict[str, list[Entry]] = {
    "one sweep": [
        entry("start", **_BEGAN),
        entry("plan", **_PLAN),
        entry("switch", records=RECORDS),
        *_SWITCHED,
        entry("dns", servers=["ns1"]),
        entry("sweep", clients=2),
        *_TOLD,
        entry("sweep_again", clients=["b"]),
        entry("landing", landed=2, late=0),
        entry("end", **_END),
    ],
    "clients that no endpoint claims": [
        entry("start", **_BEGAN),
        entry("plan", **_PLAN, unmapped=0),
        entry("switch", records=RECORDS),
        *_SWITCHED,
        entry("dns", servers=["ns1"]),
        entry("sweep", clients=2),
        *_TOLD,
        entry("landing", landed=2, late=0),
        entry("end", **_END),
    ],
    "waves": [
        entry("start", version=1, **_BEGAN, rollback=False),
        entry("skipped", region="eu-west-1", reason="found NoAnswer, expected success"),
        entry("plan", **_PLAN, unmapped=0, seconds=0.0, token="abc-2"),
        _CHECKS,
        entry("switch", records=RECORDS),
        *_SWITCHED,
        *_DNS,
        *_WAVE,
        entry("sweep_again", clients=["b"], at_epoch=1795471201.5),
        entry("landing", wave=1, landed=2, late=0),
        entry("end", **_END),
    ],
    "approval and environment": [
        entry("start", version=1, **_BEGAN, rollback=False, environment={"Python": "3.11.7"}, options={"waves": [100]}),
        entry("plan", **_PLAN, unmapped=0, seconds=0.0, pace=_PACE, targets=HOSTS, token="abc-2"),
        _CHECKS,
        entry("approved", token="abc-2", differences=["1 client came"]),
        entry("switch", records=RECORDS, before=RAW),
        *_SWITCHED,
        entry("dns_settled", server="ns1", resolver=False),
        *_DNS,
        *_WAVE,
        entry("sweep_again", clients=["b"], seconds=1.5),
        entry("landing", wave=1, landed=2, late=0),
        entry("end", **_END),
    ],
    "numbers of runs": [
        entry("start", version=1, **_BEGAN, number=1, rollback=False, environment={}, options={}),
        entry("plan", **_PLAN, unmapped=0, seconds=0.0, pace=_PACE, targets=HOSTS, token="abc-2"),
        _CHECKS,
        entry("switch", records=RECORDS, before=RAW),
        *_SWITCHED,
        *_DNS,
        *_WAVE,
        entry("landing", wave=1, landed=2, late=0),
        entry("end", **_END),
    ],
    "who and where": [
        entry("start", version=1, **_BEGAN, number=1, rollback=False, by=BY, environment={}, options={}),
        entry("skipped", region="eu-west-1", reason="named in failover_source_gone", gone=True),
        entry("plan", **_PLAN, unmapped=0, seconds=0.02, pace=_PACE, targets=HOSTS, token="abc-2"),
        _CHECKS,
        entry("approved", token="abc-2", differences=[], planned_by=None),
        entry("switch", records=RECORDS, before=RAW),
        *_SWITCHED,
        entry("dns_settled", server="ns1", resolver=False),
        *_DNS,
        *_WAVE,
        entry("landing", wave=1, landed=1, late=1, absent=1),
        entry("end", **_END, records=AFTER),
    ],
}
_AGAIN = entry("start", version=1, **_BEGAN, goes_on=True)
PAUSED = [
    entry("start", version=1, **_BEGAN, rollback=False),
    entry("plan", **_PLAN, unmapped=0, seconds=0.0, token="abc-2"),
    entry("switch", records=RECORDS, before=RAW),
    *_SWITCHED,
    *_DNS,
    entry("paused"),
]
RESUMED = [*PAUSED, _AGAIN, *_WAVE, entry("landing", wave=1, landed=2, late=0), entry("end", **_END)]
# Of the way back; the first of them ended before clients were looked for again.
_LATE = [*MOVED["waves"][:-1], entry("restore", records=RECORDS), entry("restored", change_id=None)]
ROLLED_BACK: dict[str, list[Entry]] = {
    "records": [*_LATE, entry("end", outcome="rolled_back", error="found 2 late")],
    "clients": [
        *_LATE,
        entry("sweep", wave=1, waves=1, clients=2),
        entry("landing", wave=1, landed=2, late=0),
        entry("returned", told=2, back=2),
        entry("end", outcome="rolled_back", error="found 2 late", records=BEFORE),
    ],
    "stopped": [
        *_LATE,
        entry("interrupted", reason="found SIGTERM"),
        entry("unforeseen", error="KeyError: 'x'", frames=["switch.py:1 run"]),
        entry("end", outcome="partial", error="found SIGTERM", records=BEFORE),
    ],
}


def written(entries: list[Entry]) -> list[Entry]:
    """Entries with the times at which they were written."""
    return [{"at": f"2026-11-23T22:00:{second:02}.000Z", **each} for second, each in enumerate(entries)]
