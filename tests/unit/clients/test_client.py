"""The client against a connection that the test plays: what is sent, kept, sent again, and when it connects."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mqtt_fleet.client import Client
from mqtt_fleet.config import Config
from mqtt_fleet.outbox import Outbox
from mqtt_fleet.transport import Acknowledged, Connected, Disconnected, Report

TIMEOUT = 10.0


class PlayedConnection:
    """Records what the client asks of it."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.tokens = itertools.count(1)
        self.published: dict[int, int] = {}
        self.subscribed: list[str] = []
        self.closed = False

    def publish(self, _: str, payload: bytes) -> int:
        token = next(self.tokens)
        self.published[token] = json.loads(payload)["sequence"]
        return token

    def subscribe(self, topic: str) -> None:
        self.subscribed.append(topic)

    def close(self, _: float = 0.0) -> None:
        self.closed = True

    @property
    def sequences(self) -> list[int]:
        return list(self.published.values())


class Stage:
    """A running client, the connections it asked for, and its outbox file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connections: list[PlayedConnection] = []
        config = Config(
            client_id="client_01",
            endpoint="mqtt1.example.com",
            library="paho",
            ca=path,
            certificate=path,
            private_key=path,
            outbox=path / "outbox",
            heartbeat_interval=0.01,
            window=5,
        )
        self.client: Client | None = None
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(config,))
        self.thread.start()
        assert self.ready.wait(TIMEOUT)

    def run(self, config: Config) -> None:
        outbox = Outbox(config.outbox)
        self.client = Client(config, outbox, self.open)
        self.ready.set()
        self.client.run()
        outbox.close()

    def open(self, _: Config, report: Report) -> PlayedConnection:
        self.connections.append(PlayedConnection(report))
        return self.connections[-1]

    def connection(self, number: int) -> PlayedConnection:
        wait_until(lambda: len(self.connections) > number)
        return self.connections[number]

    def stop(self) -> None:
        if self.client:
            self.client.stop()
        self.thread.join(TIMEOUT)
        assert not self.thread.is_alive()

    def kept(self) -> list[int]:
        outbox = Outbox(self.path / "outbox")
        try:
            return [message.sequence for message in outbox.after(0, 100_000)]
        finally:
            outbox.close()


def wait_until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(int(TIMEOUT / 0.005)):
        if condition():
            return
        pause.wait(0.005)
    pytest.fail(f"condition not met within {TIMEOUT} s")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.stop()


def test_window_bounds_what_is_in_flight_and_acknowledged_messages_leave(stage: Stage) -> None:
    connection = stage.connection(0)
    connection.report(Connected(session_present=False, address=None))
    wait_until(lambda: connection.sequences == [1, 2, 3, 4, 5])
    connection.report(Acknowledged(2))
    wait_until(lambda: connection.sequences == [1, 2, 3, 4, 5, 6])
    stage.stop()
    assert stage.kept()[:4] == [1, 3, 4, 5]


def test_in_flight_messages_are_sent_again_first_and_in_order(stage: Stage) -> None:
    first = stage.connection(0)
    first.report(Connected(session_present=False, address=None))
    wait_until(lambda: first.sequences == [1, 2, 3, 4, 5])
    first.report(Acknowledged(1))
    first.report(Disconnected("kicked"))
    second = stage.connection(1)
    assert first.closed
    second.report(Connected(session_present=False, address=None))
    wait_until(lambda: len(second.sequences) == 5)
    assert second.sequences == [2, 3, 4, 5, 6]


def test_abandoned_connection_is_not_listened_to(stage: Stage) -> None:
    first = stage.connection(0)
    first.report(Connected(session_present=False, address=None))
    wait_until(lambda: len(first.sequences) == 5)
    first.report(Disconnected("kicked"))
    second = stage.connection(1)
    first.report(Acknowledged(1))
    first.report(Disconnected("again"))
    first.report(Connected(session_present=False, address=None))
    second.report(Connected(session_present=False, address=None))
    wait_until(lambda: len(second.sequences) == 5)
    assert second.sequences[0] == 1
    assert len(stage.connections) == 2


@pytest.mark.parametrize(("session_present", "topics"), [(False, ["fleet/client_01/commands"]), (True, [])])
def test_subscribes_where_the_broker_has_no_session(stage: Stage, session_present: bool, topics: list[str]) -> None:
    connection = stage.connection(0)
    connection.report(Connected(session_present=session_present, address=None))
    wait_until(lambda: len(connection.sequences) == 5)
    assert connection.subscribed == topics


def test_message_is_on_disk_while_there_is_no_connection(stage: Stage) -> None:
    stage.connection(0).report(Disconnected("no route"))
    wait_until(lambda: len(stage.kept()) >= 3)
    stage.stop()
    assert stage.kept()[:3] == [1, 2, 3]
