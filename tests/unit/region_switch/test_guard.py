"""What is watched while clients leave: the records, and the regions that they are sent to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible.module_utils.region_switch.checks import probe
from ansible.module_utils.region_switch.checks.probe import ProbeError
from ansible.module_utils.region_switch.dns.route53_cname import Route53Cname, record_set
from ansible.module_utils.region_switch.model.errors import AwsError, RecordsChangedError
from ansible.module_utils.region_switch.model.options import Options
from ansible.module_utils.region_switch.move.course import Services
from ansible.module_utils.region_switch.move.guard import LocalNetworkError, RecordsGuard, TargetLostError
from ansible.module_utils.region_switch.move.runtime import Runtime
from ansible.module_utils.region_switch.move.survey import Plan

from .fakes import Clock, FakeAws, aws_error, cnames

NAME, OLD, NEW = "mqtt1.example.com", "us-east-1", "ap-northeast-1"
HOSTS = {region: f"a1b2c3-ats.iot.{region}.amazonaws.com" for region in (OLD, NEW)}


class Watched:
    """A move under way: its records, and how the endpoint of the target answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.route53: Any = [record_set(NAME, HOSTS[NEW], 0)]
        self.asked: list[tuple[str, str]] = []
        self.answers: list[str | None] = []
        self.silent: set[str] = set()
        self.arrivals: list[int] = []
        self.there = False
        self.held: list[bool] = []
        monkeypatch.setattr(probe, "locate", lambda host, _resolvers: host)
        monkeypatch.setattr(probe, "handshake", self._handshake)
        self.clock = Clock()
        needed = {"modes": {}, "endpoints": [NAME], "regions": [OLD, NEW], "reports_directory": "reports"}
        self.options = Options.of({**needed, "hosted_zone_id": "Z1", "ca_file": "ca.crt"})
        self.plan = Plan({NAME: NEW}, HOSTS, {}, [], {}, {}, 0, [])
        self.guard = self.watch(self.plan)

    @property
    def dns(self) -> Route53Cname:
        return cnames(FakeAws(self._list))

    def watch(self, plan: Plan) -> RecordsGuard:
        self.guard = RecordsGuard(self.services, plan, "during the sweep", {NEW})
        return self.guard

    @property
    def services(self) -> Services:
        unused: Any = None
        return Services(self.options, Runtime(monotonic=self.clock, sleep=self._sleep), unused, self.dns, unused)

    def look(self) -> None:
        self.guard.look(self)

    def arrived(self, region: str) -> int:
        assert region == NEW
        return self.arrivals.pop(0) if self.arrivals else 0

    def still_there(self, region: str) -> bool:
        assert region == NEW
        return self.there

    def _sleep(self, seconds: float) -> None:
        self.held.append(self.guard.holding)
        self.clock.sleep(seconds)

    def _list(self, _operation: str, **_: Any) -> Any:
        return {"ResourceRecordSets": self.route53} if isinstance(self.route53, list) else self.route53

    def _handshake(self, host: str, _port: int, name: str, *_: Any) -> None:
        self.asked.append((host, name))
        if host in self.silent:
            raise ProbeError(host, "no answer")
        if host == HOSTS[NEW] and self.answers and (problem := self.answers.pop(0)):
            raise ProbeError(host, problem)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def test_nothing_is_found_while_all_is_well(watched: Watched) -> None:
    watched.look()

    assert watched.held == []
    assert not watched.guard.holding


@pytest.mark.parametrize("value", [HOSTS[OLD], "broker.example.net", None])
def test_a_record_that_somebody_else_moves_is_found(watched: Watched, value: str | None) -> None:
    watched.route53 = [record_set(NAME, value, 0)] if value else []

    with pytest.raises(RecordsChangedError, match=f"found {NAME} = {value or 'no record'}"):
        watched.look()


