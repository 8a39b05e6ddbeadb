"""The live view: what it knows of a fleet and a move, and what a frame shows of that."""

from __future__ import annotations

import io
import json
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.screen import Screen

from mqtt_monitor import watch_state
from mqtt_monitor.ledger import Arrival, Ledger
from mqtt_monitor.watch import summary
from mqtt_monitor.watch_state import Change, Fleet, JournalFollower, LedgerFollower, Message, Move, Region
from mqtt_monitor.watch_view import View, age, change_text, interesting, sparkline, stages

OLD, NEW = "us-east-1", "ap-northeast-1"
NOW = 1_700_000_000.0
ROUTES = {
    "mqtt1.example.com": {"from": OLD, "to": NEW},
    "mqtt2.example.com": {"from": OLD, "to": NEW},
    "mqtt3.example.com": {"from": NEW, "to": NEW},
}


def fleet(*messages: Message) -> tuple[Fleet, list[Change]]:
    found = Fleet({OLD: Region(), NEW: Region()})
    return found, found.take(messages)


def said(client: int, sequence: int, at: float, region: str = OLD) -> Message:
    return Message(f"client_{client:02}", sequence, region, NOW + at)


def many(clients: int) -> tuple[Fleet, list[Change]]:
    """Each said something a second ago; one in ten has moved."""
    return fleet(
        *(said(number, 1, -2.0) for number in range(clients)),
        *(said(number, 2, -1.0, OLD if number % 10 else NEW) for number in range(clients)),
    )


def journal(*steps: dict[str, Any]) -> Move:
    move = Move("run")
    for number, step in enumerate(steps):
        move.apply({"at": f"2026-11-23T22:00:{number:02}.000Z", **step})
    return move


START = {"step": "start", "mode": "3"}
PLAN = {"step": "plan", "plan": ROUTES, "misplaced": 100}
SWEEP = {"step": "progress", "phase": "sweep", "done": 40, "total": 100, "rate": 99.6, "eta": 1.2, "landed": 30,
         "stragglers": 70}  # fmt: skip


def frame(view: View, width: int, height: int) -> list[str]:
    console = Console(file=(shown := io.StringIO()), width=width, height=height, force_terminal=True, color_system=None)
    console.print(Screen(view), end="")
    return shown.getvalue().split("\n")


def view_of(found: Fleet, changes: Sequence[Change] = (), move: Move | None = None, **more: Any) -> View:
    return View(found, move, changes=tuple(changes), now=NOW, **more)


def test_change_of_region_is_told_with_its_gap() -> None:
    found, changes = fleet(said(1, 1, -3), said(2, 1, -2.9), said(1, 2, -1.5, NEW))

    assert changes == [Change("client_01", OLD, NEW, NOW - 1.5, 1.5)]
    assert found.clients["client_01"].before == OLD
    assert found.by_region() == {OLD: 1, NEW: 1}


@pytest.mark.parametrize(
    ("messages", "condition"),
    [
        ([said(1, 1, -1)], ""),
        ([said(1, 1, -4)], ""),
        ([said(1, 1, -6)], "dark"),
        ([said(1, 1, -3), said(1, 2, -2, NEW)], "moving"),
        ([said(1, 1, -9), said(1, 2, -7, NEW), said(1, 3, -0.5, NEW)], ""),
        ([said(1, 1, -3), said(1, 2, -2, NEW), said(1, 3, -1)], "both"),
        # One that says something every minute is not dark after ten seconds.
        ([said(1, number, 60 * number - 610) for number in range(1, 11)], ""),
    ],
)
def test_condition_of_a_client(messages: list[Message], condition: str) -> None:
    found, _ = fleet(*messages)

    assert found.clients["client_01"].condition(NOW) == condition


def test_rate_and_history_are_of_whole_seconds() -> None:
    found, _ = fleet(*(said(1, number, -3 + number / 10) for number in range(30)))

    assert found.regions[OLD].rate(NOW) == 10.0
    assert found.regions[OLD].history(NOW, 4) == [0, 10, 10, 10]
    assert found.regions[NEW].rate(NOW) == 0.0


def test_memory_of_a_region_is_bounded() -> None:
    found, _ = fleet(*(said(1, number, number) for number in range(10_000)))

    assert len(found.regions[OLD].seconds) <= 2 * watch_state.PAST
    assert len(found.regions[OLD].newest) == watch_state.NEWEST


