"""Devices are asked where their own resolvers lead, and those that cannot be asked hold up nobody."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import endpoint_lookup_info
import pytest
import yaml

from .conftest import REPOSITORY
from .modules import error_of, run_ok

PLAYBOOK = [
    {
        "hosts": "localhost",
        "gather_facts": False,
        "environment": "{{ aws_environment }}",
        "tasks": [
            {
                "name": "Ask the devices",
                "ansible.builtin.include_role": {"name": "failover", "tasks_from": "device_resolvers"},
            },
            {"name": "Run a module", "ansible.builtin.ping": {}},
            {"name": "Go on", "ansible.builtin.debug": {"msg": "went on, DNS policy {{ failover_dns_policy }}"}},
        ],
    }
]
# Looked up without any name server: an address is its own canonical name.
RIGHT, WRONG = "127.0.0.1", "127.0.0.2"


def device(endpoint: str, **variables: Any) -> dict[str, Any]:
    return {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "mqtt_endpoint": endpoint,
        **variables,
    }


def unreachable(endpoint: str) -> dict[str, Any]:
    """A device that refuses connections: the port is bound, and nobody listens."""
    return device(endpoint, ansible_connection="ssh", ansible_host="127.0.0.1", ansible_port=1)


def ask(
    folder: Path, devices: dict[str, dict[str, Any]], library: Path | None = None, **variables: Any
) -> subprocess.CompletedProcess[str]:
    """Run the tasks against these devices."""
    inventory = folder / "hosts.json"
    local = {"localhost": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}
    playbook = folder / "playbook.yml"
    playbook.write_text(yaml.safe_dump(PLAYBOOK))
    values = {
        "aws_environment": {"AWS_SECRET_ACCESS_KEY": "not-a-secret"},
        "failover_device_hosts": list(devices),
        "failover_device_targets": {RIGHT: RIGHT, WRONG: RIGHT},
        "failover_device_sample": 10,
        "failover_device_connect_timeout": 5,
        "failover_dns_timeout": 0,
        "failover_dns_policy": "wait",
        **variables,
    }
    everything = {"hosts": local, "children": {"edge": {"hosts": devices}}, "vars": values}
    inventory.write_text(json.dumps({"all": everything}))
    paths = [str(path) for path in (library, REPOSITORY / "library") if path]
    command = Path(sys.executable).parent / "ansible-playbook"
    return subprocess.run(
        [str(command), "-i", str(inventory), str(playbook)],
        cwd=REPOSITORY,
        env={**os.environ, "ANSIBLE_LIBRARY": ":".join(paths), "ANSIBLE_LOCAL_TEMP": str(folder / "ansible")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def test_device_that_goes_to_the_target_is_right(tmp_path: Path) -> None:
    done = ask(tmp_path, {"edge1": device(RIGHT)})

    assert done.returncode == 0, done.stdout
    assert "devices: 1 right, 0 stale, 0 could not be asked" in done.stdout


def test_device_that_would_go_back_is_named(tmp_path: Path) -> None:
    done = ask(tmp_path, {"edge1": device(WRONG), "edge2": device(RIGHT)})

    assert done.returncode == 0, done.stdout
    assert f"stale: edge1: {WRONG} = {WRONG}, expected {RIGHT}" in done.stdout
    assert "devices: 1 right, 1 stale" in done.stdout


def test_devices_that_cannot_be_asked_are_told_in_one_line_and_passed_over(tmp_path: Path) -> None:
    no_python = device(RIGHT, ansible_python_interpreter="/nonexistent/python3")
    nowhere = device(RIGHT, ansible_connection="ssh", ansible_host="edge4.example..invalid")

    done = ask(
        tmp_path, {"edge1": unreachable(RIGHT), "edge2": no_python, "edge3": device(RIGHT), "edge4": nowhere}
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
    assert "devices: 1 right, 0 stale, 3 could not be asked" in done.stdout
    [line] = [line for line in done.stdout.splitlines() if "could not be asked: " in line]
    assert all(f"{name} (" in line for name in ("edge1", "edge2", "edge4")), line
    # What ssh says, or, where it ended before it was given the module, what Ansible says of that.
    for device_name, reason in (("edge4", "ssh: Could not resolve hostname"), ("edge1", "ssh: connect to host")):
        assert re.search(rf"{device_name} \(({reason}|Data could not be sent to remote host)", line), line
    assert "went on" in done.stdout
    # No block of errors for each, and nothing of a template.
    assert re.search(r"UNREACHABLE|fatal|ERROR|\{\{", done.stdout) is None, done.stdout


def test_device_whose_variables_are_wrong_is_passed_over_as_well(tmp_path: Path) -> None:
    wrong = device(RIGHT, ansible_connection="ssh", ansible_host="{{ not_there }}")

    done = ask(tmp_path, {"edge1": wrong, "edge2": device(RIGHT)})

    assert done.returncode == 0, done.stdout
    assert "devices: 1 right, 0 stale, 1 could not be asked" in done.stdout
    assert "went on" in done.stdout


def test_fleet_without_devices_in_the_inventory_goes_on(tmp_path: Path) -> None:
    done = ask(tmp_path, {})

    assert done.returncode == 0, done.stdout
    assert "devices: 0 right, 0 stale, 0 could not be asked" in done.stdout


@pytest.fixture
def tries(tmp_path: Path) -> Path:
    """A file, to which a module in place of the real one adds AWS's secret each time: right from the third on."""
    library, tries = tmp_path / "library", tmp_path / "tries"
    library.mkdir()
    (library / "endpoint_lookup_info.py").write_text(
        "import os\n"
        "from ansible.module_utils.basic import AnsibleModule\n"
        "module = AnsibleModule({'endpoints': {'type': 'list'}, 'targets': {'type': 'dict'}})\n"
        f"with open({str(tries)!r}, 'a+') as stream:\n"
        "    stream.write('<' + os.environ.get('AWS_SECRET_ACCESS_KEY', '') + '>')\n"
        "    stream.seek(0)\n"
        "    stale = [] if stream.read().count('<') >= 3 else module.params['endpoints']\n"
        "lookup = {'canonical': 'old', 'addresses': [], 'error': ''}\n"
        "names = [*module.params['endpoints'], *module.params['targets'].values()]\n"
        "module.exit_json(changed=False, stale=stale, lookups={name: lookup for name in names})\n"
    )

    return tries


