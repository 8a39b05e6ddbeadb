"""`make watch` where the lab is not up, and what it says of the lab's devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import watch


def test_lab_that_is_not_up_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path))

    assert watch.main() == 1
    said = capsys.readouterr().err
    assert said.startswith("watch: the lab is not up: run 'make lab'")
    assert said.count("\n") == 1


def test_devices_are_described_by_library_and_endpoint() -> None:
    assert watch.described() == {"client_01": "awsiotsdk mqtt1.example.com", "client_02": "paho mqtt2.example.com"}
