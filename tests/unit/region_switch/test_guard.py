"""What is watched while clients leave: the records, and the regions that they are sent to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.region_switch import guard as engine
from ansible.module_utils.region_switch import probe
from ansible.module_utils.region_switch.errors import AwsError, RecordsChangedError
from ansible.module_utils.region_switch.guard import RecordsGuard, TargetLostError
from ansible.module_utils.region_switch.preflight import Settings
from ansible.module_utils.region_switch.probe import ProbeError
from ansible.module_utils.region_switch.route53 import record_set
from ansible.module_utils.region_switch.survey import Plan

from .fakes import FakeAws, aws_error

NAME, OLD, NEW = "mqtt1.example.com", "us-east-1", "ap-northeast-1"
HOSTS = {region: f"a1b2c3-ats.iot.{region}.amazonaws.com" for region in (OLD, NEW)}


class Watched:
    """A move under way: its records, and how the endpoint of the target answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.route53: Any = [record_set(NAME, HOSTS[NEW], 0)]
        self.answers: list[str | None] = []
        self.held: list[bool] = []
        monkeypatch.setattr(probe, "locate", lambda host, _resolvers: host)
        monkeypatch.setattr(probe, "handshake", self._handshake)
        settings = Settings("ca.crt", 14.0, None, None, 8883, 0, "Z1", "mqtt_endpoint")
        plan = Plan({NAME: NEW}, HOSTS, {}, [], {}, {}, 0, [])
        aws: Any = SimpleNamespace(route53=FakeAws(self._list))
        self.guard = RecordsGuard(aws, settings, plan, {NEW}, sleep=lambda _: self.held.append(self.guard.holding))

    def _list(self, _operation: str, **_: Any) -> Any:
        return {"ResourceRecordSets": self.route53} if isinstance(self.route53, list) else self.route53

    def _handshake(self, host: str, _port: int, name: str, *_: Any) -> None:
        assert (host, name) == (HOSTS[NEW], NAME)
        if self.answers and (problem := self.answers.pop(0)):
            raise ProbeError(host, problem)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def test_nothing_is_found_while_all_is_well(watched: Watched) -> None:
    watched.guard.look()

    assert watched.held == []
    assert not watched.guard.holding


@pytest.mark.parametrize("value", [HOSTS[OLD], "broker.example.net", None])
def test_a_record_that_somebody_else_moves_is_found(watched: Watched, value: str | None) -> None:
    watched.route53 = [record_set(NAME, value, 0)] if value else []

    with pytest.raises(RecordsChangedError, match=f"found {NAME} = {value or 'no record'}"):
        watched.guard.look()


def test_a_route_53_that_does_not_answer_changes_no_record(watched: Watched) -> None:
    watched.route53 = aws_error("ServiceUnavailable", 503)

    watched.guard.look()


def test_a_permission_that_is_taken_away_is_told(watched: Watched) -> None:
    watched.route53 = aws_error("AccessDenied", 403)

    with pytest.raises(AwsError, match="AccessDenied"):
        watched.guard.look()


def test_nobody_is_sent_to_a_region_while_it_is_silent(watched: Watched) -> None:
    watched.answers = ["no answer"] * (engine.TRIES - 1)

    watched.guard.look()

    assert watched.held == [True] * (engine.TRIES - 1)
    assert not watched.guard.holding


def test_a_region_that_stays_silent_is_given_up(watched: Watched) -> None:
    watched.answers = ["no answer"] * engine.TRIES

    with pytest.raises(TargetLostError, match=f"region {NEW}: found no answer of its MQTT endpoint"):
        watched.guard.look()

    assert watched.answers == []