def test_move_is_followed_from_the_journal() -> None:
    assert journal(START).stage == "plan"
    move = journal(START, PLAN, {"step": "switch"}, {"step": "switched"}, {"step": "insync"})
    assert (move.mode, move.stage, move.total) == ("3", "DNS", 100)
    assert move.routes == [("mqtt1.example.com", OLD, NEW), ("mqtt2.example.com", OLD, NEW)]
    stale = [{"server": "ns2"}, {"server": "ns1"}, {"server": "ns1"}]
    assert "ns1, ns2 still answers" in journal({"step": "dns_waiting", "stale": stale, "left": 7.4}).note
    move = journal(START, PLAN, SWEEP)
    assert (move.stage, move.done, move.total, move.landed, move.stragglers) == ("sweep", 40, 100, 30, 70)
    assert journal(START, PLAN, SWEEP, {**SWEEP, "phase": "landing", "eta": None}).stage == "landing"
    ended = journal(START, PLAN, {"step": "end", "outcome": "partial", "error": "two clients"})
    assert (ended.outcome, ended.error, ended.last_at - ended.started_at) == ("partial", "two clients", 2.0)
    assert journal(START, PLAN, {"step": "restore"}).stage == "restore"
    assert journal(START, {"step": "teleport"}).stage == "plan"


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 60)])
@pytest.mark.parametrize("clients", [0, 1, 2, 3000])
def test_frame_fills_its_terminal_exactly(width: int, height: int, clients: int) -> None:
    found, changes = many(clients)
    described = {f"client_{number:02}": "awsiotsdk mqtt1.example.com" for number in range(clients)}
    lines = frame(view_of(found, changes, journal(START, PLAN, SWEEP), described=described), width, height)

    assert len(lines) == height
    assert {len(line) for line in lines} == {width}


def test_frame_of_two_clients_at_80_by_24() -> None:
    found, changes = fleet(said(1, 7, -2), said(2, 8, -1), said(1, 9, -0.4, NEW))
    described = {"client_01": "awsiotsdk mqtt1.example.com", "client_02": "paho mqtt2.example.com"}
    text = "\n".join(frame(view_of(found, changes, journal(START, PLAN, SWEEP), described=described), 80, 24))

    for part in (
        " 2 clients ",
        "1 moving",
        "1 us-east-1 · 1 ap-northeast-1",
        "awsiotsdk mqtt1.example.com gap 1.60 s",
        "paho mqtt2.example.com",
        "#9 0.4s",
        "client_01 #9 ",
        "move to mode 3",
        "✓ switch  ✓ DNS  ▶ sweep",
        "40 of 100, 100/s, 1 s left, 30 landed, 70 stragglers",
        "client_01: us-east-1 → ap-northeast-1, gap 1.60 s",
        "us-east-1 → ap-northeast-1: mqtt1.example.com, mqtt2.example.com",
    ):
        assert part in text, part


def test_wide_frame_has_a_column_that_says_what_a_client_is() -> None:
    found, _ = fleet(said(1, 7, -1))
    lines = frame(view_of(found, described={"client_01": "awsiotsdk mqtt1.example.com"}), 140, 40)

    assert any("client_01  awsiotsdk mqtt1.example.com" in line and OLD in line for line in lines)


def test_many_clients_are_counted_and_the_interesting_ones_shown() -> None:
    found, changes = many(3000)
    found.take([said(5, 3, -0.5, NEW), said(5, 4, -0.4), Message("quiet", 1, OLD, NOW - 60)])
    lines = frame(view_of(found, changes), 80, 24)
    text = "\n".join(lines)

    assert "3,001 clients" in text
    assert "300 moving" in text
    assert "1 in both regions" in text
    assert "client_05" in lines[3]
    assert "quiet" in lines[4]
    assert "client_00" in lines[5]
    assert "2,987 more" in text


def test_place_of_a_client_does_not_depend_on_its_condition_while_there_is_room() -> None:
    found, _ = fleet(said(1, 1, -1), said(2, 1, -3), said(2, 2, -1, NEW))

    assert interesting(found, found.conditions(NOW), 10) == ["client_01", "client_02"]
    assert interesting(found, found.conditions(NOW), 1) == ["client_02"]
    assert interesting(found, found.conditions(NOW), 0) == []


