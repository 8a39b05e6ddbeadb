"""Devices under faults lose nothing: kills, power cuts, dead regions, full disks and moves; all is counted."""

from __future__ import annotations

import sys
import time

import pytest

from lab import monitor
from region_switch.record.ledger import percentiles

from ..lab import device_faults
from ..lab.conftest import StandIn, failover
from ..lab.device_messages import Proof, producers, prove, tell
from ..lab.moves import move_and_prove

# Every client changes its region between them.
BEFORE, AFTER = "1", "3"


@pytest.mark.timeout(1800)
def test_fifty_kills(fleet: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    tell("50 kills", device_faults.kills(50, rate=50), capsys)


@pytest.mark.timeout(1800)
def test_five_power_cuts(fleet: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    tell("5 power cuts", device_faults.power_cuts(5, rate=100), capsys)


@pytest.mark.timeout(1800)
def test_both_regions_dead_for_two_minutes(fleet: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    tell("both regions dead for 2 minutes", device_faults.dead_regions_for(120, rate=100), capsys)


@pytest.mark.timeout(1800)
def test_disk_full_for_a_minute(fleet: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    tell("disk full for a minute", device_faults.full_disk(60, rate=100), capsys)


@pytest.mark.timeout(1800)
def test_clock_set_back_an_hour(fleet: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    tell("clock set back an hour", device_faults.clocks_set_back(3600, rate=100), capsys)


def moves(
    fleet: dict[str, str], stand_in: StandIn, times: int, rate: float
) -> tuple[list[Proof], dict[str, list[float]]]:
    """The fleet moves to and fro while messages are handed over; returns also each client's gaps in seconds."""
    failover(BEFORE)
    since = time.time()
    gaps: dict[str, list[float]] = {client_id: [] for client_id in fleet}
    before, after = BEFORE, AFTER
    with producers() as made:
        made.start(rate)
        made.wait_for_more(1)
        for _ in range(times):
            began = time.time()
            move_and_prove(fleet, stand_in, after)
            for client_id, gap in monitor.gaps(before, after, began).items():
                gaps[client_id].append(gap)
            before, after = after, before
        # What is on its way to one region may arrive after what was sent to the other.
        return prove(made, since, in_order=False), gaps


@pytest.mark.timeout(3600)
def test_twenty_moves(fleet: dict[str, str], stand_in: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    proofs, gaps = moves(fleet, stand_in, 20, rate=50)

    tell("20 moves", proofs, capsys)
    assert {client_id: len(values) for client_id, values in gaps.items()} == dict.fromkeys(fleet, 20)
    with capsys.disabled():
        for client_id, values in gaps.items():
            sys.stdout.write(f"gap over 20 moves: {client_id} ({fleet[client_id]}): {percentiles(values)} s\n")
