"""Files appear whole, closed to others from the start, and only when they differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import files


def test_a_file_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    assert files.write(path, "one\n")
    written = path.stat().st_mtime_ns
    assert not files.write(path, "one\n")
    assert path.stat().st_mtime_ns == written
    assert files.write(path, "two\n")
    assert path.read_text(encoding="ascii") == "two\n"


def test_the_mode_is_the_one_asked_for(tmp_path: Path) -> None:
    files.write(tmp_path / "key", b"secret", 0o600)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_what_an_interrupted_write_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".file.partial").write_text("half", encoding="ascii")
    files.write(tmp_path / "file", "whole")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_failing_replacement_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    files.write(path, "old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write(path, "new")
    assert path.read_text(encoding="ascii") == "old"
