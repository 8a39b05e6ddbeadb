"""Waves, passes and proofs, with a fleet in memory."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.region_switch.aws import refusals
from ansible.module_utils.region_switch.fleet.roster import Roster
from ansible.module_utils.region_switch.fleet.source import Connection
from ansible.module_utils.region_switch.model.errors import AwsError, SwitchError
from ansible.module_utils.region_switch.move import landing
from ansible.module_utils.region_switch.move import sweep as engine
from ansible.module_utils.region_switch.move.disconnect import Disconnector
from ansible.module_utils.region_switch.move.landing import Looker
from ansible.module_utils.region_switch.move.runtime import MACHINE, Runtime
from ansible.module_utils.region_switch.move.sweep import (
    Guard,
    Limits,
    Sweep,
    UnprovenError,
    WaveError,
    Witness,
)
from ansible.module_utils.region_switch.move.way import Way
from ansible.module_utils.region_switch.record.journal import Journal

from .fakes import aws_error
from .simulated import NEW, OLD, Fleet

ENDPOINT = "mqtt1.example.com"
RATE = 2000.0
# A landing timeout that some clients are meant to miss, and the others not on a busy machine either.
SHORT = 2.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time that AWS and devices need is short here."""
    monkeypatch.setattr(engine, "FIRST_LOOK", 0.0)
    monkeypatch.setattr(engine, "GUARD_SECONDS", 0.05)
    monkeypatch.setattr(landing, "CLIENT_INTERVAL", 0.02)
    monkeypatch.setattr(landing, "RESOLVER_CACHE", 0.1)
    monkeypatch.setattr(landing, "ASK_AGAIN", 0.2)
    monkeypatch.setattr("ansible.module_utils.region_switch.move.disconnect.CLIENT_INTERVAL", 0.01)


class Alarm(Guard):
    """Finds something at its first look."""

    def __init__(self, problem: str) -> None:
        self._problem = problem

    def look(self, _witness: Witness) -> None:
        raise SwitchError(self._problem)


class Move:
    """A sweep of a fleet in memory, and what it leaves."""

    def __init__(self, folder: Path) -> None:
        self.fleet = Fleet()
        self.roster = Roster(folder / "clients.sqlite")
        self.path = folder / "journal.jsonl"
        self.journal = Journal(self.path)
        self.guard = Guard()
        self.limits = Limits(0.0, 1000, 60.0, 0.0)
        self.runtime = MACHINE
        self.sweep: Sweep

    def clients(self, *names: str) -> None:
        self.fleet.connect(OLD, *names)
        since = self.fleet.connected[OLD]
        self.roster.add([Connection(name, ENDPOINT, OLD, since[name]) for name in names], {ENDPOINT: NEW})

    def run(self, *sizes: int, rate: float = RATE) -> None:
        data: Any = self.fleet.data()
        rates = {OLD: rate, NEW: RATE}
        sweeper = Disconnector(data, rates, {NEW: RATE})
        looker = Looker(data, {OLD: RATE, NEW: RATE})
        self.sweep = Sweep(self.roster, Way(sweeper, looker, 0), self.journal, self.limits, self.guard, self.runtime)
        self.sweep.run(list(sizes) or [self.roster.waiting()])

    def steps(self, name: str) -> list[dict[str, Any]]:
        entries = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [entry for entry in entries if entry["step"] == name]


@pytest.fixture
def move(tmp_path: Path) -> Iterator[Move]:
    made = Move(tmp_path)
    yield made
    made.roster.close()


def test_everyone_lands_and_is_told_once(move: Move) -> None:
    move.clients(*(f"client {number}" for number in range(300)))
    move.run()
    assert move.roster.counts()["landed"] == 300
    assert move.fleet.calls["DeleteConnection"] == 300
    assert set(move.fleet.connected[NEW]) == {f"client {number}" for number in range(300)}
    assert len(move.steps("delete_connection")) == len(move.steps("landed")) == 300