def test_frame_says_why_there_is_nothing() -> None:
    found, _ = fleet()
    text = "\n".join(frame(view_of(found), 80, 24))
    assert "no message has arrived yet" in text
    assert "no move yet" in text
    assert "there is no ledger" in "\n".join(frame(view_of(found, problem="there is no ledger /x"), 80, 24))
    found.regions[NEW].live = False
    assert "the monitor is not subscribed" in "\n".join(frame(view_of(found), 80, 24))


def test_frame_of_a_move_that_has_ended() -> None:
    found, changes = many(2)
    moved = journal(
        START, PLAN, {**SWEEP, "done": 100, "landed": 100, "stragglers": 0}, {"step": "end", "outcome": "moved"}
    )
    text = "\n".join(frame(view_of(found, changes, moved), 80, 24))
    assert "moved, 3.0 s" in text
    assert "100 of 100, 100 landed, 0 stragglers" in text
    failed = journal(START, {"step": "end", "outcome": "refused", "error": "zone: found none"})
    text = "\n".join(frame(view_of(found, changes, failed), 80, 24))
    assert "refused, 1.0 s" in text
    assert "zone: found none" in text


def test_regions_that_there_is_no_room_for_are_the_quiet_ones() -> None:
    found = Fleet({f"region-{number}": Region() for number in range(9)})
    found.take([Message("a", 1, "region-7", NOW - 2)])
    text = "\n".join(frame(view_of(found), 80, 24))

    assert "region-7" in text
    assert "region-8" not in text


def test_what_a_terminal_would_obey_is_not_shown() -> None:
    found, changes = fleet(Message("a\x1b[31m\n\tb", 1, OLD, NOW - 1), Message("a\x1b[31m\n\tb", 2, NEW, NOW))
    view = view_of(found, changes, journal({"step": "start", "mode": "\x1b]0;x\x07"}))
    shown = "\n".join(frame(view, 80, 24))

    assert "\x1b[31m" not in shown
    assert "\x1b]" not in shown
    assert "\x1b" not in summary(view)


# What a terminal obeys: ESC, BEL, backspace, DEL, ends of lines, C1's CSI, right-to-left override and isolate.
OBEYED = "\x1b[2J\x07\x08\x7f\r\n\x9b2J\u202e\u2066\u2028"


@pytest.mark.parametrize("outcome", ["", OBEYED])
@pytest.mark.parametrize("problem", ["", OBEYED])
@pytest.mark.parametrize("clients", [1, 3, 30])
def test_nothing_of_what_is_shown_is_obeyed(outcome: str, problem: str, clients: int) -> None:
    name, old, new = f"client{OBEYED}", f"old{OBEYED}", f"new{OBEYED}"
    found, changes = fleet(Message(name, 1, old, NOW - 1), *(said(number, 1, -1) for number in range(1, clients)))
    changes += found.take([Message(name, 2, new, NOW)])
    found.regions[old].live = False
    entries: list[dict[str, Any]] = [
        {"step": "start", "mode": OBEYED},
        {"step": "plan", "plan": {OBEYED: {"from": old, "to": new}}, "misplaced": 3},
        {"step": "dns_waiting", "stale": [{"server": OBEYED}], "left": 1},
        {"step": "interrupted", "reason": OBEYED},
        {"step": f"restore{OBEYED}"},
    ]
    entries += [{"step": "end", "outcome": outcome, "error": OBEYED}] if outcome else []
    for number in range(1, len(entries) + 1):
        view = view_of(found, changes, journal(*entries[:number]), described={name: OBEYED}, problem=problem)
        # Of the frame's own: where the cursor goes and when it is seen.
        shown = re.sub(r"\x1b\[[0-9;?]*[Hhlm]", "", "".join(frame(view, 120, 40)))
        assert shown.isprintable()
        assert summary(view).isprintable()
        assert all(change_text(change).plain.isprintable() for change in changes)


def test_markup_of_a_client_id_is_text() -> None:
    found, _ = fleet(Message("[bold]x[/]", 1, OLD, NOW - 1))

    assert "[bold]x[/]" in "\n".join(frame(view_of(found), 80, 24))


