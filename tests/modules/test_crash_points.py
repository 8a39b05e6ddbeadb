"""A move that is killed before or after any entry of its journal is brought to the same end by the same command.

The entries are those of a move that was watched, not a list: a step that is added is killed at, too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from ansible.module_utils.region_switch.move import landing, restore

from .conftest import AwsApi
from .killed import BY_THE_CLOCK, killed_at
from .modules import last_request, run, run_ok
from .test_iot_region_switch import ATS, CLIENTS, ENDPOINTS, NEW, OLD, options, point, records

__all__ = ["options"]


def steps_of(report: str) -> list[str]:
    """The steps of a journal, in order, but for those that come by the clock."""
    lines = (Path(report) / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    return [step for line in lines if (step := json.loads(line)["step"]) not in BY_THE_CLOCK]


def start_over(aws_api: AwsApi, goes_to: str | None) -> None:
    """Everything in the old region, and where clients go when they are disconnected."""
    point(dict.fromkeys(ENDPOINTS, ATS[OLD]))
    for client_id in CLIENTS:
        aws_api.call("DELETE", f"connections/{NEW}/{client_id}")
        aws_api.connect(OLD, client_id)
    aws_api.reconnect(dict.fromkeys(CLIENTS, goes_to) if goes_to else {})


def assert_moved(aws_api: AwsApi, move: dict[str, Any], where: str) -> None:
    """The same command brings it to its end, and once more finds nothing to do."""
    again = run("iot_region_switch", move)
    assert not again.get("failed"), f"killed {where}: {again['msg']}"
    assert again["outcome"] in ("moved", "unchanged"), where
    assert records() == dict.fromkeys(ENDPOINTS, ATS[NEW]), where
    assert aws_api.connected(NEW) == set(CLIENTS), where
    assert aws_api.connected(OLD) == set(), where
    assert again["summary"]["clients"]["stragglers"] == 0, where
    start = last_request(aws_api)
    assert run_ok("iot_region_switch", move)["outcome"] == "unchanged", where
    assert aws_api.writes(start) == [], where


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_every_entry_of_a_move(
    aws_api: AwsApi, options: dict[str, Any], capsys: pytest.CaptureFixture[str], moment: str
) -> None:
    move = {**options, "mode": "3"}
    start_over(aws_api, NEW)
    steps = steps_of(run_ok("iot_region_switch", move)["report"])
    for entry, step in enumerate(steps):
        start_over(aws_api, NEW)
        assert killed_at(move, entry, moment)
        assert_moved(aws_api, move, f"{moment} {step}")
    with capsys.disabled():
        sys.stdout.write(f"\n{len(steps)} crash points, {moment} each of: {', '.join(steps)}\n")


def test_killed_while_the_records_are_restored(
    aws_api: AwsApi, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A move that did not land was being taken back: the same command, now that clients land, moves it."""
    # Clients that came back are told again at once: nothing caches an address here.
    monkeypatch.setattr(landing, "RESOLVER_CACHE", 0.1)
    monkeypatch.setattr(restore, "RESOLVER_CACHE", 0.1)
    monkeypatch.setattr(restore, "ASK_AGAIN", 1.0)
    # Longer than AWS takes to say again where a client is, whom the run before has asked for.
    move = {**options, "mode": "3", "landing_timeout": 2.5}
    start_over(aws_api, None)
    taken_back = run("iot_region_switch", move)
    assert taken_back["outcome"] == "rolled_back"
    for step in ("restore", "restored"):
        for moment in ("before", "after"):
            start_over(aws_api, None)
            assert killed_at(move, step, moment)
            aws_api.reconnect(dict.fromkeys(CLIENTS, NEW))
            for client_id in CLIENTS:
                if client_id not in aws_api.connected(OLD):
                    aws_api.connect(NEW if set(records().values()) == {ATS[NEW]} else OLD, client_id)
            assert_moved(aws_api, {**move, "landing_timeout": 5}, f"{moment} {step}")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_run_killed_while_it_read_the_fleet_gets_nobody_past_the_limits(
    aws_api: AwsApi, options: dict[str, Any], moment: str
) -> None:
    """What it had read by then is a part of the fleet at most: the limits are for all of it."""
    start_over(aws_api, NEW)
    move = {**options, "mode": "3", "max_clients": 2}
    assert killed_at(move, 1 if moment == "before" else 0, moment)
    attributes = {"attributes": {"mqtt_endpoint": ENDPOINTS[0]}}
    boto3.client("iot", region_name=OLD).create_thing(thingName="client_03", attributePayload=attributes)
    aws_api.connect(OLD, "client_03", thing_name="client_03")
    start = last_request(aws_api)

    refused = run("iot_region_switch", move)

    assert refused["outcome"] == "refused"
    assert "max_clients: found 3 clients to disconnect, expected 2 at most" in refused["msg"]
    assert aws_api.writes(start) == []
