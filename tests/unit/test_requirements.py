"""What is installed is locked: every requirement with its version and hashes, as the inputs say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from importlib.metadata import distribution, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parent.parent.parent
INPUTS = sorted([*REPOSITORY.glob("requirements*.in"), *REPOSITORY.glob("clients/requirements-*.in")])
LOCKS = sorted([*REPOSITORY.glob("requirements*.txt"), *REPOSITORY.glob("clients/requirements-*.txt")])
DEVICE_LOCKS = [path for path in LOCKS if path.parent.name == "clients"]
CONTROLLER_PYTHONS = ("3.11", "3.12", "3.13")
DEVICE_PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13")
OPTIONS = ["--only-binary :all:"]


def name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def lines(path: Path) -> list[str]:
    """The lines of a lock that pip reads, each with those that continue it."""
    joined = path.read_text().replace("\\\n", " ").splitlines()
    return [line for line in joined if line.strip() and not line.lstrip().startswith("#")]


def requirements(path: Path) -> list[Requirement]:
    """What a lock, or an input with those that it includes, names."""
    found = []
    for line in lines(path):
        if line.startswith("-r "):
            found += requirements(path.parent / line.removeprefix("-r "))
        elif not line.startswith("-"):
            found.append(Requirement(line.split(" --hash=")[0]))
    return found


def versions(path: Path, python: str) -> dict[str, str]:
    """Name to version of what is installed on a Python."""
    here = {"python_version": python, "python_full_version": f"{python}.1"}
    found = [each for each in requirements(path) if not each.marker or each.marker.evaluate(here)]
    assert len({each.name for each in found}) == len(found)
    return {each.name.lower().replace("_", "-"): str(each.specifier).removeprefix("==") for each in found}


def test_every_input_has_its_lock() -> None:
    assert [path.with_suffix(".txt") for path in INPUTS] == LOCKS
    assert {name(path) for path in LOCKS} >= {
        "requirements.txt",
        "requirements-dev.txt",
        "clients/requirements-paho.txt",
    }


@pytest.mark.parametrize("lock", LOCKS, ids=name)
def test_every_requirement_of_a_lock_has_one_version_and_hashes(lock: Path) -> None:
    locked = [line for line in lines(lock) if line not in OPTIONS]

    assert locked
    assert lines(lock)[: len(OPTIONS)] == OPTIONS
    wrong = [
        line.split()[0]
        for line in locked
        if not re.fullmatch(r"[a-z0-9.-]+==[a-z0-9.]+( ;[^;]*?)?( +--hash=sha256:[0-9a-f]{64})+ *", line)
    ]
    assert wrong == []


@pytest.mark.parametrize("lock", LOCKS, ids=name)
def test_lock_names_no_index(lock: Path) -> None:
    assert not re.search(r"://|index|find-links", lock.read_text())


@pytest.mark.parametrize("asked", INPUTS, ids=name)
def test_lock_has_what_its_input_asks_for(asked: Path) -> None:
    for python in DEVICE_PYTHONS if asked.parent.name == "clients" else CONTROLLER_PYTHONS:
        pinned = versions(asked, python)

        assert pinned
        assert pinned.items() <= versions(asked.with_suffix(".txt"), python).items()


@pytest.mark.parametrize("python", CONTROLLER_PYTHONS)
def test_tests_run_with_what_the_controller_has(python: str) -> None:
    controller = versions(REPOSITORY / "requirements.txt", python)

    assert controller.items() <= versions(REPOSITORY / "requirements-dev.txt", python).items()


@pytest.mark.parametrize("lock", DEVICE_LOCKS, ids=name)
def test_devices_get_the_same_on_every_python_and_what_the_controller_has(lock: Path) -> None:
    """build_bundle.py takes a wheel of each: it knows no markers."""
    assert [str(each) for each in requirements(lock) if each.marker] == []
    devices = versions(lock, DEVICE_PYTHONS[0])
    # The last that runs on Python 3.9, which the controller need not.
    assert devices.pop("dnspython") == "2.7.0"
    assert devices.items() <= versions(REPOSITORY / "requirements.txt", CONTROLLER_PYTHONS[0]).items()


FAKE_PYTHON = """\
#!/bin/sh
echo "$@" >>{log}
case "$*" in "-m venv "*) mkdir -p {venv}/bin; cp "$0" {venv}/bin/python;; esac
"""


def test_make_installs_the_lock_with_its_hashes_and_again_when_it_changes(tmp_path: Path) -> None:
    log, venv, python = tmp_path / "log", tmp_path / "venv", tmp_path / "python"
    python.write_text(FAKE_PYTHON.format(log=log, venv=venv))
    python.chmod(0o755)
    for path in [REPOSITORY / "Makefile", *REPOSITORY.glob("requirements*")]:
        shutil.copy(path, tmp_path)

    def installed() -> list[str]:
        log.write_text("")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
        command = ["make", "--silent", "venv", f"PYTHON={python}", f"VENV={venv}"]
        subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True)
        return [line for line in log.read_text().splitlines() if line.startswith("-m pip")]

    (first,) = installed()
    assert {"install", "--require-hashes", "--only-binary", "requirements-dev.txt"} <= set(first.split())
    assert installed() == []
    stamp = (venv / ".installed").stat().st_mtime
    os.utime(tmp_path / "requirements-dev.txt", (stamp + 1, stamp + 1))
    assert installed() == [first]


# What the package ansible brings along, and what of requirements.in a controller need not have.
BROUGHT_ALONG = {"ansible"}


def test_execution_environment_has_what_the_controller_has() -> None:
    content = yaml.safe_load((REPOSITORY / "execution-environment.yml").read_text())
    dependencies = content["dependencies"]
    controller = versions(REPOSITORY / "requirements.in", CONTROLLER_PYTHONS[0])
    python = dict(each.split("==") for each in dependencies["python"])

    assert content["version"] == 3
    assert python == {name: version for name, version in controller.items() if name not in BROUGHT_ALONG}
    core = versions(REPOSITORY / "requirements.txt", CONTROLLER_PYTHONS[0])["ansible-core"]
    assert dependencies["ansible_core"] == {"package_pip": f"ansible-core=={core}"}
    assert (REPOSITORY / dependencies["galaxy"]).exists()
    assert (REPOSITORY / dependencies["system"]).exists()


def test_collections_are_those_that_the_roles_use_and_that_ansible_brings_along() -> None:
    named = yaml.safe_load((REPOSITORY / "requirements.yml").read_text())["collections"]
    used = {
        match
        for path in [*REPOSITORY.glob("roles/*/tasks/*.yml"), *REPOSITORY.glob("playbooks/*.yml")]
        for match in re.findall(r"^ *(?:- )?([a-z]+\.[a-z]+)\.[a-z0-9_]+:$", path.read_text(), re.MULTILINE)
    } - {"ansible.builtin"}

    # amazon.aws has the lookups of secrets that certs/README.md names.
    assert {each["name"] for each in named} == used | {"amazon.aws"}
    ours = version("ansible")
    if ours == versions(REPOSITORY / "requirements.in", CONTROLLER_PYTHONS[0])["ansible"]:
        site = Path(str(distribution("ansible").locate_file("ansible_collections")))
        for each in named:
            manifest = json.loads((site / each["name"].replace(".", "/") / "MANIFEST.json").read_text())
            assert each["version"] == manifest["collection_info"]["version"]
