"""Setting up and deploying twice: the second time changes nothing."""

from __future__ import annotations

import socket
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lab import api, topology

from .conftest import REPOSITORY, StandIn, failover, run_playbook, summary

ENDPOINT = "mqtt1.example.com"


@pytest.mark.parametrize("playbook", ["setup.yml", "playbooks/deploy_clients.yml"])
def test_second_run_changes_nothing(fleet: dict[str, str], stand_in: StandIn, playbook: str) -> None:
    last = stand_in.last_request()

    run = run_playbook(playbook)

    assert run.returncode == 0, run.error
    assert run.changed == 0, run.output
    assert stand_in.writes_since(last) == []


def test_setup_does_not_undo_a_move(fleet: dict[str, str]) -> None:
    failover("3")

    run = run_playbook("setup.yml")

    assert run.changed == 0, run.output
    failover("3")
    assert summary()["outcome"] == "unchanged"


def test_check_mode_looks_at_everything_of_a_fleet_that_is_set_up(fleet: dict[str, str], stand_in: StandIn) -> None:
    last = stand_in.last_request()

    run = run_playbook("setup.yml", "--check", "--diff")

    assert run.returncode == 0, run.error
    assert run.changed == 0, run.output
    # That it tells what it finds is seen in tests/modules/test_setup_check.py.
    asked = [(each["operation"], each["region"]) for each in stand_in.get(f"requests?after={last}")]
    for operation in ("GetIndexingConfiguration", "DescribeDomainConfiguration", "GetPolicy", "DescribeCertificate"):
        for region in ("us-east-1", "ap-northeast-1"):
            assert (operation, region) in asked


def test_setup_waits_until_a_new_endpoint_is_served(fleet: dict[str, str], stand_in: StandIn) -> None:
    """AWS takes up to 60 minutes; until then devices are shown another certificate."""
    region = next(each for each in topology.REGIONS if each.name not in stand_in.connected_regions("client_01"))
    stand_in.settings(serving_delay_seconds=3600)
    forget_domain(region.name)
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "setup.yml", "-e", "iot_serving_interval=1"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        lines, served_before = [], None
        for line in run.stdout or ():
            lines.append(line)
            if served_before is None and f"RETRYING: [{region.name}]: Wait until AWS serves the new endpoints" in line:
                served_before = serves(region)
                stand_in.settings(serving_delay_seconds=0)
    stand_in.settings(serving_delay_seconds=0)

    assert run.returncode == 0, "".join(lines)
    assert served_before is False, "".join(lines)
    assert serves(region)


def forget_domain(region: str) -> None:
    """Delete the endpoint's domain configuration, as if it had never been made."""
    iot, name = api.client("iot", region), ENDPOINT.replace(".", "-")
    iot.update_domain_configuration(domainConfigurationName=name, domainConfigurationStatus="DISABLED")
    iot.delete_domain_configuration(domainConfigurationName=name)


def serves(region: topology.Node) -> bool:
    """Whether a device that asks the region for the endpoint trusts what it is shown."""
    context = ssl.create_default_context(cafile=str(REPOSITORY / "certs" / "ca.crt"))
    try:
        with (
            socket.create_connection((str(region.address), topology.MQTT_PORT), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=ENDPOINT),
        ):
            return True
    except ssl.SSLCertVerificationError:
        return False


def test_private_keys_are_readable_by_their_owner_only(fleet: dict[str, str]) -> None:
    certs = REPOSITORY / "certs"
    keys = [*certs.glob("*.key"), *certs.glob("clients/*.key")]

    # The CA's, one per endpoint and the monitor's: devices make theirs themselves.
    assert len(keys) == 4
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
