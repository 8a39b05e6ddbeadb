"""What a deployment does to real devices: keys that stay there, versions that prove themselves, and removal."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import api, device, monitor, topology
from lab.topology import Node
from tests.arrivals import count, read

from .conftest import REPOSITORY, StandIn, run_playbook, wait_for
from .test_bad_input import with_edge2

DEPLOY = "playbooks/deploy_clients.yml"
EDGE1, EDGE2 = topology.DEVICES
UNIT = "mqtt-client.service"
# An address of the lab's network.
NOBODY = "198.18.83.250"
# What systemd-analyze may say at most, of 10.
EXPOSURE = 2.0


def on(node: Node, command: str) -> str:
    return device.ssh(node, command).strip()


def process(node: Node) -> str:
    return on(node, f"systemctl show --value --property=MainPID {UNIT}")


def status(node: Node) -> str:
    return on(node, f"systemctl show --value --property=StatusText {UNIT}")


def backlog(node: Node) -> int:
    found = re.search(r"; backlog (\d+)", status(node))
    return int(found[1]) if found else 0


def arrived(client_id: str, since: float) -> bool:
    return client_id in monitor.recent_arrivals(time.time() - since)


def certificates(region: str, client_id: str) -> dict[str, str]:
    """ID and status of each certificate of a client in a region."""
    iot = api.client("iot", region)
    arns = iot.list_thing_principals(thingName=client_id)["principals"]
    described = (iot.describe_certificate(certificateId=arn.rpartition("/")[2]) for arn in arns)
    return {
        each["certificateDescription"]["certificateId"]: each["certificateDescription"]["status"] for each in described
    }


@contextmanager
def cut_off_from_the_regions(node: Node, endpoint: str) -> Iterator[None]:
    """A device whose endpoint is at an address that nobody has, and which is still reached over SSH."""
    on(node, f"echo '{NOBODY} {endpoint} # nobody' >> /etc/hosts; systemctl restart {UNIT}")
    try:
        yield
    finally:
        on(node, "sed -i '/# nobody$/d' /etc/hosts")


@pytest.mark.parametrize("node", topology.DEVICES, ids=lambda node: str(node.name))
def test_private_key_is_on_the_device_only(fleet: dict[str, str], node: Node) -> None:
    assert on(node, "stat -c '%a %U' /etc/mqtt-client/client.key") == "400 root"
    body = on(node, "cat /etc/mqtt-client/client.key").splitlines()[1].encode()

    devices = topology.state_directory() / "devices"
    roots = [REPOSITORY / "certs", REPOSITORY / "reports", topology.state_directory(), REPOSITORY / ".cache/bundles"]
    files = [path for root in roots for path in root.rglob("*") if path.is_file() and devices not in path.parents]
    assert files
    assert [path for path in files if body in path.read_bytes()] == []


@pytest.mark.parametrize("node", topology.DEVICES, ids=lambda node: str(node.name))
def test_unit_is_sandboxed(fleet: dict[str, str], node: Node) -> None:
    said = on(node, f"systemd-analyze security --no-pager {UNIT}")

    overall = re.search(r"Overall exposure level for mqtt-client.service: ([\d.]+)", said)
    assert overall, said
    assert float(overall[1]) <= EXPOSURE, said


def test_logs_are_json_lines_in_the_journal(fleet: dict[str, str]) -> None:
    said = on(EDGE2, f"journalctl --unit {UNIT} --output cat --no-pager _COMM=python | tail -5")

    assert [set(json.loads(line)) >= {"time", "level", "event"} for line in said.splitlines()] == [True] * 5


def test_client_that_hangs_is_restarted(fleet: dict[str, str]) -> None:
    drop_in = f"/run/systemd/system/{UNIT}.d"
    on(EDGE2, f"mkdir -p {drop_in} && printf '[Service]\\nWatchdogSec=2\\n' > {drop_in}/quick.conf")
    try:
        on(EDGE2, f"systemctl daemon-reload && systemctl restart {UNIT}")
        wait_for("the client connecting", lambda: status(EDGE2).startswith("connected"))
        hanging = process(EDGE2)

        on(EDGE2, f"kill -STOP {hanging}")

        wait_for("another process", lambda: process(EDGE2) not in ("0", hanging))
        assert "watchdog" in on(EDGE2, f"journalctl --unit {UNIT} --no-pager | grep -i watchdog | tail -1").lower()
        wait_for("the client connecting", lambda: status(EDGE2).startswith("connected"))
    finally:
        on(EDGE2, f"rm -r {drop_in} && systemctl daemon-reload && systemctl restart {UNIT}")


def test_wrong_configuration_is_told_once_and_the_next_deployment_brings_the_client_back(fleet: dict[str, str]) -> None:
    on(EDGE2, f"echo '{{' > /etc/mqtt-client/client.json; systemctl restart {UNIT} || true")

    wait_for("its end", lambda: on(EDGE2, f"systemctl show --value --property=ActiveState {UNIT}") == "failed")

    assert on(EDGE2, f"systemctl show --value --property=NRestarts {UNIT}") == "0"
    said = on(EDGE2, f"journalctl --unit {UNIT} --output cat --no-pager | tail -20")
    assert said.count("client.json: is not JSON") == 1
    run = run_playbook(DEPLOY, "--limit", "edge2")
    assert run.returncode == 0, run.error
    wait_for("the client connecting", lambda: status(EDGE2).startswith("connected"))


def test_version_that_does_not_deliver_is_rolled_back_and_the_next_device_is_untouched(
    fleet: dict[str, str], tmp_path: Path
) -> None:
    shutil.copytree(REPOSITORY / "clients", tmp_path / "clients")
    broken = tmp_path / "clients/mqtt_fleet/awsiotsdk_transport.py"
    broken.write_text(broken.read_text() + "\nAwsIotSdkConnection.publish = lambda *_: 1\n")
    unit, next_process = on(EDGE1, f"systemctl cat {UNIT}"), process(EDGE2)
    source = {"mqtt_client_prepare_source_directory": str(tmp_path / "clients"), "mqtt_client_connected_timeout": 15}
    began = time.time()

    run = run_playbook(DEPLOY, "-e", json.dumps(source))

    assert run.returncode == 2, run.output
    assert re.match(
        r"client_01: release \S+: found active, connected to \S+ since \S+; backlog \d+; acknowledged 0; .*, "
        r"expected a connection and a message acknowledged within 15 s: "
        r"rolled back to release \S+, which is connected: see 'journalctl -u mqtt-client'$",
        run.error,
    ), run.error
    assert on(EDGE1, f"systemctl cat {UNIT}") == unit
    assert process(EDGE2) == next_process
    since = time.time()
    wait_for("messages of the device that went back", lambda: arrived("client_01", since))
    wait_for(
        "every message of it",
        lambda: count(read(monitor.ledger_path(), began) or [], began)["lost"] == 0,
    )


def test_version_whose_messages_do_not_arrive_is_rolled_back(fleet: dict[str, str], tmp_path: Path) -> None:
    """The broker acknowledged them, and the monitor sees those of others only."""
    kept = tmp_path / "ledger.sqlite"
    with sqlite3.connect(kept) as database:
        database.execute("CREATE TABLE message (client_id TEXT, region TEXT, arrived_at REAL)")
        database.execute("INSERT INTO message VALUES ('somebody', 'us-east-1', ?)", (time.time() + 60,))
    unit = on(EDGE2, f"systemctl cat {UNIT}")
    settings = {"mqtt_client_ledger": str(kept), "mqtt_client_keep_alive": 45, "mqtt_client_connected_timeout": 15}

    run = run_playbook(DEPLOY, "--limit", "edge2", "-e", json.dumps(settings))

    assert run.returncode == 2, run.output
    assert run.error.startswith(f"client_02: found no message of it in {kept} within 15 s: check")
    assert "; rolled back to release " in run.error
    assert on(EDGE2, f"systemctl cat {UNIT}") == unit
    assert json.loads(on(EDGE2, "cat /etc/mqtt-client/client.json"))["keep_alive"] == 30
    wait_for("the client connecting", lambda: status(EDGE2).startswith("connected"))


def test_device_that_is_off_keeps_nobody_from_being_set_up(fleet: dict[str, str], tmp_path: Path) -> None:
    run = run_playbook(*with_edge2(tmp_path, ansible_host=NOBODY), "setup.yml")

    assert run.returncode == 0, run.output
    assert run.changed == 0, run.output
    assert "edge2: not reachable; its certificate is that of its last signing request" in run.output


def test_removed_client_leaves_its_messages_and_a_new_installation_delivers_them(
    fleet: dict[str, str], stand_in: StandIn
) -> None:
    before = certificates(topology.REGIONS[0].name, "client_02")
    began = time.time()
    with cut_off_from_the_regions(EDGE2, "mqtt2.example.com"):
        wait_for("undelivered messages", lambda: backlog(EDGE2) > 5)
        run = run_playbook("playbooks/remove_clients.yml", "--limit", "edge2")
    assert run.returncode == 0, run.output
    left = re.search(
        r"client_02: (\d+) messages were not delivered and are kept in /var/lib/private/mqtt-c", run.output
    )
    assert left, run.output
    assert int(left[1]) > 5
    places = f"/etc/mqtt-client /opt/mqtt-client /run/mqtt-client /etc/systemd/system/{UNIT}"
    assert on(EDGE2, f"ls -d {places} 2>/dev/null; systemctl list-unit-files --no-legend {UNIT} || true") == ""
    assert "outbox.sqlite" in on(EDGE2, "ls /var/lib/private/mqtt-client").split()

    foretold = run_playbook(DEPLOY, "--limit", "edge2", "--check", "--diff")
    assert foretold.returncode == 0, foretold.output
    assert foretold.changed > 0
    assert on(EDGE2, f"ls -d {places} 2>/dev/null || true") == ""

    run = run_playbook(DEPLOY, "--limit", "edge2")

    assert run.returncode == 0, run.output
    since = time.time()
    wait_for("messages of the new installation", lambda: arrived("client_02", since))
    wait_for(
        "every message, also those that were left",
        lambda: count(read(monitor.ledger_path(), began) or [], began)["lost"] == 0,
    )
    # The key went with the client: the new one has a new certificate, and the old one is valid no more.
    for region in topology.REGIONS:
        now = certificates(region.name, "client_02")
        assert {now[identifier] for identifier in before} == {"INACTIVE"}
        assert [now[identifier] for identifier in set(now) - set(before)] == ["ACTIVE"]
    assert not (REPOSITORY / "certs/clients/superseded").exists() or not list(
        (REPOSITORY / "certs/clients/superseded").glob("client_02.*")
    )
