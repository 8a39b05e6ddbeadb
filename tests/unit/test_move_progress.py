"""What a move's journal is shown as while the move goes on."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import move_progress
from move_progress import Progress, Terminal, Watcher, new_entries

MOVES = {
    "mqtt1.example.com": {"from": "us-east-1", "to": "ap-northeast-1"},
    "mqtt2.example.com": {"from": "us-east-1", "to": "us-east-1"},
}


def entry(step: str, **details: Any) -> dict[str, Any]:
    return {"at": "2026-11-23T22:00:00.000Z", "step": step, **details}


def test_plan_names_what_moves_and_how_many_clients_are_elsewhere() -> None:
    line = Progress().apply(entry("plan", plan=MOVES, misplaced=7), now=0.0)

    assert line == "plan: mqtt1.example.com us-east-1 -> ap-northeast-1; 7 misplaced clients"


def test_servers_that_never_answered_right_are_not_said_to_be_as_wanted() -> None:
    stale = [{"server": "192.0.2.53", "name": name, "answer": "x"} for name in ("mqtt1", "mqtt2")]

    line = Progress().apply(entry("dns", servers=["ns-1", "192.0.2.53"], stale=stale), now=0.0)

    assert line == "DNS: correct on ns-1; never on 192.0.2.53, and the move continues anyway"
    assert Progress().apply(entry("dns", servers=["ns-1"], stale=[]), now=0.0) == "DNS: correct on ns-1"
    assert Progress().apply(entry("skipped", region="r", gone=True), now=0.0) == "skipped: r is not asked"


def test_one_client_and_one_finding_are_singular() -> None:
    finding = {"check": "ttl", "blocking": True}

    assert Progress().apply(entry("sweep", wave=1, waves=1, clients=1), now=0.0) == "sweep: 1 client"
    assert Progress().apply(entry("preflight", findings=[finding], waived=[]), now=0.0) == (
        "preflight: 1 finding, 1 blocking"
    )


def progress_entry(phase: str, done: int, eta: float | None) -> dict[str, Any]:
    return entry("progress", phase=phase, done=done, total=1000, rate=99.6, eta=eta, landed=150, stragglers=50)


def test_sweep_shows_count_rate_time_left_landed_and_stragglers() -> None:
    progress = Progress()
    line = progress.apply(entry("sweep", wave=2, waves=3, clients=1000), now=100.0)
    progress.apply(progress_entry("sweep", 200, eta=8.0), now=102.0)

    assert line == "sweep: 1000 clients (wave 2 of 3)"
    assert progress.status(now=102.0) == (
        "disconnecting clients: 200 of 1000, 100 per second, 8 s left; 150 landed, 50 stragglers"
    )


def test_landing_shows_count_landed_and_stragglers() -> None:
    progress = Progress()
    progress.apply(progress_entry("landing", 150, eta=None), now=107.0)

    assert progress.status(now=107.0) == (
        "waiting until every client has landed: 150 of 1000; 150 landed, 50 stragglers"
    )


def test_way_back_is_told_apart_from_the_sweep() -> None:
    progress = Progress()
    assert progress.apply(entry("restored", change_id="C2"), now=100.0) == "restore: the records are restored"
    assert progress.apply(entry("sweep", wave=1, waves=1, clients=20), now=101.0) == "restore: 20 clients to disconnect"
    progress.apply(progress_entry("sweep", 200, eta=8.0), now=102.0)
    assert progress.status(now=102.0).startswith("sending clients back: 200 of 1000")
    line = progress.apply(entry("landing", wave=1, landed=19, late=1), now=103.0)
    assert line == "restore: 19 of the disconnected clients are back, 1 not yet"
    line = progress.apply(entry("returned", told=21, back=20), now=104.0)
    assert line == "restore: 20 of 21 clients were seen back"


def test_dns_gate_shows_who_is_stale_and_for_how_long_more() -> None:
    progress = Progress()
    progress.apply(entry("insync"), now=100.0)
    stale = [
        {"server": "ns1", "name": "mqtt1.example.com", "answer": "old", "seconds": None},
        {"server": "192.0.2.53", "name": "mqtt1.example.com", "answer": "old", "seconds": 12.4},
        {"server": "192.0.2.53", "name": "mqtt2.example.com", "answer": "old", "seconds": 29.9},
    ]
    progress.apply(entry("dns_waiting", stale=stale, left=287.2), now=101.0)

    assert progress.status(now=101.0) == (
        "waiting until every name server and resolver answers the new region: ns1 still answers the old region, "
        "192.0.2.53 still answers the old region for 30 s; 287 s left at most"
    )
    many = [{**stale[0], "server": f"ns{number}"} for number in range(50)]
    progress.apply(entry("dns_waiting", stale=many, left=1.0), now=101.0)
    assert "ns3 still" in progress.status(now=101.0)
    assert "46 more" in progress.status(now=101.0)


def test_phase_that_counts_nothing_says_for_how_long() -> None:
    progress = Progress()
    progress.apply(entry("switched", change_id="C1"), now=100.0)

    assert progress.status(now=107.0) == "waiting until Route 53's servers have the change, for 7 s"


def test_region_that_is_skipped_is_told_with_the_reason() -> None:
    reason = "DescribeEndpoint in us-east-1: found NoAnswer (timed out), expected success: check network"

    line = Progress().apply(entry("skipped", region="us-east-1", reason=reason), now=0.0)

    assert line == (
        "skipped: us-east-1 does not answer: DescribeEndpoint in us-east-1: found NoAnswer (timed out)"
    )  # fmt: skip


def test_step_of_a_newer_version_is_passed_over() -> None:
    assert Progress().apply(entry("teleport", clients=3), now=0.0) is None


def test_line_that_is_being_written_waits(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_text('{"step": "start"}\n{"step": "pl')
    [(first, offset)] = new_entries(journal, 0)

    assert first == {"step": "start"}
    journal.write_text('{"step": "start"}\n{"step": "plan"}\n')
    assert [found for found, _ in new_entries(journal, offset)] == [{"step": "plan"}]


def test_lines_of_single_clients_and_damaged_ones_are_passed_over(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    told = '{"at": "2026-11-23T22:00:00.000Z", "step": "delete_connection", "client_id": this is not read}'
    journal.write_text(f"{told}\n" * 3 + '[1]\n"x"\nno\n' + json.dumps(entry("end")) + "\n")

    assert [found["step"] for found, _ in new_entries(journal, 0) if found] == ["end"]


def begin(folder: Path, *entries: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    journal = folder / "journal.jsonl"
    with journal.open("a") as stream:
        stream.writelines(json.dumps(each) + "\n" for each in entries)
    return journal


class Said:
    """What a watcher said; `wait` returns when it has said a text."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._heard = threading.Condition()

    def __call__(self, line: str) -> None:
        with self._heard:
            self.lines.append(line)
            self._heard.notify_all()

    def wait(self, text: str) -> None:
        with self._heard:
            assert self._heard.wait_for(lambda: any(text in line for line in self.lines), 30), self.lines


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    monkeypatch.setattr(move_progress, "INTERVAL", 0.0)
    return Said()