def test_client_ids_of_any_kind_reach_aws_as_they_are(move: Move) -> None:
    names = ("a/b", "with space", "#", "+/x", "\u8a2d\u5099", "%2F", "a" * 128)
    move.clients(*names)
    move.run()
    assert set(move.fleet.connected[NEW]) == set(names)


def test_the_next_wave_begins_when_the_one_before_has_landed(move: Move) -> None:
    move.clients(*(f"c{number}" for number in range(20)))
    move.run(2, 18)
    order = [entry["step"] for entry in map(json.loads, move.path.read_text().splitlines())]
    second = [index for index, step in enumerate(order) if step == "sweep"][1]
    assert order[:second].count("landed") == 2
    assert order[:second].count("delete_connection") == 2


def test_a_wave_that_does_not_land_stops_the_move(move: Move) -> None:
    move.limits = Limits(0.0, 1000, SHORT, 0.0)
    move.fleet.goes_to = lambda _: None
    move.clients(*(f"c{number}" for number in range(20)))
    with pytest.raises(WaveError, match="wave 1: found 2 of 2 clients not landed"):
        move.run(2, 18)
    assert move.fleet.calls["DeleteConnection"] == 2
    assert move.roster.counts()["dark"] == 2


def test_stragglers_that_are_tolerated_do_not_stop_the_next_wave(move: Move) -> None:
    move.limits = Limits(50.0, 1000, SHORT, 0.0)
    move.clients("dark", *(f"c{number}" for number in range(19)))
    move.fleet.goes_to = lambda client_id: None if client_id == "dark" else NEW
    move.run(10, 10)
    counts = move.roster.counts()
    assert (counts["landed"], counts["stragglers"], counts["dark"]) == (19, 1, 1)


def test_one_that_goes_back_is_told_again_until_it_lands(move: Move) -> None:
    move.clients("stubborn", "easy")
    visits: list[str] = []

    def goes_to(client_id: str) -> str:
        visits.append(client_id)
        return OLD if visits.count("stubborn") == 1 and client_id == "stubborn" else NEW

    move.fleet.goes_to = goes_to
    move.run()
    assert set(move.fleet.connected[NEW]) == {"stubborn", "easy"}
    assert move.roster.counts()["bounced"] == 1
    assert [entry["clients"] for entry in move.steps("sweep_again")] == [["stubborn"]]
    assert move.fleet.calls["DeleteConnection"] == 3


def test_a_connection_that_outlives_its_deletion_is_told_again(move: Move) -> None:
    move.clients("ghost")
    since = move.fleet.connected[OLD]["ghost"]
    told: list[str] = []

    def refuse(operation: str, client_id: str) -> Any:
        if operation == "DeleteConnection" and not told:
            told.append(client_id)
            return {}
        return None

    move.fleet.refuse = refuse
    move.run()
    assert since
    assert set(move.fleet.connected[NEW]) == {"ghost"}
    assert move.roster.counts()["bounced"] == 0


def test_failures_are_tried_again_and_do_not_hold_the_others_up(move: Move) -> None:
    move.clients(*(f"c{number}" for number in range(60)))
    failed: set[str] = set()

    def refuse(operation: str, client_id: str) -> Any:
        if operation == "DeleteConnection" and client_id not in failed:
            failed.add(client_id)
            return aws_error("InternalFailureException", 500)
        return None

    move.fleet.refuse = refuse
    move.run()
    assert move.roster.counts()["landed"] == 60
    assert move.fleet.calls["DeleteConnection"] == 120


def test_throttling_is_waited_out_however_often(move: Move) -> None:
    move.clients("a")
    answers = iter([aws_error("ThrottlingException", 429)] * 10)
    move.fleet.refuse = lambda operation, _: next(answers, None) if operation == "DeleteConnection" else None
    move.run()
    assert move.roster.counts()["landed"] == 1
    assert move.sweep.mover.throttled == 10


