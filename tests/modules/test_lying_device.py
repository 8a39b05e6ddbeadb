"""A device that answers what it likes, here a program in the place of Python: what its answer may make Ansible do."""

from __future__ import annotations

import fcntl
import json
import re
import shlex
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .conftest import REPOSITORY
from .test_device_resolvers import RIGHT, ask, device

SETTINGS = "inject_facts_as_vars|action_plugins|gathering"


@pytest.fixture(params=["as it comes", "another one"])
def configuration(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's ansible.cfg, and one of somebody else's, which has none of what makes devices harmless."""
    if request.param == "as it comes":
        return
    mine = re.sub(rf"^({SETTINGS}) = .*\n", "", (REPOSITORY / "ansible.cfg").read_text(), flags=re.MULTILINE)
    paths = r"^(inventory|roles_path|library|module_utils|\w+_plugins|collections_path) = "
    path = tmp_path / "ansible.cfg"
    path.write_text(re.sub(paths, rf"\g<0>{REPOSITORY}/", mine, flags=re.MULTILINE))
    monkeypatch.setenv("ANSIBLE_CONFIG", str(path))
    monkeypatch.setenv("ANSIBLE_INJECT_FACT_VARS", "True")


def program(folder: Path, script: str) -> dict[str, Any]:
    """A device with this shell script in the place of Python."""
    path = folder / "python3"
    path.write_text(f"#!/bin/sh\ncat > /dev/null\n{script}\n")
    path.chmod(0o755)
    return device(RIGHT, ansible_python_interpreter=str(path))


def liar(folder: Path, answer: object) -> dict[str, Any]:
    (folder / "answer").write_text(json.dumps(answer))
    return program(folder, f"cat {shlex.quote(str(folder / 'answer'))}")


LOOKUP = {"canonical": RIGHT, "addresses": [RIGHT], "error": ""}


@pytest.mark.usefixtures("configuration")
def test_what_a_device_says_is_no_variable(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    facts = {
        # Python's own way to run a program when it starts.
        "aws_environment": {"PYTHONWARNINGS": "all:0:antigravity.x:0:0", "BROWSER": f"sh -c 'touch {marker}' %s"},
        "failover_dns_policy": "proceed",
    }
    said = {"changed": False, "lookups": {RIGHT: LOOKUP}, "stale": [RIGHT], "ansible_facts": facts}

    done = ask(tmp_path, {"edge1": liar(tmp_path, said)})

    assert "devices: 0 right, 1 stale, 0 could not be asked" in done.stdout
    # What then becomes of the move is still for the inventory to say.
    assert "went on, DNS policy wait" in done.stdout
    assert not marker.exists()


@pytest.mark.usefixtures("configuration")
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exec sleep 3600", "no answer within 15 s"),
        ("exec cat /dev/zero", "an answer without end"),
        ("printf '\\033[2Jjunk\\n'; exit 1", r"an answer that cannot be read: the answer is \x1b[2Jjunk"),
        ('echo \'{"changed": false, "lookups": {}}\'', "an answer that cannot be read: 127.0.0.1 is None"),
    ],
    ids=["hangs", "never ends", "escapes", "nothing"],
)
def test_device_that_cannot_be_asked_is_named_and_passed_over(tmp_path: Path, script: str, reason: str) -> None:
    limit = 15 if "sleep" in script else 120

    done = ask(
        tmp_path,
        {"edge1": program(tmp_path, script), "edge2": device(RIGHT)},
        failover_device_time_limit=limit,
    )

    assert done.returncode == 0, done.stdout
    assert "devices: 1 right, 0 stale, 1 could not be asked" in done.stdout
    assert f"could not be asked: edge1 ({reason})" in json.loads(f'"{said_of(done)}"')
    assert "went on" in done.stdout
    assert "\x1b" not in done.stdout


def said_of(done: subprocess.CompletedProcess[str]) -> str:
    return re.findall(r'"(could not be asked: edge1.*)"', done.stdout)[-1]


@pytest.mark.timeout(120)
def test_program_that_hangs_is_ended(tmp_path: Path) -> None:
    lock = tmp_path / "lock"

    done = ask(
        tmp_path,
        {"edge1": program(tmp_path, f"exec 9> {lock}; flock 9; exec sleep 3600")},
        failover_device_time_limit=5,
    )

    assert "no answer within 5 s" in done.stdout
    # Held for as long as the program is there.
    with lock.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)


def test_device_that_takes_connections_and_says_nothing_is_passed_over(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        # Longer than the time limit, so that this is what ends it.
        silent = device(RIGHT, ansible_connection="ssh", ansible_host="127.0.0.1", ansible_port=server.getsockname()[1])
        done = ask(tmp_path, {"edge1": silent}, failover_device_connect_timeout=3600, failover_device_time_limit=5)

    assert done.returncode == 0, done.stdout
    assert "could not be asked: edge1 (no answer within 5 s)" in done.stdout
    assert "went on" in done.stdout