def test_watcher_follows_the_run_that_begins_and_says_that_it_goes_on(tmp_path: Path, said: Said) -> None:
    begin(tmp_path / "earlier", entry("sweep", clients=99))

    watcher = Watcher(tmp_path, said)
    begin(tmp_path / "run", entry("sweep", clients=3))
    said.wait("disconnecting clients, for")
    watcher.stop()

    assert said.lines[0] == "    sweep: 3 clients"
    assert not any("99" in line for line in said.lines)


def test_watcher_follows_a_run_that_goes_on_from_where_it_is(tmp_path: Path, said: Said) -> None:
    begin(tmp_path / "run", entry("sweep", clients=99))

    watcher = Watcher(tmp_path, said, run_id="run")
    begin(tmp_path / "run", entry("sweep", clients=3))
    said.wait("sweep: 3 clients")
    watcher.stop()

    assert not any("99" in line for line in said.lines)


def test_run_of_somebody_else_is_not_followed(tmp_path: Path, said: Said) -> None:
    lock = tmp_path / ".lock"
    lock.write_text(json.dumps({"started_by": os.getppid()}))

    watcher = Watcher(tmp_path, said)
    begin(tmp_path / "theirs", entry("sweep", clients=99))
    watcher.stop()
    assert said.lines == []

    watcher = Watcher(tmp_path, said)
    lock.write_text(json.dumps({"started_by": os.getpid()}))
    begin(tmp_path / "ours", entry("sweep", clients=3))
    said.wait("sweep: 3 clients")
    watcher.stop()


