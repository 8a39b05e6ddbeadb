"""Missing Debian packages: installed without starting services, or named in one line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab import packages
from lab.errors import LabError

APT_ERROR = "Reading lists\nE: Unable to locate package knot\n"
POLICY = Path("/usr/sbin/policy-rc.d")

# What debhelper puts into the scripts of a package with a service (dh_installsystemd(1), dh_installinit(1)).
POSTINST = """\
if deb-systemd-helper --quiet was-enabled '{unit}'; then
    deb-systemd-helper enable '{unit}'
else
    deb-systemd-helper update-state '{unit}'
fi
deb-systemd-invoke start '{unit}'
invoke-rc.d --skip-systemd-native {unit} start
"""
# Debian's own programs, in the places of which nothing else is on the machine of the test.
REAL_PROGRAM = """\
#!/bin/sh
echo "${{0##*/}} $*" >>{log}
"""


@dataclass
class Apt:
    """An apt-get that runs the scripts of two packages as dpkg does, and ends with a code.

    Attributes:
        real: folder of Debian's own programs, which note in `log` what they are told.
        returncode: what it ends with.
        policies: what the machine's policy for services was while it ran: None, or content.
        commands: how it was called.
    """

    real: Path
    log: Path
    returncode: int = 0
    policies: list[bytes | None] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)

    def run(
        self, command: list[str], env: Mapping[str, str] = os.environ, **_: object
    ) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        self.policies.append(policy())
        if "install" in command and not self.returncode:
            own = "/usr/sbin:/usr/bin:/sbin:/bin"
            path = next((each.removeprefix("DPkg::Path=") for each in command if each.startswith("DPkg::Path=")), own)
            environment = {**env, "PATH": path.replace("/usr/sbin", f"{self.real}:/usr/sbin", 1)}
            for unit in ("knot.service", "other.service"):
                subprocess.Popen(["/bin/sh", "-e", "-c", POSTINST.format(unit=unit)], env=environment).wait()
        return subprocess.CompletedProcess(command, self.returncode, "", APT_ERROR if self.returncode else "")


def policy() -> bytes | None:
    return POLICY.read_bytes() if os.path.lexists(POLICY) else None


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apt:
    found = Apt(tmp_path / "sbin", tmp_path / "log")
    found.real.mkdir()
    found.log.touch()
    for name in ("deb-systemd-helper", "deb-systemd-invoke", "invoke-rc.d"):
        (found.real / name).write_text(REAL_PROGRAM.format(log=found.log))
        (found.real / name).chmod(0o755)
    monkeypatch.setattr(packages.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(packages.subprocess, "run", found.run)
    return found


def test_without_apt_the_packages_are_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.shutil, "which", lambda _name: None)

    with pytest.raises(LabError, match=r"^packages knot unbound are missing .*: install them and run again$"):
        packages.install(["knot", "unbound"])


def test_what_apt_cannot_install_is_named_with_its_reason(apt: Apt) -> None:
    apt.returncode = 100

    with pytest.raises(LabError, match=r"^packages knot are missing .*Unable to locate package knot.*run again$"):
        packages.install(["knot"])


def test_services_are_not_started_and_only_the_labs_are_not_enabled(apt: Apt) -> None:
    packages.install(["knot"])

    assert apt.log.read_text().splitlines() == [
        "deb-systemd-helper update-state knot.service",
        "deb-systemd-helper --quiet was-enabled other.service",
        "deb-systemd-helper enable other.service",
    ]


def test_machine_is_as_it_was_whenever_the_installation_is_killed(apt: Apt) -> None:
    """What keeps services from starting is of the one call of apt: there is nothing to put back."""
    before, programs = policy(), sorted(path.name for path in POLICY.parent.iterdir())

    packages.install(["knot"])

    assert apt.policies == [before, before]
    assert policy() == before
    assert sorted(path.name for path in POLICY.parent.iterdir()) == programs
    assert [command[0] for command in apt.commands] == ["apt-get", "apt-get"]
