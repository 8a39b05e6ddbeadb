"""Which hierarchies the lab's processes are kept in."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import cgroup
from lab.errors import LabError


def make(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_version_2_has_one(tmp_path: Path) -> None:
    make(tmp_path / "cgroup.controllers", tmp_path / "cgroup.procs")
    assert cgroup.hierarchies(tmp_path) == [tmp_path]


def test_hybrid_has_two(tmp_path: Path) -> None:
    make(tmp_path / "systemd" / "cgroup.procs", tmp_path / "unified" / "cgroup.procs")
    make(tmp_path / "memory" / "cgroup.procs")
    assert cgroup.hierarchies(tmp_path) == [tmp_path / "systemd", tmp_path / "unified"]


def test_version_1_has_one(tmp_path: Path) -> None:
    make(tmp_path / "systemd" / "cgroup.procs")
    assert cgroup.hierarchies(tmp_path) == [tmp_path / "systemd"]


def test_none_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no control groups mounted"):
        cgroup.hierarchies(tmp_path)
