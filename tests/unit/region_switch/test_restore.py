"""Going back: records only where they still are as this run wrote them, and then the clients."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.region_switch.aws import quotas
from ansible.module_utils.region_switch.dns.gate import Answer
from ansible.module_utils.region_switch.dns.route53_cname import Route53Cname, record_set
from ansible.module_utils.region_switch.fleet.roster import NO_WAVE, Roster, TrackedClient
from ansible.module_utils.region_switch.fleet.source import Connection
from ansible.module_utils.region_switch.model.dns_server import Server
from ansible.module_utils.region_switch.model.errors import (
    AwsError,
    NotConvergedError,
    RecordsChangedError,
    SwitchError,
)
from ansible.module_utils.region_switch.model.options import Options
from ansible.module_utils.region_switch.model.plan import Move
from ansible.module_utils.region_switch.move import restore
from ansible.module_utils.region_switch.move.course import Course
from ansible.module_utils.region_switch.move.guard import RecordsGuard
from ansible.module_utils.region_switch.move.interrupt import Interrupted
from ansible.module_utils.region_switch.move.runtime import Runtime
from ansible.module_utils.region_switch.move.survey import Plan
from ansible.module_utils.region_switch.move.sweep import Guard, Limits
from ansible.module_utils.region_switch.record.events import Returned
from ansible.module_utils.region_switch.record.journal import Journal
from ansible.module_utils.region_switch.record.summary import Summary

from .fakes import Clock, FakeAws, aws_error

OLD, NEW, OTHER = "us-east-1", "ap-northeast-1", "eu-west-1"
HOSTS = {region: f"a1b2c3-ats.iot.{region}.amazonaws.com" for region in (OLD, NEW, OTHER)}
ONE, TWO, STAYS = "mqtt1.example.com", "mqtt2.example.com", "mqtt3.example.com"
NAME_SERVER = Server("ns-1", "192.0.2.1")
FAILED = SwitchError("refused")


class Sweep:
    """Notes what it is made of and asked for, and does what a test wants."""

    made: list[Sweep]
    problems: list[tuple[str, SwitchError]]

    def __init__(self, roster: Roster, way: Any, _: Journal, limits: Limits, guard: Guard, runtime: Runtime) -> None:
        self.roster, self.mover, self.proof = roster, way.mover, way.proof
        self.limits, self.guard, self.runtime = limits, guard, runtime
        self.calls: list[Any] = []
        self.on_disk = 0
        self.made.append(self)

    def run(self, sizes: list[int]) -> None:
        self._do("run", sizes)

    def watch(self) -> None:
        self._do("watch", self.roster.waiting())

    def _do(self, name: str, value: Any) -> None:
        self.calls.append((name, value))
        if name == "run":
            path = self.roster._db.execute("PRAGMA database_list").fetchone()[2]
            with closing(sqlite3.connect(path)) as other:
                self.on_disk = other.execute("SELECT count(*) FROM client").fetchone()[0]
        if self.problems and self.problems[0][0] == name:
            raise self.problems.pop(0)[1]
        if name == "watch":
            for client in [*self.roster.take_told(0.0, 10), *self.roster.take_waiting(NO_WAVE, 0.0, 10)]:
                if client.client_id != "lost":
                    self.roster.update(client, "landed")


class World:
    """A move of two of three endpoints, with its records, its clients and the APIs."""

    def __init__(self, folder: Path, roster: Roster, journal: Journal) -> None:
        self.folder, self.roster, self.journal = folder, roster, journal
        self.clock = Clock()
        self.stays = record_set(STAYS, HOSTS[OLD], 25)
        self.records: list[dict[str, Any]] = [
            record_set(ONE, HOSTS[NEW], 5), record_set(TWO, HOSTS[OTHER], 5), self.stays,
        ]  # fmt: skip
        self.batches: list[Any] = []
        self.statuses = ["INSYNC"]
        self.submitted: Any = {"ChangeInfo": {"Id": "C1"}}
        self.carried_out = True
        self.restored = False
        self.homes: dict[str, str] = {}
        self.asked: list[tuple[Server, str]] = []
        self.answer: str | None = None
        self.silent: set[str] = set()
        self.quotas: Any = {region: quotas.defaults(region) for region in HOSTS}
        self.chosen: dict[str, Any] = {
            "modes": {}, "endpoints": [ONE, TWO, STAYS], "regions": list(HOSTS), "reports_directory": "reports",
            "hosted_zone_id": "Z1", "dns_timeout": 60.0, "landing_timeout": 50.0, "ttl": 20, "clean_session": True,
            "prevent_will_message": False, "delete_connection_rate": 70.0, "subscriptions_per_client": 0.0,
        }  # fmt: skip

    def restore(self) -> Returned:
        clock = self.clock
        aws: Any = SimpleNamespace(
            route53=FakeAws(self._route53), route53_writer=FakeAws(self._write),
            data={region: region for region in HOSTS},
            probing={region: FakeAws(self._probe(region), region) for region in HOSTS},
        )  # fmt: skip
        dns = Route53Cname(aws, "Z1", clock, clock.sleep)
        before = {name: dns.record(name, HOSTS[OLD], ttl) for name, ttl in ((ONE, 20), (TWO, 30), (STAYS, 20))}
        moves = [Move(ONE, OLD, NEW), Move(TWO, OLD, OTHER), Move(STAYS, OLD, OLD)]
        desired = {ONE: NEW, TWO: OTHER, STAYS: OLD}
        plan = Plan(desired, HOSTS, before, moves, {}, self.quotas, 0, [NAME_SERVER], room=dns.max_records)
        runtime = Runtime(monotonic=clock, now=clock, sleep=clock.sleep, ask=self._ask)
        source: Any = None
        course = Course(
            Options.of(self.chosen), runtime, aws, dns, source, self.journal, self.roster, Summary("run", "3"),
            self.folder,
        )  # fmt: skip
        try:
            return restore.restore(course, plan)
        finally:
            self.restored, self.homes = course.restored, course.homes

    def _route53(self, operation: str, **_: Any) -> Any:
        if operation == "ListResourceRecordSets":
            return {"ResourceRecordSets": self.records}
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return {"ChangeInfo": {"Id": "C1", "Status": status}}

    def _write(self, operation: str, **parameters: Any) -> Any:
        if operation != "ChangeResourceRecordSets":
            return self._route53(operation, **parameters)
        self.batches.append(parameters["ChangeBatch"]["Changes"])
        if isinstance(self.submitted, AwsError) and self.carried_out:
            self.records = [record_set(ONE, HOSTS[OLD], 20), record_set(TWO, HOSTS[OLD], 30), self.stays]
        return self.submitted

    def _ask(self, server: Server, name: str) -> Answer:
        self.clock.sleep(1.0)
        self.asked.append((server, name))
        return Answer(self.answer or HOSTS[OLD])

    def _probe(self, region: str) -> Any:
        down = aws_error("NoAnswer", 0)
        return lambda *_, **__: down if region in self.silent else {"endpointAddress": "a.example.com"}

    def steps(self) -> list[dict[str, Any]]:
        entries = [json.loads(line) for line in (self.folder / "journal.jsonl").read_text().splitlines()]
        return [{key: value for key, value in entry.items() if key != "at"} for entry in entries]

    def clients(self, **states: str) -> None:
        """Clients that left OLD for NEW, told or landed."""
        self.roster.add([Connection(name, ONE, OLD, 1.0) for name in states], {ONE: NEW})
        self.roster.assign(1, len(states))
        for client in self.roster.take_waiting(1, 0.0, len(states)):
            self.roster.update(client, states[client.client_id], kicks=1)  # type: ignore[arg-type]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(restore, "Sweep", Sweep)
    monkeypatch.setattr(Sweep, "made", [], raising=False)
    monkeypatch.setattr(Sweep, "problems", [], raising=False)
    with Roster(tmp_path / "clients.sqlite") as roster, Journal(tmp_path / "journal.jsonl") as journal:
        yield World(tmp_path, roster, journal)


def test_records_are_put_back_in_one_batch_as_they_were_and_those_that_stayed_as_they_are(world: World) -> None:
    world.restore()

    assert world.batches == [
        [
            {"Action": "DELETE", "ResourceRecordSet": record_set(ONE, HOSTS[NEW], 5)},
            {"Action": "CREATE", "ResourceRecordSet": record_set(ONE, HOSTS[OLD], 20)},
            {"Action": "DELETE", "ResourceRecordSet": record_set(TWO, HOSTS[OTHER], 5)},
            {"Action": "CREATE", "ResourceRecordSet": record_set(TWO, HOSTS[OLD], 30)},
            {"Action": "DELETE", "ResourceRecordSet": world.stays},
            {"Action": "CREATE", "ResourceRecordSet": world.stays},
        ]
    ]
    assert world.steps()[:2] == [
        {"step": "restore", "records": {ONE: HOSTS[OLD], TWO: HOSTS[OLD]}},
        {"step": "restored", "change_id": "C1"},
    ]


def test_a_record_that_stayed_is_left_out_where_the_batch_has_no_room_for_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Route53Cname, "max_records", 2)

    world.restore()

    assert [each["ResourceRecordSet"]["Name"].rstrip(".") for each in world.batches[0]] == [ONE, ONE, TWO, TWO]


def test_that_the_records_are_back_is_said_once_they_are_written_whatever_comes_then(world: World) -> None:
    world.statuses = ["PENDING"]

    with pytest.raises(NotConvergedError):
        world.restore()

    assert (len(world.batches), world.restored) == (1, True)
    assert world.homes == dict.fromkeys((ONE, TWO, STAYS), OLD)


@pytest.mark.parametrize("value", [HOSTS[OLD], HOSTS[NEW], "broker.example.net", None])
def test_a_record_that_somebody_else_changed_is_not_overwritten_nor_is_any_other(
    world: World, value: str | None
) -> None:
    world.records = [world.records[0], *([record_set(TWO, value, 5)] if value else []), world.stays]

    with pytest.raises(RecordsChangedError) as changed:
        world.restore()

    assert str(changed.value) == (
        f"record {TWO}: found {value or 'none'}, expected {HOSTS[OTHER]} as this run left it: somebody else changes "
        "it, nothing was restored"
    )
    assert changed.value.found == {ONE: HOSTS[NEW], TWO: value, STAYS: HOSTS[OLD]}
    assert world.batches == []
    assert Sweep.made == []


def test_nothing_is_restored_where_somebody_else_has_moved_a_record_that_stayed(world: World) -> None:
    world.records[2] = record_set(STAYS, HOSTS[OTHER], 25)

    with pytest.raises(RecordsChangedError, match=f"record {STAYS}: found {HOSTS[OTHER]}, expected {HOSTS[OLD]}"):
        world.restore()

    assert world.batches == []


def test_clients_of_a_record_that_stayed_are_left_alone(world: World) -> None:
    world.roster.add([Connection("a", STAYS, NEW, 1.0)], {STAYS: OLD})
    world.roster.update(TrackedClient("a", NEW, STAYS, OLD, 1.0), "landed", kicks=1)

    assert world.restore() == Returned(told=0, back=0)


def test_every_server_of_route_53_has_the_records_before_anyone_is_told(world: World) -> None:
    world.statuses = ["PENDING", "PENDING", "INSYNC"]

    world.restore()

    assert world.statuses == ["INSYNC"]


def test_a_change_that_stays_pending_is_told(world: World) -> None:
    world.statuses = ["PENDING"]

    with pytest.raises(NotConvergedError, match="found PENDING after 60 s"):
        world.restore()


def test_a_change_that_went_through_without_an_answer_needs_no_waiting(world: World) -> None:
    world.submitted, world.statuses = aws_error("NoAnswer", 0), ["PENDING"]

    assert world.restore() == Returned(told=0, back=0)
    assert world.steps()[1] == {"step": "restored", "change_id": None}


def test_a_change_that_was_not_answered_nor_carried_out_is_an_error(world: World) -> None:
    world.submitted, world.carried_out = aws_error("NoAnswer", 0), False

    with pytest.raises(AwsError) as ended:
        world.restore()

    assert ended.value is world.submitted
    assert (world.restored, world.homes, Sweep.made) == (False, {}, [])


def test_dns_is_asked_until_it_answers_the_records_as_they_were(world: World) -> None:
    world.restore()

    assert world.asked == [(NAME_SERVER, ONE), (NAME_SERVER, TWO)] * 3


def test_dns_that_stays_stale_keeps_nobody_from_being_brought_back(world: World) -> None:
    world.answer = HOSTS[NEW]
    world.clients(a="landed")

    assert world.restore() == Returned(told=1, back=1)
    assert 1060 <= world.clock() <= 1062


def test_those_who_had_landed_are_told_and_the_others_looked_for(world: World) -> None:
    world.clients(a="landed", b="landed", c="told", lost="told")

    assert world.restore() == Returned(told=4, back=3)

    (sweep,) = Sweep.made
    assert sweep.calls == [("run", [2]), ("watch", 2)]
    assert world.roster._count("state = 'placed' AND note = 'returned'") == 3
    assert world.steps()[-1] == {"step": "returned", "told": 4, "back": 3}
    # Who has to come back is on disk before anyone is told, and both rosters when it returns.
    assert sweep.on_disk == 4
    for name in ("clients.sqlite", "restored.sqlite"):
        Roster.copy(world.folder / name, world.folder / f"copy of {name}")
        with Roster(world.folder / f"copy of {name}") as copied:
            assert copied.count() == 4
            assert copied._count("state IN ('placed', 'landed') AND (note = 'returned' OR region != 'us-east-1')") == 3


def test_nobody_is_told_to_leave_a_region_whose_api_is_silent(world: World) -> None:
    world.clients(a="landed", b="told")
    world.silent = {NEW}

    world.restore()

    (sweep,) = Sweep.made
    assert sweep.calls[0] == ("run", [0])
    assert set(sweep.proof.dead) == {NEW}


def test_whoever_moves_by_itself_is_looked_for_where_the_sweep_fails(world: World) -> None:
    world.clients(a="landed", b="told")
    Sweep.problems = [("run", FAILED)]

    assert world.restore() == Returned(told=2, back=2)

    (sweep,) = Sweep.made
    # Nobody waits to be told any more.
    assert sweep.calls == [("run", [1]), ("watch", 0)]


@pytest.mark.parametrize(("failures", "back"), [(1, 2), (2, 0)])
def test_a_failure_of_the_watch_is_no_failure_of_the_restore(world: World, failures: int, back: int) -> None:
    world.clients(a="landed", b="told")
    Sweep.problems = [("watch", FAILED)] * failures

    assert world.restore() == Returned(told=2, back=back)


@pytest.mark.parametrize("before", [[], [("run", FAILED)]], ids=["at work", "when the sweep had failed"])
def test_whoever_stops_the_way_back_stops_it(world: World, before: list[tuple[str, SwitchError]]) -> None:
    world.clients(a="landed", b="told")
    stopped = Interrupted("stopped")
    Sweep.problems = [*before, ("watch", stopped)]

    with pytest.raises(Interrupted):
        world.restore()

    assert [name for name, _ in Sweep.made[0].calls] == ["run", "watch"]


def test_pace_proof_and_patience_are_those_of_the_options(world: World) -> None:
    world.restore()

    (sweep,) = Sweep.made
    sweeper, looker = sweep.mover, sweep.proof
    assert dict(sweeper.leaving) == dict.fromkeys(HOSTS, 70.0)
    assert set(sweeper.arriving) == set(HOSTS)
    assert (sweeper.clean_session, sweeper.prevent_will_message) == (True, False)
    assert looker.rates == {region: quotas.defaults(region).get_connection for region in HOSTS}
    # Half a minute's clients on their way, and nobody is a reason to stop.
    assert sweep.limits == Limits(100.0, 2100, 50.0, 20.0)
    assert sweep.runtime is sweeper.runtime is looker.runtime
    assert type(sweep.guard) is RecordsGuard
    assert sweep.guard._targets == []


def test_nobody_else_is_told_on_the_way_back_once_somebody_else_moves_the_records(world: World) -> None:
    world.restore()
    (sweep,) = Sweep.made

    world.records = [record_set(ONE, HOSTS[OLD], 20), record_set(TWO, HOSTS[OLD], 30), world.stays]
    sweep.guard.look(sweep)
    world.records[0] = record_set(ONE, HOSTS[NEW], 20)
    with pytest.raises(RecordsChangedError, match=f"on the way back: found {ONE} = {HOSTS[NEW]}"):
        sweep.guard.look(sweep)


@pytest.mark.parametrize(("landing", "ttl", "timeout"), [(5.0, 0, 40.0), (5.0, 60, 70.0), (100.0, 60, 100.0)])
def test_it_is_waited_for_as_long_as_resolvers_may_send_a_client_back(
    world: World, landing: float, ttl: int, timeout: float
) -> None:
    world.chosen |= {"landing_timeout": landing, "ttl": ttl}

    world.restore()

    assert Sweep.made[0].limits.landing_timeout == timeout


def test_the_fastest_region_says_how_many_may_be_on_their_way(world: World) -> None:
    world.chosen["delete_connection_rate"] = 0.0
    world.quotas[NEW] = replace(world.quotas[NEW], delete_connection=40.0)
    assert world.quotas[OLD].delete_connection == 100.0

    world.restore()

    assert Sweep.made[0].limits.max_in_flight == 3000


def test_what_is_sent_back_is_who_was_told_or_may_have_been(world: World) -> None:
    world.clients(a="landed")
    world.roster.add([Connection("never", ONE, OLD, 1.0), Connection("perhaps", ONE, OLD, 1.0)], {ONE: NEW})
    perhaps = TrackedClient("perhaps", OLD, ONE, NEW, 1.0)
    world.roster.update(perhaps, "waiting", attempts=1)

    assert world.restore().told == 2
