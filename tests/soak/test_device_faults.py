"""Devices under faults lose nothing: kills, power cuts, dead regions, full disks and moves; all is counted."""

from __future__ import annotations

import sys

import pytest

from region_switch.ledger import percentiles

from ..lab import device_faults
from ..lab.conftest import StandIn
from ..lab.device_messages import tell


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


@pytest.mark.timeout(3600)
def test_twenty_moves(fleet: dict[str, str], stand_in: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    proofs, gaps = device_faults.moves(fleet, stand_in, 20, rate=50)

    tell("20 moves", proofs, capsys)
    assert {client_id: len(values) for client_id, values in gaps.items()} == dict.fromkeys(fleet, 20)
    with capsys.disabled():
        for client_id, values in gaps.items():
            sys.stdout.write(f"gap over 20 moves: {client_id} ({fleet[client_id]}): {percentiles(values)} s\n")
