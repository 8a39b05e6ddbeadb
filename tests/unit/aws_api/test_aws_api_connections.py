"""Who is connected, now and a while ago."""

from __future__ import annotations

import pytest

from lab.aws_api import connections
from lab.aws_api.connections import ConnectionTable


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time in milliseconds, which a test may set."""
    moment = [1_000]
    monkeypatch.setattr(connections, "milliseconds", lambda: moment[0])
    return moment


def test_connections_are_told_as_they_were(now: list[int]) -> None:
    table = ConnectionTable()
    for now[0], change in ((1_000, table.connect), (2_000, lambda name: table.disconnect(name, "CONNECTION_LOST"))):
        change("client_01")
    now[0] = 3_000
    table.connect("client_02")

    def connected(moment: int) -> list[str]:
        return [connection.client_id for connection in table.as_of(moment) if connection.connected]

    assert connected(999) == []
    assert connected(1_000) == ["client_01"]
    assert connected(1_999) == ["client_01"]
    assert connected(2_000) == []
    assert connected(3_000) == ["client_02"]


def test_the_past_is_not_kept_for_ever(now: list[int]) -> None:
    table = ConnectionTable()
    for now[0] in range(0, 100 * connections.KEPT_PAST, connections.KEPT_PAST // 2):
        table.connect("client_01")

    assert len(table._past["client_01"]) <= 3
