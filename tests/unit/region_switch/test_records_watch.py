"""While a move waits for DNS, its records are looked at: seldom, and one who changes them is named."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.region_switch.dns.route53 import POLL_INTERVAL
from ansible.module_utils.region_switch.dns.route53_cname import record_set
from ansible.module_utils.region_switch.model.errors import AwsError, NotConvergedError, RecordsChangedError
from ansible.module_utils.region_switch.move.records_watch import RecordsWatch

from .fakes import Clock, FakeAws, aws_error, cnames, on

ONE, TWO = "mqtt1.example.com", "mqtt2.example.com"
OURS, OTHER = "a1-ats.iot.ap-northeast-1.amazonaws.com", "a1-ats.iot.us-east-1.amazonaws.com"


class Zone:
    """Records, and when they were asked for."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.values = {ONE: OURS, TWO: OURS}
        self.trouble: AwsError | None = None
        self.extra: list[Any] = []
        self.asked: list[tuple[float, str]] = []
        self.dns = cnames(FakeAws(self._answer), self.clock)
        self.watch = RecordsWatch(self.dns, dict.fromkeys(self.values, f"{OURS}."), on(self.clock))

    def _answer(self, operation: str, StartRecordName: str = "", **_: Any) -> Any:  # noqa: N803
        if operation == "GetChange":
            return {"ChangeInfo": {"Status": "PENDING"}}
        self.asked.append((self.clock.now, StartRecordName))
        sets = [record_set(name, value, 0) for name, value in self.values.items() if name >= StartRecordName]
        return self.trouble or {"ResourceRecordSets": [*self.extra, *sets]}

    def wait(self, seconds: float) -> None:
        self.dns.wait("C1", seconds, self.watch.look)


@pytest.fixture
def zone() -> Zone:
    return Zone()


def test_one_record_is_read_at_a_time_and_not_more_than_route_53_bears(zone: Zone) -> None:
    with pytest.raises(NotConvergedError, match="PENDING"):
        zone.wait(60)

    assert {name for _, name in zone.asked} == {ONE, TWO}
    # Five requests a second are everybody's, and GetChange takes 1 / POLL_INTERVAL of them.
    assert len(zone.asked) / 60 + 1 / POLL_INTERVAL <= 3


@pytest.mark.parametrize("value", [OTHER, "broker.example.net"])
def test_a_change_of_somebody_else_ends_the_wait_with_its_name(zone: Zone, value: str) -> None:
    zone.values[TWO] = value

    with pytest.raises(RecordsChangedError) as changed:
        zone.wait(60)

    assert f"found {TWO} = {value}, expected {OURS}; nothing was overwritten" in str(changed.value)
    assert "would undo it" in str(changed.value)
    assert ONE not in str(changed.value)
    assert changed.value.found == {ONE: OURS, TWO: value}


def test_a_record_that_was_deleted_or_is_no_simple_one_is_a_change_too(zone: Zone) -> None:
    del zone.values[TWO]
    with pytest.raises(RecordsChangedError, match=f"{TWO} = no record"):
        zone.wait(60)

    zone.extra = [{**record_set(TWO, OURS, 0), "SetIdentifier": "a", "Weight": 1}]
    with pytest.raises(RecordsChangedError, match=r"while this run waited for DNS.*alias, policy"):
        zone.wait(60)


def test_a_route_53_that_does_not_answer_says_nothing_and_one_that_refuses_is_told(zone: Zone) -> None:
    zone.trouble = aws_error("ServiceUnavailable", 503)
    with pytest.raises(NotConvergedError):
        zone.wait(60)

    zone.trouble = aws_error("AccessDenied", 403)
    with pytest.raises(AwsError, match="AccessDenied"):
        zone.wait(60)
