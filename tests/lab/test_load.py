"""A thousand clients are moved at the quota's pace: all land, none is left over, no message is lost."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from lab import topology
from lab.load import control
from tests.lab.conftest import REPOSITORY, StandIn, failover, summary

CLIENTS = 1000
DEVICES = 2
# The default of AWS, as the stand-in enforces it: DeleteConnection calls a second.
QUOTA = 100.0
BEFORE, AFTER = "us-east-1", "ap-northeast-1"


def _nothing(_: str) -> None:
    """What the load says is not the test's."""


@pytest.fixture
def load(fleet: dict[str, str]) -> Iterator[None]:
    """A thousand light clients beside the devices, all in mode 1's region."""
    failover("1")
    try:
        control.start(CLIENTS, publish_interval=10.0, say=_nothing)
        yield
    finally:
        control.stop(_nothing)


def journal(step: str) -> list[dict[str, Any]]:
    """The newest run's journal entries of one kind."""
    lines = (REPOSITORY / "reports" / "latest" / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry for entry in map(json.loads, lines) if entry["step"] == step]


def seconds(entry: dict[str, Any]) -> float:
    return datetime.fromisoformat(entry["at"]).timestamp()


def throttled_connects() -> int:
    """The CONNECTs that the regions refused because they exceeded a quota."""
    logs = (topology.state_directory() / "log" / f"haproxy-{region.name}.log" for region in topology.REGIONS)
    return sum(log.read_text(encoding="utf-8").count('throttled"') for log in logs)


def test_a_thousand_clients_land_at_the_quotas_pace(
    load: None, stand_in: StandIn, capsys: pytest.CaptureFixture[str], record_property: Callable[[str, object], None]
) -> None:
    last, began, throttled_before = stand_in.last_request(), time.time(), throttled_connects()
    failover("3", "-e", json.dumps({"failover_waves": [100]}))
    found = summary()
    assert found["outcome"] == "moved"
    assert found["clients"] == {
        "total": CLIENTS + DEVICES,
        "misplaced": CLIENTS + DEVICES,
        "landed": CLIENTS + DEVICES,
        "stragglers": 0,
        "bounced": 0,
        "in_both_regions": 0,
    }
    assert found["messages"]["lost"] == 0
    # The clients' own word for it, beside that of the API.
    assert control.regions() == {AFTER: CLIENTS}

    # Devices and light clients alike: 1 CONNECT per second of a client ID, and the account's.
    assert throttled_connects() == throttled_before

    calls = [each for each in stand_in.get(f"requests?after={last}") if each["operation"] == "DeleteConnection"]
    throttled = sum(each["status"] == 429 for each in calls)
    told = journal("delete_connection")
    # Whatever was throttled was tried again until it was done.
    assert found["sweep"]["throttled"] == throttled
    assert {each["client_id"] for each in told} >= {f"load-{number:04}" for number in range(1, CLIENTS + 1)}
    assert not journal("delete_connection_failed")

    done = [each["time"] for each in calls if each["status"] == 200]
    rate = (len(done) - 1) / (max(done) - min(done))
    landed = max(map(seconds, journal("landed"))) - began
    measured = {
        "sweep calls a second": round(rate, 2),
        "share of the quota": f"{rate / QUOTA:.1%}",
        "throttled calls": throttled,
        "seconds from command to all landed": round(landed, 1),
    }
    for name, value in measured.items():
        record_property(name, value)
    with capsys.disabled():
        sys.stdout.write(f"\n{CLIENTS} clients moved: {', '.join(f'{name} {measured[name]}' for name in measured)}\n")
