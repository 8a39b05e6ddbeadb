"""The steps of a journal: written byte by byte as ever, and read from whatever release wrote them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from mqtt_monitor.watch_state import JournalFollower
from region_switch import report
from region_switch.record import events, history
from region_switch.record.events import DamagedError
from region_switch.record.journal import Journal
from region_switch.report import run as report_run
from tests import old_journals, run_folder
from tests.old_journals import AFTER, BEFORE, BY, FINDING, HOSTS, MOVED, MOVING, NEW, OLD, PLAN, PROGRESS, STALE

REPOSITORY = Path(__file__).parent.parent.parent.parent
PACE = {"leaving": {OLD: 100.0}, "arriving": {NEW: 2700.0}}
# What the writers gave to the journal before each step had a class: name, then the keys in their order.
WRITTEN: list[tuple[events.Event, str, dict[str, Any]]] = [
    (
        events.Start(
            run_id="r", mode="3", desired=AFTER, number=1, rollback=False, by=BY, environment={}, options={"waves": [1]}
        ),
        "start",
        {"version": 1, "run_id": "r", "mode": "3", "desired": AFTER, "number": 1, "rollback": False, "by": BY,
         "environment": {}, "options": {"waves": [1]}},
    ),
    (
        events.Start(run_id="r", mode="3", desired=AFTER, goes_on=True),
        "start",
        {"version": 1, "run_id": "r", "mode": "3", "desired": AFTER, "goes_on": True},
    ),
    (events.Skipped(region=OLD, reason="x", gone=False), "skipped", {"region": OLD, "reason": "x", "gone": False}),
    (
        events.Plan(
            plan=PLAN, misplaced=0, unmapped=0, seconds=0.0, pace=PACE, targets=HOSTS, token="abc-0"
        ),
        "plan",
        {"plan": PLAN, "misplaced": 0, "unmapped": 0, "seconds": 0.0, "pace": PACE, "targets": HOSTS, "token": "abc-0"},
    ),
    (events.Preflight(findings=[FINDING], waived=[]), "preflight", {"findings": [FINDING], "waived": []}),
    (
        events.Approved(token="abc-0", differences=[], planned_by=None),
        "approved",
        {"token": "abc-0", "differences": [], "planned_by": None},
    ),
    (events.Switch(records=HOSTS, before={}), "switch", {"records": HOSTS, "before": {}}),
    (events.Switched(change_id=None), "switched", {"change_id": None}),
    (events.Insync(change_id="/change/C1"), "insync", {"change_id": "/change/C1"}),
    (events.DnsWaiting(stale=[STALE], left=1.0), "dns_waiting", {"stale": [STALE], "left": 1.0}),
    (events.DnsSettled(server="ns1", resolver=False), "dns_settled", {"server": "ns1", "resolver": False}),
    (events.Dns(servers=["ns1"], stale=[]), "dns", {"servers": ["ns1"], "stale": []}),
    (events.Paused(), "paused", {}),
    (events.Sweep(wave=1, waves=2, clients=0), "sweep", {"wave": 1, "waves": 2, "clients": 0}),
    (
        events.DeleteConnection(client_id="\ud800ü", region=OLD, found=False),
        "delete_connection",
        {"client_id": "\ud800ü", "region": OLD, "found": False},
    ),
    (
        events.DeleteConnectionFailed(client_id="a", error="no"),
        "delete_connection_failed",
        {"client_id": "a", "error": "no"},
    ),
    (
        events.Landed(client_id="a", region=NEW, seconds=None),
        "landed",
        {"client_id": "a", "region": NEW, "seconds": None},
    ),
    (events.Progress(**PROGRESS), "progress", PROGRESS),
    (events.SweepAgain(clients=["a"], seconds=0.0), "sweep_again", {"clients": ["a"], "seconds": 0.0}),
    (events.Landing(wave=1, landed=0, late=0), "landing", {"wave": 1, "landed": 0, "late": 0}),
    (events.Landing(wave=1, landed=0, late=2, absent=1), "landing", {"wave": 1, "landed": 0, "late": 2, "absent": 1}),
    (events.Restore(records=HOSTS), "restore", {"records": HOSTS}),
    (events.Restored(change_id=None), "restored", {"change_id": None}),
    (events.Returned(told=2, back=0), "returned", {"told": 2, "back": 0}),
    (events.Interrupted(reason="x"), "interrupted", {"reason": "x"}),
    (events.Unforeseen(error="x", frames=[]), "unforeseen", {"error": "x", "frames": []}),
    (
        events.End(outcome="moved", error=None, records={}),
        "end",
        {"outcome": "moved", "error": None, "records": {}},
    ),
]  # fmt: skip
OLDER = {
    **{f"moved, {name}": entries for name, entries in MOVED.items()},
    **{f"rolled back, {name}": entries for name, entries in old_journals.ROLLED_BACK.items()},
    "paused": old_journals.PAUSED,
    "resumed": old_journals.RESUMED,
}


def line(path: Path, event: events.Event, many: bool) -> bytes:
    with Journal(path) as journal:
        (journal.note if many else journal.write)(event)
    return path.read_bytes()


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(("event", "step", "details"), WRITTEN, ids=[step for _, step, _ in WRITTEN])
def test_step_is_written_as_ever_and_read_again(
    tmp_path: Path, event: events.Event, step: str, details: dict[str, Any], many: bool
) -> None:
    found = line(tmp_path / "journal.jsonl", event, many)

    entry = json.loads(found)
    text = json.dumps({"at": entry["at"], "step": step, **details}, ensure_ascii=False)
    assert found == f"{text}\n".encode(errors="backslashreplace")
    assert events.read(entry) == event


def test_every_step_is_held_to_what_was_written_and_has_a_class_of_its_own() -> None:
    assert {step for _, step, _ in WRITTEN} == set(events.STEPS)
    assert {type(event) for event, _, _ in WRITTEN} == set(events.STEPS.values())
    assert len(events.STEPS) == len(events.Event.__subclasses__())


def test_lines_of_every_client_are_told_by_their_bytes(tmp_path: Path) -> None:
    found = {
        step: events.EVERY_CLIENT.match(line(tmp_path / f"{number}", event, many=True))
        for number, (event, step, _) in enumerate(WRITTEN)
    }

    assert {step for step, match in found.items() if match} == {"delete_connection", "landed"}
    assert all(re.fullmatch(rb"[0-9TZ:.-]+", match[1]) for match in found.values() if match)


@pytest.mark.parametrize("step", events.STEPS)
def test_what_a_newer_release_adds_is_passed_over_and_what_an_older_one_did_not_know_has_its_default(step: str) -> None:
    event, _, details = next(each for each in WRITTEN if each[1] == step)
    needed = [each.name for each in fields(event) if each.default is each.default_factory is MISSING]

    assert events.read({"at": "", "step": step, **details, "mood": "good"}) == event
    assert type(events.read({"step": step, **{key: details[key] for key in needed}})) is type(event)
    for key in needed:
        with pytest.raises(DamagedError, match=rf"^no {key} in the step {step}$"):
            events.read({"step": step, **details, key: {"no": b"type of JSON"}})
        with pytest.raises(DamagedError, match=rf"^no {key} in the step {step}$"):
            events.read({"step": step, **{name: value for name, value in details.items() if name != key}})


@pytest.mark.parametrize(
    ("step", "details"),
    [
        ("plan", {"plan": {MOVING: {"from": OLD}}}),
        ("plan", {"plan": {MOVING: {"from": OLD, "to": None}}}),
        ("plan", {"plan": [MOVING]}),
        ("plan", {"plan": PLAN, "misplaced": True}),
        ("plan", {"plan": PLAN, "misplaced": 1.5}),
        ("plan", {"plan": PLAN, "targets": {OLD: 1}}),
        ("start", {"rollback": 1}),
        ("start", {"desired": None}),
        ("preflight", {"findings": [{"check": "x"}]}),
        ("preflight", {"findings": ["x"]}),
        ("dns", {"stale": [{"server": 1}]}),
        ("dns_waiting", {"stale": [], "left": "1"}),
        ("sweep_again", {"clients": "a"}),
        ("end", {"outcome": "moved", "error": 1}),
    ],
)
def test_damaged_entry_is_one_error(step: str, details: dict[str, Any]) -> None:
    with pytest.raises(DamagedError, match=rf"^no \w+ in the step {step}$") as damaged:
        events.read({"step": step, **details})
    assert damaged.value.step == step


def test_step_that_is_not_known_is_none() -> None:
    assert [events.read(entry) for entry in ({"step": "teleport"}, {"step": ["plan"]}, {})] == [None, None, None]


def folder(reports: Path, entries: list[dict[str, Any]], name: str = old_journals.RUN) -> Path:
    return run_folder.write_journal(reports / name, old_journals.written(entries))


@pytest.mark.parametrize("entries", OLDER.values(), ids=list(OLDER))
def test_history_reads_journals_of_older_releases(tmp_path: Path, entries: list[dict[str, Any]]) -> None:
    run = folder(tmp_path, entries)

    found = history.previous_records(tmp_path)

    assert (found.run_id, found.before, found.after, found.notes) == (run.name, BEFORE, AFTER, [])
    unfinished = entries[-1]["step"] != "end"
    assert history.interrupted(tmp_path, AFTER, 0.0) == (run if unfinished else None)
    assert history.next_number(tmp_path) == entries[0].get("number", 0) + 1
    if unfinished:
        folder(tmp_path, entries[:-1])
        assert history.interrupted(tmp_path, AFTER, 0.0) == run


@pytest.mark.parametrize("entries", OLDER.values(), ids=list(OLDER))
def test_report_reads_journals_of_older_releases(tmp_path: Path, entries: list[dict[str, Any]]) -> None:
    run = folder(tmp_path, entries)
    run_folder.write_roster(run, ["a", "b"])

    found = report_run.read(run)

    assert [note.partition(",")[0] for note in found.notes] == ([] if found.ended else ["The run was killed"])
    assert found.summary["outcome"] == (entries[-1].get("outcome") or "killed")
    assert found.summary["mode"] == "3"
    assert found.summary["plan"] == PLAN
    assert found.switch
    assert len(found.events) > 3
    steps = [each["step"] for each in entries]
    assert len(found.waves) == steps.count("sweep")
    assert found.checked == ("preflight" in steps)
    assert all(wave.end is not None for wave in found.waves)
    summary = run_folder.write_summary(run, "moved")
    del summary["by"]
    (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    assert report_run.read(run).summary == summary or not found.ended
    report.write(run)
    assert (run / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("entries", OLDER.values(), ids=list(OLDER))
def test_progress_reads_journals_of_older_releases(tmp_path: Path, entries: list[dict[str, Any]]) -> None:
    from move_progress import Progress, new_entries

    run = folder(tmp_path, entries)
    progress = Progress()

    said = [progress.apply(entry, 0.0) for entry, _ in new_entries(run / "journal.jsonl", 0)]

    assert f"plan: {MOVING} {OLD} -> {NEW}; 2 misplaced clients" in said
    assert "records: changed and INSYNC" in said
    assert progress.outcome == entries[-1].get("outcome", "")


@pytest.mark.parametrize("entries", OLDER.values(), ids=list(OLDER))
def test_live_view_reads_journals_of_older_releases(tmp_path: Path, entries: list[dict[str, Any]]) -> None:
    folder(tmp_path, entries)

    move = JournalFollower(tmp_path).read()

    assert move
    assert (move.mode, move.routes, move.total) == ("3", [(MOVING, OLD, NEW)], 2)
    assert move.outcome == entries[-1].get("outcome", "")
    assert move.last_at - move.started_at <= len(entries)


def test_reader_starts_without_anything_heavy() -> None:
    """Every playbook loads the callback, which reads events."""
    script = "import sys, region_switch.record.events; print({each.partition('.')[0] for each in sys.modules})"
    environment = {"PYTHONPATH": str(REPOSITORY / "module_utils"), "PATH": ""}
    done = subprocess.run([sys.executable, "-S", "-c", script], env=environment, capture_output=True, text=True)

    assert done.stderr == ""
    assert not {"ansible", "boto3", "botocore", "cryptography", "dns", "sqlite3", "asyncio", "ssl"} & set(
        re.findall(r"'(\w+)'", done.stdout)
    )