def test_stale_device_is_asked_until_it_is_right(tmp_path: Path, tries: Path) -> None:
    done = ask(tmp_path, {"edge1": device(WRONG)}, tmp_path / "library", failover_dns_timeout=300)

    assert done.returncode == 0, done.stdout
    assert "devices: 1 right, 0 stale" in done.stdout
    assert tries.read_text().count("<") == 3


def test_device_gets_no_credentials(tmp_path: Path, tries: Path) -> None:
    done = ask(tmp_path, {"edge1": device(WRONG)}, tmp_path / "library")

    assert done.returncode == 0, done.stdout
    assert "devices: 0 right, 1 stale" in done.stdout
    assert tries.read_text() == "<>"


def test_devices_are_asked_at_the_same_time_and_those_with_software_of_their_own_are_not(tmp_path: Path) -> None:
    library, asked = tmp_path / "library", tmp_path / "asked"
    library.mkdir()
    asked.mkdir()
    # Answers when three devices are being asked.
    (library / "endpoint_lookup_info.py").write_text(
        "import os, time, uuid\n"
        "from pathlib import Path\n"
        "from ansible.module_utils.basic import AnsibleModule\n"
        "module = AnsibleModule({'endpoints': {'type': 'list'}, 'targets': {'type': 'dict'}})\n"
        f"folder = Path({str(asked)!r})\n"
        "(folder / uuid.uuid4().hex).touch()\n"
        "while len(os.listdir(folder)) < 3:\n"
        "    time.sleep(0.05)\n"
        "lookup = {'canonical': 'new', 'addresses': [], 'error': ''}\n"
        "names = [*module.params['endpoints'], *module.params['targets'].values()]\n"
        "module.exit_json(changed=False, stale=[], lookups={name: lookup for name in names})\n"
    )
    devices = {f"edge{number}": device(RIGHT) for number in range(3)}
    own = {f"other{number}": device(RIGHT, mqtt_client_managed=False) for number in range(3)}

    done = ask(tmp_path, {**devices, **own}, library, failover_device_time_limit=60)

    assert done.returncode == 0, done.stdout
    assert "devices: 3 right, 0 stale, 0 could not be asked" in done.stdout
    assert len(list(asked.iterdir())) == 3


def test_module_says_where_names_lead() -> None:
    found = run_ok("endpoint_lookup_info", {"endpoints": [RIGHT, WRONG], "targets": {RIGHT: RIGHT, WRONG: RIGHT}})

    assert found["lookups"][RIGHT] == {"canonical": RIGHT, "addresses": [RIGHT], "error": ""}
    assert found["stale"] == [WRONG]
    assert not found["changed"]


def test_module_gives_the_reason_where_a_name_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)

    found = run_ok("endpoint_lookup_info", {"endpoints": ["mqtt1.example.com"], "targets": {"mqtt1.example.com": "x"}})

    lookup = {"canonical": "", "addresses": [], "error": "Name or service not known"}
    assert found["lookups"]["mqtt1.example.com"] == lookup
    assert found["stale"] == ["mqtt1.example.com"]


@pytest.mark.parametrize(
    ("canonical", "stale"), [("region.example.net", False), ("Host.example.net.", False), ("old.example.net", True)]
)
def test_endpoint_is_right_when_it_leads_to_the_target_or_where_the_target_leads(canonical: str, stale: bool) -> None:
    lookups = {
        "mqtt1.example.com": {"canonical": canonical.rstrip(".").lower()},
        "Host.example.net.": {"canonical": "region.example.net"},
    }

    found = endpoint_lookup_info.stale_endpoints(lookups, {"mqtt1.example.com": "Host.example.net."})

    assert bool(found) == stale


def test_module_refuses_targets_of_names_it_is_not_asked_for() -> None:
    error = error_of("endpoint_lookup_info", {"endpoints": [RIGHT], "targets": {WRONG: RIGHT}})

    assert error == f"targets: {WRONG} not among the endpoints: add them to endpoints"
