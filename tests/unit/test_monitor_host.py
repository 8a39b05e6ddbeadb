"""What the monitor's host lacks is said in one line before anything is installed on it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROLE = Path(__file__).parent.parent.parent / "roles" / "fleet_monitor"


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, on a host that has all: each test takes something away."""
    spec = importlib.util.spec_from_file_location("describe_host", ROLE / "files" / "describe_host.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(os.path, "isdir", lambda path: path == "/run/systemd/system")
    said = subprocess.CompletedProcess([], 0, stdout="systemd 252 (252.39-1~deb12u1)\n+PAM +AUDIT\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: said)
    return module


def test_host_that_has_all_is_described(host: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert host.main() == 0
    assert set(json.loads(capsys.readouterr().out)) == {"python", "machine"}


@pytest.mark.parametrize(
    ("taken", "line"),
    [
        ((os.path, "isdir", lambda _: False), "systemd is not running: put another host into"),
        (
            (subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, stdout="systemd 241 (241)\n")),
            "found systemd 241, expected 247 or newer: put another host into the group monitors",
        ),
        (("sys", "version_info", (3, 8, 1)), "found Python 3.8, expected 3.9 or newer: name a newer one in"),
    ],
)
def test_what_a_host_lacks_is_one_line(
    host: ModuleType, taken: Any, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place, name, value = taken
    monkeypatch.setattr(host.sys if place == "sys" else place, name, value)
    code = host.main()
    monkeypatch.undo()

    assert code == 1
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert len(said.splitlines()) == 1
