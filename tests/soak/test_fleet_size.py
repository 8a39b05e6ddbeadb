"""A million clients take the memory of a hundred thousand; a move killed in the middle goes on where it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..bench import fleet_size

SMALL, LARGE = 100_000, 1_000_000
# 18 bytes for each client more.
ROOM = 16 * 2**20


@pytest.mark.timeout(3 * 3600)
def test_a_million_clients(tmp_path: Path) -> None:
    peaks = []
    for clients in (SMALL, LARGE):
        folder = tmp_path / str(clients)
        folder.mkdir()
        fleet_size.prepare(folder, clients)
        # Through botocore it would take most of an hour, and nothing of botocore's is proven here.
        killed, resumed = (fleet_size.move(folder, after, direct=True) for after in (clients // 2, 0))
        told = fleet_size.times_told(folder)

        assert killed.killed
        assert resumed.result["outcome"] == "moved", resumed.result.get("msg")
        assert resumed.result["summary"]["clients"]["landed"] == clients
        assert set(told) <= {1, 2}
        assert not told[0]
        assert told[2] < 2000
        # As the small one in tests/modules.
        assert resumed.calls["SearchIndex"] == 2 * killed.calls["SearchIndex"] + 1
        peaks.append(max(killed.peak, resumed.peak))

    assert peaks[1] - peaks[0] < ROOM
