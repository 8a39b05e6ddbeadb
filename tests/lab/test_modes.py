"""Every mode of the article: messages arrive where the table says, and only there; a second run changes nothing."""

from __future__ import annotations

import pytest

from lab import monitor

from .conftest import StandIn, failover, messages_arrive_only_in, summary
from .moves import move_and_prove


# 3 follows 1 and 4 follows 2, so that each move takes both clients somewhere or leaves one in place.
@pytest.mark.parametrize("mode", ["1", "3", "2", "4", "1"])
def test_messages_arrive_in_the_regions_of_the_mode(fleet: dict[str, str], stand_in: StandIn, mode: str) -> None:
    move_and_prove(fleet, stand_in, mode)

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
