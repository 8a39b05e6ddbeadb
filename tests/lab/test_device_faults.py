"""Devices under faults lose nothing: the short form of tests/soak; and what an operator sees on a device."""

from __future__ import annotations

import re

import pytest

from . import device_faults
from .conftest import wait_for
from .device_messages import Device, devices, tell

STATUS = re.compile(
    r'Status: "connected to 198\.18\.83\.10[12]:(443|8883) since 20\S+Z; backlog \d+; acknowledged \d+; '
    r'last acknowledged 20\S+Z"'
)
METRICS = "/var/lib/prometheus/node-exporter/mqtt_client.prom"


def test_clients_that_are_killed_lose_nothing(fleet: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    tell("5 kills", device_faults.kills(5, rate=50), capsys)


def test_devices_that_lose_power_lose_no_accepted_message(
    fleet: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    tell("power cut", device_faults.power_cuts(1, rate=100), capsys)


def test_devices_that_boot_without_network_take_messages_at_once(fleet: dict[str, str]) -> None:
    device_faults.boots_without_network()


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


def acknowledged(each: Device) -> int:
    """The counter, read as another user than the client's: node_exporter is one. 0 before there is a file."""
    text = each.ssh(f"runuser -u nobody -- cat {METRICS} || true")
    found = re.search(r"^mqtt_fleet_client_acknowledged_total{.*} (\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else 0


def test_operator_sees_on_the_device_what_its_client_does(fleet: dict[str, str]) -> None:
    for each in devices():
        # The client may have been started just now, by the test before.
        wait_for(
            f"{each.client_id}: its status",
            lambda each=each: STATUS.search(each.ssh("systemctl status mqtt-client")),  # type: ignore[misc]
        )
        before = wait_for(f"{each.client_id}: its metrics", lambda each=each: acknowledged(each))  # type: ignore[misc]
        wait_for(
            f"{each.client_id}: more acknowledged",
            lambda each=each, before=before: acknowledged(each) > before,  # type: ignore[misc]
        )