def test_summary_is_one_line() -> None:
    found, _ = many(30)
    found.regions[NEW].live = False
    line = summary(view_of(found, (), journal(START, PLAN, SWEEP)))

    assert "us-east-1 27 clients, " in line
    assert "ap-northeast-1 3 clients, 1.0 messages/s (monitor not subscribed)" in line
    assert "3 moving" in line
    assert line.endswith("move to mode 3: sweep 40 of 100, 30 landed")
    assert summary(view_of(found, problem="no ledger")).endswith(" no ledger")
    ended = journal(START, {"step": "end", "outcome": "failed", "error": "AWS"})
    assert summary(view_of(found, (), ended)).endswith("move to mode 3: failed: AWS")


def test_sparkline_and_age() -> None:
    assert sparkline([]) == ""
    assert sparkline([0, 1, 4, 8]) == " ▁▄█"
    assert sparkline([0, 1, 1000]) == " ▁█"
    assert [age(seconds) for seconds in (-1, 0.34, 12.3, 300, 7200)] == ["0.0s", "0.3s", "12s", "5m", "2h"]


def test_stage_that_has_no_place_is_named() -> None:
    assert stages("restore").plain == "restore"
    assert stages("").plain == "beginning"
    assert stages("plan").plain.startswith("▶ plan")


def write(path: Path, *sequences: int, at: float = NOW) -> None:
    ledger = Ledger(path)
    ledger.add([Arrival("client_01", "ab12", number, OLD, at, at) for number in sequences])
    ledger.set_subscription(OLD, at)
    ledger.set_subscription(NEW, None)
    ledger.close()


def test_ledger_is_followed_from_before_it_exists(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    follower = LedgerFollower(path)
    with pytest.raises(OSError, match="there is no ledger"):
        follower.read(NOW)
    sqlite3.connect(path).close()
    with pytest.raises(OSError, match="no such table"):
        follower.read(NOW)
    write(path, 1, 2)
    messages, live = follower.read(NOW)
    assert [message.sequence for message in messages] == [1, 2]
    assert live == {OLD: True, NEW: False}
    assert follower.read(NOW)[0] == []
    write(path, 3)
    assert [message.sequence for message in follower.read(NOW)[0]] == [3]
    # Another one in its place.
    path.unlink()
    write(path, 1)
    assert [message.sequence for message in follower.read(NOW)[0]] == [1]


def test_ledger_is_read_from_the_recent_past_and_in_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_state, "ROWS", 2)
    path = tmp_path / "ledger"
    write(path, 1, 2, at=NOW - 1000)
    follower = LedgerFollower(path)
    assert follower.read(NOW)[0] == []
    write(path, 3, 4, 5)
    assert [message.sequence for message in follower.read(NOW)[0]] == [3, 4]
    assert [message.sequence for message in follower.read(NOW)[0]] == [5]


def test_file_that_is_no_ledger_is_said(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(b"this is no database at all" * 40)
    with pytest.raises(OSError, match="file is not a database"):
        LedgerFollower(path).read(NOW)


def run(reports: Path, name: str, *entries: dict[str, Any]) -> Path:
    (reports / name).mkdir(parents=True, exist_ok=True)
    path = reports / name / "journal.jsonl"
    with path.open("a") as lines:
        lines.writelines(json.dumps({"at": "2026-11-23T22:00:00.000Z", **entry}) + "\n" for entry in entries)
    return path


def test_newest_run_is_followed_and_then_the_next(tmp_path: Path) -> None:
    follower = JournalFollower(tmp_path / "reports")
    assert follower.read() is None
    path = run(tmp_path / "reports", "20261123T220000Z-mode1-aaaa", {"step": "start", "mode": "1"})
    (tmp_path / "reports" / "latest").symlink_to(path.parent.name)
    move = follower.read()
    assert move is not None
    assert (move.mode, move.outcome) == ("1", "")
    with path.open("a") as lines:
        lines.write('{"at": "2026-11-23T22:00:00.000Z", "step": "delete_connection", this is not read\n[1]\nno\n')
        lines.write('{"step": "end", "outcome": "mo')
    assert follower.read() is move
    assert move.outcome == ""
    with path.open("a") as lines:
        lines.write('ved"}\n{"step": "progress", "done": null}\n')
    follower.read()
    assert move.outcome == "moved"
    run(tmp_path / "reports", "20261123T230000Z-mode3-bbbb", START)
    assert (found := follower.read()) is not None
    assert (found.mode, found.outcome) == ("3", "")


def test_no_reports_no_move() -> None:
    assert JournalFollower(None).read() is None
