"""The fleet's monitor as a service of a real systemd: installed, arrivals in its ledger, unchanged, removed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import device, topology

from .conftest import REPOSITORY, PlaybookRun, run_playbook, wait_for
from .test_deploy import EXPOSURE

HOST = topology.DEVICES[1]
UNIT = "fleet-monitor.service"
LEDGER = "/var/lib/fleet-monitor/ledger.sqlite"
PLACES = f"/etc/fleet-monitor /opt/fleet-monitor /etc/systemd/system/{UNIT}"
READ = (
    "python3 -c \"import sqlite3; print(sqlite3.connect('file:{ledger}?mode=ro', uri=True)"
    ".execute('SELECT count(*), count(DISTINCT client_id) FROM message').fetchone())\""
)


def on_host(command: str) -> str:
    return device.ssh(HOST, command).strip()


def counted(prefix: str = "") -> tuple[int, int]:
    """Arrivals in the ledger, and clients."""
    messages, clients = re.findall(r"\d+", on_host(prefix + READ.format(ledger=LEDGER)))
    return int(messages), int(clients)


@pytest.fixture
def inventory(tmp_path: Path) -> Iterator[list[str]]:
    """The lab's inventory with a device as the monitor's host, beside the lab's own monitor."""
    (path := tmp_path / "monitors.yml").write_text(json.dumps({"monitors": {"hosts": {HOST.name: None}}}))
    certificate = REPOSITORY / "certs" / "clients" / "fleet-monitor"
    settings = {
        "fleet_monitor_client_id": "fleet-monitor-test",
        "fleet_monitor_certificate": f"{certificate}.crt",
        "fleet_monitor_private_key": f"{certificate}.key",
        "fleet_monitor_ca": str(topology.state_directory() / "aws" / "amazon-root-ca.crt"),
        "fleet_monitor_group": "operators",
    }
    yield ["-i", "inventory/lab", "-i", str(path), "-e", json.dumps(settings)]
    on_host(
        f"systemctl disable --now --quiet {UNIT} 2>/dev/null; rm -rf {PLACES} /var/lib/fleet-monitor; "
        "systemctl daemon-reload; userdel fleet-monitor 2>/dev/null; groupdel operators 2>/dev/null; true"
    )


def deploy(*arguments: str) -> PlaybookRun:
    run = run_playbook("playbooks/deploy_monitor.yml", *arguments)
    assert run.returncode == 0, run.output
    return run


def test_monitor_is_installed_sees_arrivals_and_is_removed_without_its_ledger(
    fleet: dict[str, str], inventory: list[str]
) -> None:
    assert deploy(*inventory, "--check", "--diff").changed > 0
    assert on_host(f"ls -d {PLACES} 2>/dev/null || true") == ""

    run = deploy(*inventory)

    key = (REPOSITORY / "certs/clients/fleet-monitor.key").read_text().splitlines()[1]
    assert key not in run.output
    modes = on_host("stat -c '%a %U:%G' /etc/fleet-monitor/monitor.key /var/lib/fleet-monitor " + LEDGER).splitlines()
    assert modes == ["400 root:root", "750 fleet-monitor:operators", "640 fleet-monitor:operators"]
    assert on_host(f"systemctl show --value --property=StatusText {UNIT}") == "subscribed in 2 of 2 regions"
    wait_for("arrivals of both clients", lambda: counted()[1] == 2)
    # As a move reads it, by who is in the group and no more.
    assert counted("setpriv --reuid=nobody --regid=operators --clear-groups ")[0] > 0
    overall = re.search(rf"level for {UNIT}: ([\d.]+)", on_host(f"systemd-analyze security --no-pager {UNIT}"))
    assert overall
    assert float(overall[1]) <= EXPOSURE

    assert deploy(*inventory).changed == 0

    run = run_playbook("playbooks/remove_monitor.yml", *inventory)

    assert run.returncode == 0, run.output
    assert f"{HOST.name}: the ledger is kept in {LEDGER}" in run.output
    assert on_host(f"ls -d {PLACES} 2>/dev/null; systemctl list-unit-files --no-legend {UNIT} || true") == ""
    assert counted()[0] > 0
