"""Devices under faults lose nothing: the short form of tests/soak; and what an operator sees on a device."""

from __future__ import annotations

import re

import pytest

from . import device_faults
from .conftest import wait_for
from .device_messages import devices, tell

METRICS = "/var/lib/prometheus/node-exporter/mqtt_client.prom"


def test_clients_that_are_killed_lose_nothing(fleet: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    tell("5 kills", device_faults.kills(5, rate=50), capsys)


def test_devices_that_lose_power_lose_no_accepted_message(
    fleet: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    tell("power cut", device_faults.power_cuts(1, rate=100), capsys)


def test_messages_that_come_while_both_regions_are_dead_wait(
    fleet: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    tell("both regions dead for 8 s", device_faults.dead_regions_for(8, rate=100), capsys)


def test_full_disk_is_told_to_the_sender_and_passes(fleet: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    tell("disk full", device_faults.full_disk(1, rate=100), capsys)


def test_clocks_that_are_set_back_an_hour_lose_nothing(
    fleet: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    tell("clock set back an hour", device_faults.clocks_set_back(3600, rate=50), capsys)


def acknowledged(text: str) -> int:
    """The counter, as node_exporter reads it."""
    found = re.search(r"^mqtt_fleet_client_acknowledged_total{.*} (\d+)$", text, re.MULTILINE)
    assert found, text
    return int(found[1])


def test_operator_sees_on_the_device_what_its_client_does(fleet: dict[str, str]) -> None:
    for each in devices():
        status = each.ssh("systemctl status mqtt-client")
        assert re.search(
            r"Status: \"connected to 198\.18\.83\.10[12]:(443|8883) since 20\S+Z; backlog \d+; acknowledged \d+; "
            r"last acknowledged 20\S+Z\"",
            status,
        ), status
        # As another user than the client's: node_exporter is one.
        read = f"runuser -u nobody -- cat {METRICS}"
        before = acknowledged(each.ssh(read))
        wait_for(
            f"{each.client_id}: more acknowledged",
            lambda each=each, read=read, before=before: acknowledged(each.ssh(read)) > before,  # type: ignore[misc]
        )
