"""The client as a service: what its unit file says, and that the role's defaults are the client's."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment

from mqtt_fleet.config import Config

ROLE = Path(__file__).parent.parent.parent.parent / "roles" / "mqtt_client"
DEFAULTS: dict[str, Any] = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
# The unit makes a folder for it.
OF_THE_ROLE = {"socket"}


def unit() -> dict[str, list[str]]:
    """The unit's assignments: name to values."""
    template = Environment(autoescape=True).from_string((ROLE / "templates" / "mqtt-client.service.j2").read_text())
    found: dict[str, list[str]] = {}
    for line in template.render(DEFAULTS).splitlines():
        if "=" in line and not line.startswith("#"):
            name, value = line.split("=", 1)
            found.setdefault(name, []).append(value)
    return found


def test_start_waits_for_nothing_that_a_device_without_network_lacks() -> None:
    """Neither network-online.target nor network.target: with DHCP and no server, both come minutes later, or never."""
    ordering = ("Wants", "Requires", "Requisite", "BindsTo", "After", "PartOf", "Upholds")
    assert [name for name in ordering if name in unit()] == []
    assert unit()["WantedBy"] == ["multi-user.target"]


def test_wrong_configuration_ends_it_and_anything_else_starts_it_again_for_ever() -> None:
    found = unit()
    # client.main: 2 is the configuration; what a device may outlive is not.
    assert found["RestartPreventExitStatus"] == ["2"]
    assert found["Restart"] == ["always"]
    assert found["StartLimitIntervalSec"] == ["0"]


def test_lines_of_the_service_have_a_limit_whoever_writes_them() -> None:
    assert (unit()["LogRateLimitIntervalSec"], unit()["LogRateLimitBurst"]) == (["1h"], ["2000"])


@pytest.mark.parametrize(
    "field", [each for each in fields(Config) if f"mqtt_client_{each.name}" in DEFAULTS], ids=lambda each: each.name
)
def test_role_has_the_clients_own_default(field: Any) -> None:
    default = DEFAULTS[f"mqtt_client_{field.name}"]
    required = isinstance(default, str) and ("{{" in default or field.name == "library")
    assert required or field.name in OF_THE_ROLE or meant(default) == ("" if field.default is None else field.default)


def meant(value: Any) -> Any:
    """What a role's value is in the client's configuration."""
    return tuple(value) if isinstance(value, list) else value


def test_defaults_are_what_a_flash_card_and_a_bill_survive() -> None:
    """docs/costs.md: what they cost a day."""
    default = {each.name: each.default for each in fields(Config)}
    assert default["heartbeat_interval"] >= 60
    assert default["endpoint_watch"] == "off" or default["endpoint_watch_interval"] >= 3600
    # A device that only has `move` added.
    assert default["endpoint_watch_interval"] >= 300
    assert default["endpoint_watch_jitter"] == 0


def test_lab_is_as_lively_as_its_tests_need() -> None:
    lab = yaml.safe_load((ROLE.parent.parent / "inventory/lab/group_vars/all/lab.yml").read_text())
    assert lab["mqtt_client_heartbeat_interval"] == 0.1
