"""A hundred power cuts with a disk that really forgets, per library."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ..modules.power import cut_power


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("library", ["awsiotsdk", "paho"])
def test_a_hundred_power_cuts(tmp_path: Path, library: str, capsys: pytest.CaptureFixture[str]) -> None:
    accepted, lost, contradictions = cut_power(tmp_path, library, times=100)

    with capsys.disabled():
        sys.stdout.write(f"\n100 power cuts, {library}: {accepted} accepted, {lost} lost\n")
    assert (lost, contradictions) == (0, 0)
