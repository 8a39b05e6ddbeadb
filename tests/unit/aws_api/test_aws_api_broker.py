"""Who is connected, from the broker's log."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.aws_api.broker import Broker, Connected, Ended, Event, Started, parse
from lab.aws_api.connections import ConnectionTable

STAMP = "2026-11-23T21:33:13+0000: "


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ("mosquitto version 2.0.11 starting", Started()),
        (
            "New client connected from /x/mosquitto.sock:0 as a as (b) ü (p2, c0, k30).",
            Connected("a as (b) ü", False, 30, None),
        ),
        (
            "New client connected from /x/m.sock:0 as client_01 (p5, c1, k1200, u'DeleteConnection').",
            Connected("client_01", True, 1200, "DeleteConnection"),
        ),
        ("Client a b already connected, closing old connection.", Ended("a b", "DUPLICATE_CLIENTID")),
        ("Client a has exceeded timeout, disconnecting.", Ended("a", "MQTT_KEEP_ALIVE_TIMEOUT")),
        ("Client a closed its connection.", Ended("a", "CONNECTION_LOST")),
        ("Client a disconnected.", Ended("a", "CLIENT_INITIATED_DISCONNECT")),
        ("Client a disconnected due to protocol error.", Ended("a", "CLIENT_ERROR")),
        ("Client a been disconnected by administrative action.", Ended("a", "API_INITIATED_DISCONNECT")),
    ],
)
def test_line_tells_of_a_connection(message: str, event: Event) -> None:
    parsed = parse(STAMP + message + "\n")
    assert parsed is not None
    assert parsed[1] == event
    assert parsed[0].timestamp() == 1795469593


@pytest.mark.parametrize(
    "line", ["", "garbage", STAMP + "New connection from /x/m.sock:0 on port 0.", STAMP + "Config loaded from m.conf."]
)
def test_other_lines_tell_nothing(line: str) -> None:
    assert parse(line) is None


@pytest.fixture
def broker(tmp_path: Path) -> Broker:
    return Broker(tmp_path, ConnectionTable())


def _log(tmp_path: Path, *messages: str) -> None:
    with (tmp_path / "mosquitto.log").open("a") as stream:
        stream.writelines(f"{STAMP}{message}\n" for message in messages)


CONNECT = "New client connected from /x:0 as client_01 (p2, c0, k30)."
CUT = "Client client_01 been disconnected by administrative action."
CLEANED = "New client connected from /x:0 as client_01 (p2, c1, k60, u'DeleteConnection')."
REPLACED = "Client client_01 already connected, closing old connection."
LEFT = "Client client_01 disconnected."


def test_cut_is_a_disconnection_by_the_api(tmp_path: Path, broker: Broker) -> None:
    _log(tmp_path, CONNECT, CUT, CLEANED, LEFT)
    broker.refresh()
    [connection] = list(broker.table)
    assert (connection.connected, connection.disconnect_reason) == (False, "API_INITIATED_DISCONNECT")


def test_client_that_returns_while_its_session_is_ended_is_connected(tmp_path: Path, broker: Broker) -> None:
    _log(tmp_path, CONNECT, CUT, CLEANED, REPLACED, CONNECT)
    broker.refresh()
    [connection] = list(broker.table)
    assert connection.connected is True


def test_broker_that_restarts_has_nobody_connected(tmp_path: Path, broker: Broker) -> None:
    _log(tmp_path, CONNECT, "mosquitto version 2.0.11 starting")
    broker.refresh()
    [connection] = list(broker.table)
    assert (connection.connected, connection.disconnect_reason) == (False, "CONNECTION_LOST")


def test_line_that_is_half_written_waits_for_its_rest(tmp_path: Path, broker: Broker) -> None:
    path = tmp_path / "mosquitto.log"
    path.write_text((STAMP + CONNECT)[:50])
    broker.refresh()
    assert list(broker.table) == []
    with path.open("a") as stream:
        stream.write((STAMP + CONNECT)[50:] + "\n")
    broker.refresh()
    assert [connection.client_id for connection in broker.table] == ["client_01"]


def test_log_that_is_cut_is_read_from_its_beginning(tmp_path: Path, broker: Broker) -> None:
    _log(tmp_path, CONNECT, LEFT, CONNECT, LEFT)
    broker.refresh()
    (tmp_path / "mosquitto.log").write_text(f"{STAMP}{CONNECT}\n")
    broker.refresh()
    [connection] = list(broker.table)
    assert connection.connected is True