def test_journal_of_another_version_is_shown_as_far_as_it_is_understood(tmp_path: Path, said: Said) -> None:
    watcher = Watcher(tmp_path, said)
    begin(tmp_path / "run", entry("sweep"), entry("progress", phase="x"), entry("plan", plan=[]), entry("restored"))
    said.wait("the records are restored")
    watcher.stop()


def test_interrupted_run_is_waited_for_until_its_report_is_there(tmp_path: Path, said: Said) -> None:
    watcher = Watcher(tmp_path, said)
    begin(tmp_path / "run", entry("sweep", clients=3))
    said.wait("sweep: 3 clients")

    def finish() -> None:
        begin(tmp_path / "run", entry("interrupted", reason="told to"), entry("end", outcome="partial", error="x"))
        said.wait("interrupted: told to")
        (tmp_path / "run" / "summary.json").write_text("{}")

    run = threading.Thread(target=finish)
    run.start()
    watcher.interrupted(30)
    run.join()

    assert (tmp_path / "run" / "summary.json").exists()
    assert said.lines[-2:] == ["    outcome: partial", f"    report: {tmp_path / 'run'}"]


def test_interrupted_run_without_a_report_is_not_waited_for_for_ever(tmp_path: Path, said: Said) -> None:
    watcher = Watcher(tmp_path, said)
    begin(tmp_path / "run", entry("sweep", clients=3))
    said.wait("sweep: 3 clients")

    watcher.interrupted(0)

    assert said.lines[-1].startswith("    no report after 0 s")


class Screen(io.StringIO):
    """A terminal that remembers what is written to it."""

    def isatty(self) -> bool:
        return True


def visible(written: str) -> list[str]:
    """The lines that a terminal shows in the end: carriage returns, cursor up, and lines that are erased."""
    lines, row = [""], 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\n|\r|[^\x1b\n\r]+", written):
        if token == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif token.endswith("A") and token.startswith("\x1b"):
            row -= int(token[2:-1] or 1)
        elif token == "\x1b[2K":
            lines[row] = ""
        elif token != "\r" and not token.startswith("\x1b"):
            lines[row] += token
    return [line.rstrip() for line in lines]


def test_what_would_steer_the_terminal_is_shown_as_an_escape(
    tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = [{"server": "[red]\x1b]0;ns1\x07\u202e", "seconds": None}]
    watcher = Watcher(tmp_path, said)
    begin(tmp_path / "run", entry("skipped", region="\x9b2J"), entry("dns_waiting", stale=stale, left=1.0))
    said.wait(r"[red]\x1b]0;ns1\x07\u202e still answers")
    watcher.stop()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", screen := Screen())
    progress = Progress()
    progress.apply(entry("dns_waiting", stale=stale, left=1.0), now=0.0)

    terminal = Terminal(threading.RLock())
    terminal.show(progress, now=0.0)
    terminal.close()

    assert said.lines[0] == r"    skipped: \x9b2J does not answer"
    shown = screen.getvalue()
    assert r"[red]\x1b]0;ns1\x07\u202e" in shown
    assert not any(steering in shown for steering in ("\x1b]", "\x07", "\u202e"))


def test_bar_gives_way_to_what_ansible_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    progress = Progress("disconnecting clients", "200 of 1000", 200, 1000)
    terminal = Terminal(threading.RLock())

    terminal.show(progress, now=0.0)
    assert "disconnecting clients" in screen.getvalue()
    sys.stdout.write("changed: [localhost]\n")
    terminal.show(progress, now=0.0)
    sys.stderr.write("[WARNING]: half a ")
    terminal.show(progress, now=0.0)
    sys.stderr.write("line\n")
    terminal.show(progress, now=0.0)
    terminal.close()
    sys.stdout.write("PLAY RECAP\n")

    assert sys.stdout is screen
    assert [line for line in visible(screen.getvalue()) if line] == [
        "changed: [localhost]",
        "[WARNING]: half a line",
        "PLAY RECAP",
    ]
