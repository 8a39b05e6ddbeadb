"""What an operator may get wrong: one line that names it, exit not 0, nothing changed."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import REPOSITORY, StandIn, run_playbook

MODE_1 = {"mqtt1.example.com": "us-east-1", "mqtt2.example.com": "us-east-1"}
LAB = REPOSITORY / "inventory" / "lab"


def with_edge2(folder: Path, **variables: Any) -> list[str]:
    """Arguments that name the lab's inventory with other variables for its second device."""
    override = folder / "override.yml"
    override.write_text(yaml.safe_dump({"edge": {"hosts": {"edge2": variables}}}))
    return ["-i", str(LAB), "-i", str(override)]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["-e", "mode=9"], "9"),
        (["-e", "mode=three"], "three"),
        (["-e", "mode=3.7"], "3.7"),
        (["-e", '{"mode": 3.7}'], "3.7"),
        (["-e", '{"mode": true}'], "true"),
        (["-e", "mode="], "mode"),
        ([], "mode"),
        (["-e", "mode=1", "-e", json.dumps({"failover_modes": {"1": {**MODE_1, "mqtt3.example.com": "us-east-1"}}})],
         "mqtt3.example.com"),
        (["-e", "mode=1", "-e", json.dumps({"failover_modes": {"1": {**MODE_1, "mqtt1.example.com": "eu-west-1"}}})],
         "eu-west-1"),
    ],
)  # fmt: skip
def test_wrong_mode_is_refused_in_one_line(
    fleet: dict[str, str], stand_in: StandIn, arguments: list[str], named: str
) -> None:
    last = stand_in.last_request()

    run = run_playbook("failover.yml", *arguments)

    assert run.returncode != 0
    assert named.lower() in run.error.lower()
    assert "expected" in run.error
    assert "\n" not in run.error
    assert "Traceback" not in run.output
    assert stand_in.writes_since(last) == []


def test_mode_as_number_and_as_string_are_the_same(fleet: dict[str, str]) -> None:
    as_string = run_playbook("failover.yml", "-e", "mode=3")
    as_number = run_playbook("failover.yml", "-e", '{"mode": 3}')

    assert as_string.returncode == as_number.returncode == 0
    assert as_number.changed == 0


def test_lab_that_is_not_up_is_said_in_one_line(fleet: dict[str, str]) -> None:
    nobody = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "lab",
        "AWS_SECRET_ACCESS_KEY": "lab",
    }

    run = run_playbook("failover.yml", "-e", "mode=3", "-e", json.dumps({"aws_environment": nobody}))

    assert run.returncode != 0
    assert "The lab is not up. Run 'make lab'" in run.error
    assert "Traceback" not in run.output


@pytest.mark.skipif(platform.system() != "Linux" or os.geteuid() != 0, reason="drops root privileges")
def test_lab_without_root_is_refused_in_one_line() -> None:
    setpriv = shutil.which("setpriv")
    assert setpriv

    done = subprocess.run(
        [setpriv, "--reuid=65534", "--clear-groups", sys.executable, "-m", "lab", "up"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "root" in done.stderr


def test_deploy_leaves_a_device_with_an_unknown_endpoint_as_it_is(fleet: dict[str, str], tmp_path: Path) -> None:
    run = run_playbook(*with_edge2(tmp_path, mqtt_endpoint="mqtt9.example.com"), "playbooks/deploy_clients.yml")

    assert run.returncode != 0
    assert run.error == (
        "host edge2: mqtt_endpoint is mqtt9.example.com, expected one of mqtt1.example.com, mqtt2.example.com: "
        "correct it in the inventory or add it to iot_endpoints"
    )
    assert run.changed == 0


def test_deploy_names_the_ca_that_is_missing(fleet: dict[str, str], tmp_path: Path) -> None:
    missing = str(tmp_path / "ca.crt")

    run = run_playbook(*with_edge2(tmp_path, mqtt_client_ca=missing), "playbooks/deploy_clients.yml")

    assert run.returncode != 0
    assert run.error == (
        f"host edge2: the CA or the certificate of client_02 is missing on the controller ({missing}): "
        "run setup.yml first"
    )
    assert run.changed == 0


def test_unreachable_device_is_reported_and_the_others_are_deployed(fleet: dict[str, str], tmp_path: Path) -> None:
    # In the lab's network, and nobody's.
    run = run_playbook(*with_edge2(tmp_path, ansible_host="198.18.83.250"), "playbooks/deploy_clients.yml")

    assert run.returncode == 2
    assert run.error == "edge2: not reachable, nothing was changed: run again when the device is on"
    hosts = {line.split()[0]: line for line in run.output.partition("PLAY RECAP")[2].splitlines() if " : ok=" in line}
    assert "failed=1" in hosts["edge2"]
    assert "failed=0" in hosts["edge1"]
    assert "ok: [edge1]" in run.output.partition("Install the client and wait until it works]")[2]
