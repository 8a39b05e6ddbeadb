"""A move's memory does not grow with the fleet, and a move that was killed does not start over."""

from __future__ import annotations

from pathlib import Path

from ..bench import fleet_size

# A run's page shows so many clients at most, and its share is the same for both.
SMALL, LARGE = 20_000, 40_000
# 209 bytes for each of the clients more: less than any object of Python's with a client ID would take.
ROOM = 4 * 2**20


def moved(folder: Path, clients: int, kill_after: int = 0) -> list[fleet_size.Figures]:
    """Move a fleet of so many; killed on the way, the same command again."""
    folder.mkdir()
    fleet_size.prepare(folder, clients)
    runs = [fleet_size.move(folder, after, direct=True) for after in ([kill_after, 0] if kill_after else [0])]
    assert runs[-1].result["outcome"] == "moved", runs[-1].result.get("msg")
    assert runs[-1].result["summary"]["clients"]["landed"] == clients
    return runs


def test_memory_does_not_grow_with_the_fleet(tmp_path: Path) -> None:
    peaks = [moved(tmp_path / str(clients), clients)[0].peak for clients in (SMALL, LARGE)]

    assert peaks[1] - peaks[0] < ROOM


def test_killed_move_does_not_start_over(tmp_path: Path) -> None:
    first, second = moved(tmp_path / "fleet", SMALL, SMALL // 2)

    assert first.killed
    told = fleet_size.times_told(tmp_path / "fleet")
    assert not told[0]
    assert set(told) <= {1, 2}
    # Only what was not committed when it was killed: COMMIT_SECONDS of the pace, and what was under way.
    assert told[2] < 1000
    assert second.calls["DeleteConnection"] < SMALL // 2 + 1000
    # The first looks at the whole fleet once. So does the second, whose devices may be elsewhere by now, and again in
    # the end, for those who came late; then once more at the region that was left, which is empty.
    assert second.calls["SearchIndex"] == 2 * first.calls["SearchIndex"] + 1
    assert second.result["summary"]["clients"]["misplaced"] == SMALL