def test_on_the_way_back_the_records_alone_are_watched(watched: Watched) -> None:
    guard = RecordsGuard(watched.services, watched.plan, "on the way back")
    guard.look(watched)

    watched.route53 = [record_set(NAME, HOSTS[OLD], 0)]
    with pytest.raises(RecordsChangedError, match=f"by someone else on the way back: found {NAME} = {HOSTS[OLD]}"):
        guard.look(watched)
    assert watched.asked == []


def test_a_route_53_that_does_not_answer_changes_no_record(watched: Watched) -> None:
    watched.route53 = aws_error("ServiceUnavailable", 503)

    watched.look()


def test_a_permission_that_is_taken_away_is_told(watched: Watched) -> None:
    watched.route53 = aws_error("AccessDenied", 403)

    with pytest.raises(AwsError, match="AccessDenied"):
        watched.look()


def test_nobody_is_sent_to_a_region_while_it_is_silent(watched: Watched) -> None:
    watched.answers = ["no answer"] * 3

    watched.look()

    assert watched.held == [True] * 3
    assert not watched.guard.holding


def test_a_region_that_answers_on_one_of_the_ports_is_not_lost(watched: Watched) -> None:
    checks = replace(watched.options.checks, mqtt_ports=[8883, 443])
    watched.options = replace(watched.options, checks=checks)
    watched.watch(watched.plan)
    watched.answers = ["no answer", None]
    watched.look()
    assert watched.held == []

    watched.answers = ["no answer", "no answer"]
    watched.look()
    assert watched.held == [True]


def test_a_look_does_not_outlast_the_evacuation(watched: Watched) -> None:
    watched.silent = {HOSTS[NEW]}
    watched.guard.over = True

    watched.look()

    assert watched.held == []
    assert not watched.guard.holding


def test_a_region_that_stays_silent_while_nobody_lands_there_is_given_up(watched: Watched) -> None:
    watched.silent = {HOSTS[NEW]}

    with pytest.raises(TargetLostError, match=f"region {NEW}: its MQTT endpoint has not answered for 30 s"):
        watched.look()

    assert len(watched.held) == 30
    assert watched.clock() == 1030.0
    assert not watched.guard.holding


def test_whoever_lands_in_a_silent_region_shows_that_this_machines_way_is_broken(watched: Watched) -> None:
    watched.silent = {HOSTS[NEW]}
    watched.arrivals = [30, 30, 31]

    watched.look()

    assert len(watched.held) == 1
    assert not watched.guard.holding


def test_clients_that_are_there_are_not_taken_back_from_a_region_that_this_machine_does_not_reach(
    watched: Watched,
) -> None:
    watched.silent, watched.there = {HOSTS[NEW]}, True

    with pytest.raises(
        LocalNetworkError, match="while AWS says that clients are connected there: check this machine's route"
    ):
        watched.look()


def test_the_endpoint_that_moves_to_a_region_is_the_one_that_is_asked_for_there(watched: Watched) -> None:
    other = "mqtt0.example.com"
    watched.route53 = [record_set(other, HOSTS[OLD], 0), *watched.route53]
    watched.watch(Plan({other: OLD, NAME: NEW}, HOSTS, {}, [], {}, {}, 0, []))

    watched.look()

    assert watched.asked == [(HOSTS[NEW], NAME)]


@pytest.mark.parametrize("dead", [{}, {OLD: "no answer"}])
def test_another_region_that_answers_or_none_to_compare_with_leaves_the_region_lost(
    watched: Watched, dead: dict[str, str]
) -> None:
    third = {"eu-west-1": "a1b2c3-ats.iot.eu-west-1.amazonaws.com"} if not dead else {}
    watched.watch(Plan({NAME: NEW}, {**HOSTS, **third}, {}, [], dead, {}, 0, []))
    watched.silent = set(HOSTS.values())

    with pytest.raises(TargetLostError, match="and no client landed there meanwhile"):
        watched.look()


def test_a_machine_that_reaches_no_region_says_nothing_about_one(watched: Watched) -> None:
    watched.silent = set(HOSTS.values())

    with pytest.raises(LocalNetworkError, match="nor has any other region's: check this machine's route to port 8883"):
        watched.look()
