"""The way back: whoever was told to leave is brought back, and how many were is said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.region_switch.aws import quotas
from ansible.module_utils.region_switch.dns.route53_cname import Route53Cname, record_set
from ansible.module_utils.region_switch.fleet.roster import Roster
from ansible.module_utils.region_switch.fleet.source import Connection
from ansible.module_utils.region_switch.model.options import Options
from ansible.module_utils.region_switch.model.plan import Move
from ansible.module_utils.region_switch.move import landing, restore
from ansible.module_utils.region_switch.move import sweep as engine
from ansible.module_utils.region_switch.move.course import Course
from ansible.module_utils.region_switch.move.runtime import MACHINE
from ansible.module_utils.region_switch.move.survey import Plan
from ansible.module_utils.region_switch.record.events import Returned
from ansible.module_utils.region_switch.record.journal import Journal
from ansible.module_utils.region_switch.record.summary import Summary

from .fakes import FakeAws, aws_error
from .simulated import NEW, OLD, Fleet

NAME = "mqtt1.example.com"
HOSTS = {region: f"a1b2c3-ats.iot.{region}.amazonaws.com" for region in (OLD, NEW)}
CHOSEN: dict[str, Any] = {
    "modes": {}, "endpoints": [NAME], "regions": [OLD, NEW], "reports_directory": "reports", "hosted_zone_id": "Z1",
    "dns_timeout": 1.0, "dns_consecutive": 1, "landing_timeout": 20.0, "delete_connection_rate": 2000.0,
    "subscriptions_per_client": 0.0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "FIRST_LOOK", 0.0)
    monkeypatch.setattr(landing, "CLIENT_INTERVAL", 0.02)
    monkeypatch.setattr(landing, "RESOLVER_CACHE", 0.1)
    monkeypatch.setattr(landing, "ASK_AGAIN", 0.1)
    monkeypatch.setattr(restore, "RESOLVER_CACHE", 0.1)
    monkeypatch.setattr(restore, "ASK_AGAIN", 0.1)


@dataclass
class Moved:
    """A move whose records were switched, with thirty clients: twenty were seen to land, ten were not yet."""

    fleet: Fleet
    roster: Roster
    journal: Journal
    records: list[dict[str, Any]]
    folder: Path

    def restore(self) -> Returned:
        quota = {region: quotas.defaults(region) for region in (OLD, NEW)}
        endpoint = {"DescribeEndpoint": {"endpointAddress": "a.example.com"}}
        aws: Any = SimpleNamespace(
            route53=FakeAws(self._route53), route53_writer=FakeAws(self._route53), data=self.fleet.data(),
            probing={region: FakeAws(lambda operation, **_: endpoint[operation], region) for region in (OLD, NEW)},
        )  # fmt: skip
        dns = Route53Cname(aws, "Z1")
        before = {NAME: dns.record(NAME, HOSTS[OLD], 0)}
        plan = Plan({NAME: NEW}, HOSTS, before, [Move(NAME, OLD, NEW)], {}, quota, 0, [])
        source: Any = None
        course = Course(
            Options.of(CHOSEN), MACHINE, aws, dns, source, self.journal, self.roster, Summary("run", "3"), self.folder
        )
        return restore.restore(course, plan)

    def _route53(self, operation: str, **parameters: Any) -> Any:
        if operation == "ListResourceRecordSets":
            return {"ResourceRecordSets": self.records}
        if operation == "ChangeResourceRecordSets":
            delete, create = (each["ResourceRecordSet"] for each in parameters["ChangeBatch"]["Changes"])
            assert delete == self.records[0]
            self.records[0] = create
        return {"ChangeInfo": {"Id": "C1", "Status": "INSYNC"}}


@pytest.fixture
def moved(tmp_path: Path) -> Iterator[Moved]:
    fleet = Fleet(goes_to=lambda _: OLD)
    names = [f"client_{number:02}" for number in range(30)]
    fleet.connect(NEW, *names)
    with Roster(tmp_path / "clients.sqlite") as roster, Journal(tmp_path / "journal.jsonl") as journal:
        roster.add([Connection(name, NAME, OLD, 1.0) for name in names], {NAME: NEW})
        roster.assign(1, 30)
        for number, client in enumerate(roster.take_waiting(1, 0.0, 30)):
            roster.update(client, "landed" if number < 20 else "told", kicks=1, told_at=1.0)
        yield Moved(fleet, roster, journal, [record_set(NAME, HOSTS[NEW], 0)], tmp_path)


def test_everyone_who_was_told_to_leave_is_brought_back_whether_it_had_been_seen_to_land_or_not(moved: Moved) -> None:
    assert moved.restore() == Returned(told=30, back=30)
    assert moved.records[0]["ResourceRecords"] == [{"Value": HOSTS[OLD]}]
    assert (len(moved.fleet.connected[OLD]), len(moved.fleet.connected[NEW])) == (30, 0)
    assert moved.roster._count("state = 'placed' AND note = 'returned'") == 30


def test_those_who_go_to_the_region_that_failed_once_more_are_told_again(moved: Moved) -> None:
    visits: dict[str, int] = {}

    def goes_to(client_id: str) -> str:
        visits[client_id] = visits.get(client_id, 0) + 1
        return NEW if visits[client_id] == 1 else OLD

    moved.fleet.goes_to = goes_to
    assert moved.restore() == Returned(told=30, back=30)
    assert set(visits.values()) == {2}


def test_one_that_stays_away_is_not_said_to_be_back(moved: Moved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CHOSEN, "landing_timeout", 2.0)
    moved.fleet.goes_to = lambda client_id: None if client_id == "client_00" else OLD
    assert moved.restore() == Returned(told=30, back=29)
    counts = moved.roster.counts()
    # It was looked for, and is nowhere.
    assert (counts["stragglers"], counts["dark"]) == (1, 1)


def test_one_that_may_have_been_told_is_looked_for(moved: Moved) -> None:
    moved.roster.add([Connection("unsure", NAME, OLD, 1.0)], {NAME: NEW})
    moved.roster.assign(2, 1)
    (client,) = moved.roster.take_waiting(2, 0.0, 1)
    moved.roster.update(client, "waiting", attempts=1)
    moved.fleet.connect(NEW, "unsure")
    assert moved.restore() == Returned(told=31, back=31)


def test_a_region_that_refuses_to_let_them_go_is_no_reason_not_to_look(moved: Moved) -> None:
    moved.fleet.refuse = lambda operation, _: (
        aws_error("InvalidRequestException", 400) if operation == "DeleteConnection" else None
    )
    moved.fleet.connect(OLD, *moved.fleet.connected[NEW])
    moved.fleet.connected[NEW].clear()
    assert moved.restore().back == 30
