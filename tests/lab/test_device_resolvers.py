"""A device whose own resolver path leads elsewhere: nobody is disconnected before it leads to the new region."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from lab import device, rehearsal, topology

from .conftest import REPOSITORY, StandIn, failover, run_playbook, summary

EDGE1 = topology.DEVICES[0]
OLD_REGION, NEW_REGION = topology.REGIONS
PINNED = f"{OLD_REGION.address} mqtt1.example.com # pinned"


@contextmanager
def pinned_to_the_old_region() -> Iterator[None]:
    """Let the first device answer its endpoint from its hosts file, as a resolver that is stuck would."""
    device.ssh(EDGE1, f"echo '{PINNED}' >> /etc/hosts")
    try:
        yield
    finally:
        device.ssh(EDGE1, "sed -i '/# pinned$/d' /etc/hosts")


def connected(stand_in: StandIn, fleet: dict[str, str]) -> dict[str, list[str]]:
    return {client: stand_in.connected_regions(client) for client in fleet}


def approved(variables: dict[str, object]) -> str:
    """The variables of a move, with the token of the plan that a run in check mode shows of it."""
    shown = failover("3", "--check", "--diff", "-e", json.dumps(variables)).output
    token = re.search(r"token: (\S+-\d+)", shown)
    assert token, shown
    return json.dumps({**variables, "approve": token[1]})


@pytest.fixture
def policy() -> str:
    """What is done about a device whose resolver never answers right; `make soak` has the other one."""
    return "abort"


def test_device_that_would_go_back_stops_the_move_before_anyone_is_disconnected(
    fleet: dict[str, str], stand_in: StandIn, policy: str
) -> None:
    records = {"wait": NEW_REGION, "abort": OLD_REGION}[policy]
    failover("1")
    last = stand_in.last_request()
    bounded = {"failover_dns_timeout": 5, "failover_dns_policy": policy, "failover_require_approval": True}
    unapproved = run_playbook("failover.yml", "-e", "mode=3", "-e", json.dumps(bounded))
    assert "approve: this plan needs approval" in unapproved.error
    assert stand_in.writes_since(last) == []

    with pinned_to_the_old_region():
        run = run_playbook("failover.yml", "-e", "mode=3", "-e", approved(bounded))

    assert run.returncode != 0
    assert "found edge1: mqtt1.example.com = " in run.output
    assert "Traceback" not in run.output
    assert "DeleteConnection" not in stand_in.writes_since(last)
    assert connected(stand_in, fleet) == {client: [OLD_REGION.name] for client in fleet}
    assert rehearsal.record_regions() == [records.name] * 2

    failover("3")

    assert summary()["clients"]["stragglers"] == 0
    assert summary()["clients"]["bounced"] == 0


def test_device_that_cannot_be_asked_holds_up_nobody(fleet: dict[str, str], tmp_path: Path) -> None:
    failover("1")
    override = tmp_path / "override.yml"
    override.write_text(yaml.safe_dump({"edge": {"hosts": {"edge2": {"ansible_port": 1}}}}))

    run = failover("3", "-i", str(REPOSITORY / "inventory" / "lab"), "-i", str(override))

    assert "devices: 1 right, 0 stale, 1 could not be asked" in run.output
    assert "could not be asked: edge2" in run.output
    assert summary()["clients"]["landed"] == len(fleet)
