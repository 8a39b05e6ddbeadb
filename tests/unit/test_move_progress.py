"""What a move's journal is shown as while the move goes on."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

import move_progress
from move_progress import Progress, Watcher, new_entries

MOVES = {
    "mqtt1.example.com": {"from": "us-east-1", "to": "ap-northeast-1"},
    "mqtt2.example.com": {"from": "us-east-1", "to": "us-east-1"},
}


def entry(step: str, **details: Any) -> dict[str, Any]:
    return {"at": "2026-11-23T22:00:00.000Z", "step": step, **details}


def test_plan_names_what_moves_and_how_many_clients_are_elsewhere() -> None:
    line = Progress().apply(entry("plan", plan=MOVES, misplaced=7), now=0.0)

    assert line == "plan: mqtt1.example.com us-east-1 -> ap-northeast-1; 7 clients are elsewhere"


def test_sweep_shows_count_rate_and_time_left() -> None:
    progress = Progress()
    progress.apply(entry("sweep", clients=1000), now=100.0)
    for _ in range(200):
        progress.apply(entry("delete_connection", client_id="a", found=True), now=101.0)

    assert progress.status(now=102.0) == "disconnecting clients: 200 of 1000, 100 per second, 8 s left"


def test_after_the_last_disconnect_landing_is_waited_for() -> None:
    progress = Progress()
    progress.apply(entry("sweep", clients=1), now=100.0)
    progress.apply(entry("delete_connection", client_id="a", found=True), now=101.0)

    assert progress.status(now=107.0) == "waiting until every client is seen where it belongs, for 6 s"


def test_step_of_a_newer_version_is_passed_over() -> None:
    assert Progress().apply(entry("teleport", clients=3), now=0.0) is None


def test_line_that_is_being_written_waits(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_text('{"step": "start"}\n{"step": "pl')
    [(first, offset)] = new_entries(journal, 0)

    assert first == {"step": "start"}
    journal.write_text('{"step": "start"}\n{"step": "plan"}\n')
    assert [found for found, _ in new_entries(journal, offset)] == [{"step": "plan"}]


def test_watcher_follows_the_run_that_begins_and_says_that_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(move_progress, "INTERVAL", 0.0)
    (tmp_path / "earlier").mkdir()
    (tmp_path / "earlier" / "journal.jsonl").write_text(json.dumps(entry("sweep", clients=99)) + "\n")
    said: list[str] = []
    heard = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        if "disconnecting clients, for" in line:
            heard.set()

    watcher = Watcher(tmp_path, say)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "journal.jsonl").write_text(json.dumps(entry("sweep", clients=3)) + "\n")

    assert heard.wait(30)
    watcher.stop()
    assert said[0] == "    sweep: 3 clients"
    assert not any("99" in line for line in said)
