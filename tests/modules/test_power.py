"""Power cuts with a disk that really forgets: the short form of tests/soak/test_power.py."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from .client_world import eventually
from .power import cut_power, make_disk, powered

pytestmark = [
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
    pytest.mark.skipif(os.geteuid() != 0 or not Path("/dev/fuse").exists(), reason="a disk needs root and FUSE"),
]


@pytest.mark.parametrize("library", ["awsiotsdk", "paho"])
def test_accepted_messages_are_there_after_power_cuts(tmp_path: Path, library: str) -> None:
    accepted, lost, contradictions = cut_power(tmp_path, library, times=4)

    assert accepted >= 4
    assert (lost, contradictions) == (0, 0)


def test_disk_forgets_what_was_not_flushed_and_keeps_what_was(tmp_path: Path) -> None:
    image = tmp_path / "image"
    make_disk(image)
    with powered(image, tmp_path, "0") as server:
        for name, flushed in (("flushed", True), ("written", False)):
            with (tmp_path / "disk" / name).open("wb") as file:
                file.write(b"x" * 10_000)
                file.flush()
                if flushed:
                    os.fsync(file.fileno())
        server.send_signal(signal.SIGUSR1)
        eventually(lambda: not can_write(tmp_path / "disk" / "later"), "the cut")

    with powered(image, tmp_path):
        assert {"flushed", "written"} & {path.name for path in (tmp_path / "disk").iterdir()} == {"flushed"}
        assert (tmp_path / "disk" / "flushed").read_bytes() == b"x" * 10_000


def can_write(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_SYNC)
        try:
            return os.write(descriptor, b"x") == 1
        finally:
            os.close(descriptor)
    except OSError:
        return False
