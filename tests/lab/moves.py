"""A move with everything that proves it: what the command says, what arrives where, and the brokers' own view."""

from __future__ import annotations

import re

from lab import monitor

from .conftest import StandIn, failover, messages_arrive_only_in, summary, wait_for


def move_and_prove(fleet: dict[str, str], stand_in: StandIn, mode: str) -> None:
    """Move the fleet to a mode's regions; every client has to be there and nowhere else, and no message lost."""
    expected = monitor.expected_regions(mode)

    run = failover(mode)

    found = summary()
    told = re.findall(r"^    sweep: (\d+) clients?\b", run.output, re.MULTILINE)
    assert sum(map(int, told)) == found["clients"]["misplaced"]
    assert found["clients"]["stragglers"] == 0
    assert found["clients"]["landed"] == found["clients"]["total"] == len(fleet)
    assert found["messages"]["lost"] == 0
    wait_for(f"messages arriving as {expected}", lambda: messages_arrive_only_in(expected))
    assert {client: stand_in.connected_regions(client) for client in fleet} == {
        client: [region] for client, region in expected.items()
    }
