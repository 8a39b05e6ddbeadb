"""Missing Debian packages: installed without starting services, or named in one line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab import packages
from lab.errors import LabError

APT_ERROR = "Reading lists\nE: Unable to locate package knot\n"


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file through which Debian asks whether a service may start."""
    path = tmp_path / "policy-rc.d"
    monkeypatch.setattr(packages, "POLICY", path)
    return path


def fake_apt(monkeypatch: pytest.MonkeyPatch, returncode: int, policy: Path) -> list[str]:
    """An apt-get that ends with a code; returns the list of what the policy said while it ran."""
    seen: list[str] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if command[0] == "apt-get":
            seen.append(policy.read_text(encoding="ascii"))
        return subprocess.CompletedProcess(command, returncode, "", APT_ERROR if returncode else "")

    monkeypatch.setattr(packages.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(packages.subprocess, "run", run)
    return seen


def test_without_apt_the_packages_are_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.shutil, "which", lambda _name: None)

    with pytest.raises(LabError, match=r"^packages knot unbound are missing .*: install them and run again$"):
        packages.install(["knot", "unbound"])


def test_what_apt_cannot_install_is_named_with_its_reason(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_apt(monkeypatch, 100, policy)

    with pytest.raises(LabError, match=r"^packages knot are missing .*Unable to locate package knot.*run again$"):
        packages.install(["knot"])
    assert not policy.exists()


def test_services_are_kept_from_starting_and_the_machines_own_policy_is_put_back(
    policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy.write_text("#!/bin/sh\nexit 0\n", encoding="ascii")
    seen = fake_apt(monkeypatch, 0, policy)

    packages.install(["knot"])

    assert seen == ["#!/bin/sh\nexit 101\n"] * 2
    assert policy.read_text(encoding="ascii") == "#!/bin/sh\nexit 0\n"
    assert list(policy.parent.iterdir()) == [policy]