def test_a_client_that_aws_cannot_disconnect_is_a_straggler_with_its_reason(move: Move) -> None:
    move.limits = Limits(50.0, 1000, SHORT, 0.0)
    move.clients("broken", "fine")

    def refuse(operation: str, client_id: str) -> Any:
        if operation == "DeleteConnection" and client_id == "broken":
            return aws_error("InternalFailureException", 500)
        return None

    move.fleet.refuse = refuse
    move.run()
    assert move.roster.counts()["stragglers"] == 1
    assert [entry["client_id"] for entry in move.steps("delete_connection_failed")] == ["broken"]
    assert set(move.fleet.connected[NEW]) == {"fine"}


def test_a_missing_permission_ends_it(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "SECONDS", 0.0)
    move.clients(*(f"c{number}" for number in range(500)))
    move.fleet.refuse = lambda operation, _: (
        aws_error("ForbiddenException", 403) if operation == "DeleteConnection" else None
    )
    with pytest.raises(AwsError, match="IAM"):
        move.run()
    assert move.fleet.calls["DeleteConnection"] < 500
    assert len(move.fleet.connected[OLD]) == 500


def test_an_api_that_fulfils_nothing_ends_it(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SILENCE", 0.1)
    move.clients(*(f"c{number}" for number in range(50)))
    move.fleet.refuse = lambda operation, _: (
        aws_error("InternalFailureException", 500) if operation == "DeleteConnection" else None
    )
    with pytest.raises(AwsError):
        move.run()


def test_404_for_everyone_is_an_error_unless_they_land(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "VANISHED_GRACE", 0.1)
    move.clients(*"abcdef")
    move.fleet.connected[OLD].clear()
    with pytest.raises(SwitchError, match="found 404 for all 6 clients"):
        move.run()


def test_404_for_everyone_is_fine_where_they_have_landed(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "VANISHED_GRACE", SHORT)
    move.clients("a", "b")
    move.fleet.connected[OLD].clear()
    move.fleet.connect(NEW, "a", "b")
    move.run()
    assert move.roster.counts()["landed"] == 2


def test_nobody_else_is_told_while_the_guard_holds_the_sweep(move: Move) -> None:
    move.limits = Limits(0.0, 1000, SHORT, 0.0)
    move.clients("a")
    move.guard.holding = True
    with pytest.raises(UnprovenError, match="wave 1: found 1 of 1 clients not disconnected, expected 0 % at most"):
        move.run()
    assert "DeleteConnection" not in move.fleet.calls


def test_what_the_guard_finds_ends_it(move: Move) -> None:
    move.guard = Alarm("records changed")
    move.fleet.goes_to = lambda _: None
    move.clients("a")
    with pytest.raises(SwitchError, match="records changed"):
        move.run()


def test_no_more_clients_are_on_their_way_than_allowed(move: Move) -> None:
    move.limits = Limits(0.0, 5, SHORT, 0.0)
    move.fleet.goes_to = lambda _: None
    move.clients(*(f"c{number}" for number in range(50)))
    with pytest.raises(WaveError):
        move.run()
    assert move.fleet.calls["DeleteConnection"] == 5


def test_what_was_told_when_it_was_interrupted_is_noted(move: Move) -> None:
    move.guard = Alarm("stop")
    move.limits = Limits(0.0, 10, 60.0, 0.0)
    move.fleet.goes_to = lambda _: None
    move.clients(*(f"c{number}" for number in range(50)))
    with pytest.raises(SwitchError, match="stop"):
        move.run()
    assert move.roster._count("kicks = 1") == move.fleet.calls["DeleteConnection"]
    assert move.roster._count("state IN ('sending', 'looking')") == 0


def test_what_is_being_told_while_it_is_interrupted_is_waited_for_and_noted(
    move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            ending.set()
            super().shutdown(wait, cancel_futures=cancel_futures)

    move.runtime = Runtime(pool=Pool)
    # AWS answers when the end has begun.
    move.fleet.refuse = lambda *_: None if ending.wait(10) else aws_error("InternalFailureException", 500)
    move.guard = Alarm("stop")
    move.clients("a")
    with pytest.raises(SwitchError, match="stop"):
        move.run()
    assert move.roster._count("kicks = 1 AND state = 'told'") == 1


def test_a_look_that_did_not_begin_before_a_wave_had_ended_does_not_end_the_next(
    move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[Future[None]] = []

    class Pool(ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            if fn != move.guard.look:
                return super().submit(fn, *args, **kwargs)
            waiting.append(Future())
            return waiting[-1]

        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            for future in waiting if cancel_futures else ():
                future.cancel()
            super().shutdown(wait, cancel_futures=cancel_futures)

    move.runtime = Runtime(pool=Pool)
    monkeypatch.setattr(engine, "GUARD_SECONDS", 0.0)
    move.clients("a", "b")
    move.run(1)
    before = len(waiting)
    move.sweep.run([1])
    assert move.roster.counts()["landed"] == 2
    # The next wave is watched over as well.
    assert len(waiting) > before > 0


def test_clients_of_a_dead_region_are_only_looked_for(move: Move) -> None:
    move.roster.expect([Connection("a", ENDPOINT, OLD, 0.0)], {ENDPOINT: NEW})
    move.fleet.connect(NEW, "a")
    data: Any = move.fleet.data()
    rates = {NEW: RATE}
    sweeper, looker = Disconnector(data, rates, rates), Looker(data, rates, dead={OLD})
    sweep = Sweep(move.roster, Way(sweeper, looker, 0), move.journal, move.limits, move.guard)
    sweep.watch()
    assert move.roster.counts()["landed"] == 1
    assert "DeleteConnection" not in move.fleet.calls


def test_a_large_wave_is_begun_piece_by_piece(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[int] = []
    assign = move.roster.assign
    monkeypatch.setattr(engine, "PIECE", 10)
    monkeypatch.setattr(move.roster, "assign", lambda wave, size: (pieces.append(size), assign(wave, size)))
    move.clients(*(f"client {number}" for number in range(28)))
    move.run(3, 25)

    assert pieces == [3, 10, 10, 5]
    assert move.roster.counts()["landed"] == 28


def failing(operation: str, code: str, status: int) -> Any:
    """What refuses an operation for everybody."""
    return lambda asked, _: aws_error(code, status) if asked == operation else None


def test_clients_that_cannot_be_looked_at_are_not_proven_and_so_no_reason_to_go_back(move: Move) -> None:
    move.limits = Limits(0.0, 1000, SHORT, 0.0)
    move.fleet.refuse = failing("GetConnection", "InternalFailureException", 500)
    move.clients("a", "b")
    with pytest.raises(
        UnprovenError,
        match=r"wave 1: found 2 of 2 clients of whom AWS does not say where they are \(.*InternalFailureException.*\)",
    ):
        move.run()
    assert set(move.fleet.connected[NEW]) == {"a", "b"}


def test_clients_seen_in_their_region_are_not_taken_back_because_the_old_one_does_not_say(move: Move) -> None:
    move.limits = Limits(0.0, 1000, SHORT, 0.0)
    move.clients("a")
    data: Any = move.fleet.data()
    data[OLD]._answer = failing_source(data[OLD]._answer)
    move.fleet.data = lambda: data  # type: ignore[method-assign]
    with pytest.raises(UnprovenError, match="found 1 of 1 clients of whom AWS does not say"):
        move.run()


def failing_source(answer: Any) -> Any:
    """A region whose GetConnection fails, and nothing else."""
    return lambda operation, **values: (
        aws_error("InternalFailureException", 500) if operation == "GetConnection" else answer(operation, **values)
    )


def test_a_request_that_aws_refuses_for_everybody_ends_it_with_its_code(move: Move) -> None:
    move.fleet.refuse = failing("DeleteConnection", "InvalidRequestException", 400)
    move.clients(*(f"c{number}" for number in range(500)))
    with pytest.raises(SwitchError, match=r"found none of \d+ requests fulfilled: .*InvalidRequestException") as ended:
        move.run()
    assert not isinstance(ended.value, WaveError)
    assert move.fleet.calls["DeleteConnection"] < 500
    assert len(move.fleet.connected[OLD]) == 500


def test_clients_that_could_not_be_told_are_no_reason_to_go_back(move: Move) -> None:
    move.limits = Limits(0.0, 1000, SHORT, 0.0)
    move.clients("broken", "fine")

    def refuse(operation: str, client_id: str) -> Any:
        if operation != "DeleteConnection" or client_id == "fine":
            return None
        if "fine" in move.fleet.connected[NEW]:
            return aws_error("InvalidRequestException", 400)
        return aws_error("ThrottlingException", 429)

    move.fleet.refuse = refuse
    with pytest.raises(
        UnprovenError, match=r"wave 1: found 1 of 2 clients not disconnected \(.*InvalidRequestException"
    ):
        move.run()


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_wall_clock_that_is_set_in_the_middle_changes_nothing(move: Move, jump: float) -> None:
    def now() -> float:
        return time.time() + (jump if "DeleteConnection" in move.fleet.calls else 0.0)

    visits: list[str] = []

    def goes_to(client_id: str) -> str:
        visits.append(client_id)
        return OLD if visits == ["stubborn"] else NEW

    move.runtime = Runtime(now=now)
    move.limits = Limits(0.0, 1000, 20.0, 0.0)
    move.fleet.goes_to = goes_to
    move.clients("stubborn")
    move.run()
    assert move.roster.counts()["landed"] == 1
    assert move.fleet.calls["DeleteConnection"] == 2


def test_whoever_waits_for_its_turn_when_it_ends_is_not_told(move: Move) -> None:
    move.clients(*(f"c{number}" for number in range(50)))
    move.guard = Alarm("stop")
    with pytest.raises(SwitchError, match="stop"):
        move.run(rate=0.01)
    told = move.fleet.calls["DeleteConnection"]
    assert told == move.sweep.mover.calls == move.roster._count("kicks = 1")
    assert told <= 2
    assert move.roster._count("state = 'waiting'") == 50 - told


def test_a_request_of_which_nobody_knows_whether_it_was_carried_out_may_have_been(move: Move) -> None:
    class Silent(Alarm):
        def look(self, _witness: Witness) -> None:
            if "DeleteConnection" in move.fleet.calls:
                raise SwitchError("stop")

    move.clients("a")
    move.guard = Silent("")
    move.fleet.refuse = failing("DeleteConnection", "NoAnswer", 0)
    with pytest.raises(SwitchError, match="stop"):
        move.run()
    assert [(client.client_id, landed) for client, landed in move.roster.reverse()] == [("a", False)]


def test_clients_of_an_interrupted_run_do_not_count_for_a_wave_of_this_one(move: Move) -> None:
    move.clients("before", "one", "two")
    move.roster.assign(1, 3)
    for client in move.roster.take_waiting(1, 0.0, 3):
        before = client.client_id == "before"
        move.roster.update(client, "told" if before else "waiting", kicks=int(before))
    move.roster.resume()
    move.fleet.connected[OLD].pop("before")
    move.fleet.connect(NEW, "before")
    move.run(1, 1)

    landings = move.steps("landing")
    assert [(entry["wave"], entry["landed"]) for entry in landings] == [(1, 1), (2, 1)]
    assert move.roster.counts()["landed"] == 3


def test_what_it_has_seen_of_a_region_is_told(move: Move) -> None:
    move.clients("a", "b")
    move.run()
    assert (move.sweep.arrived(NEW), move.sweep.arrived(OLD)) == (2, 0)
    assert move.sweep.still_there(NEW)
    assert not move.sweep.still_there(OLD)
    move.fleet.connected[NEW].clear()
    assert not move.sweep.still_there(NEW)
