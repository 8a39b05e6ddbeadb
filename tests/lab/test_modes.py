"""Every mode of the article: messages arrive where the table says, and only there; a second run changes nothing."""

from __future__ import annotations

import re

import pytest

from lab import monitor

from .conftest import StandIn, failover, messages_arrive_only_in, summary, wait_for


# 3 follows 1 and 4 follows 2, so that each move takes both clients somewhere or leaves one in place.
@pytest.mark.parametrize("mode", ["1", "3", "2", "4", "1"])
def test_messages_arrive_in_the_regions_of_the_mode(fleet: dict[str, str], stand_in: StandIn, mode: str) -> None:
    expected = monitor.expected_regions(mode)

    run = failover(mode)

    found = summary()
    told = re.findall(r"^    sweep: (\d+) clients", run.output, re.MULTILINE)
    assert sum(map(int, told)) == found["clients"]["misplaced"]
    assert found["clients"]["stragglers"] == 0
    assert found["clients"]["landed"] == found["clients"]["total"] == len(fleet)
    assert found["messages"]["lost"] == 0
    wait_for(f"messages arriving as {expected}", lambda: messages_arrive_only_in(expected))
    assert {client: stand_in.connected_regions(client) for client in fleet} == {
        client: [region] for client, region in expected.items()
    }

    last = stand_in.last_request()
    again = failover(mode)

    assert again.changed == 0
    assert summary()["outcome"] == "unchanged"
    assert stand_in.writes_since(last) == []


def test_check_mode_shows_the_move_and_changes_nothing(fleet: dict[str, str], stand_in: StandIn) -> None:
    failover("3")
    last = stand_in.last_request()

    run = failover("1", "--check", "--diff")

    assert run.changed == 1
    assert "mqtt1.example.com" in run.output
    assert stand_in.writes_since(last) == []
    assert messages_arrive_only_in(monitor.expected_regions("3"))
