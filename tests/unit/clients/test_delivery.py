"""How fast and in which order messages leave the outbox, by a clock that the test sets."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mqtt_fleet.clock import Clock
from mqtt_fleet.config import Config
from mqtt_fleet.delivery import Delivery
from mqtt_fleet.metrics import Metrics
from mqtt_fleet.sources.submission import Submission
from mqtt_fleet.spool import Spool
from mqtt_fleet.traffic import Traffic


class Broker:
    """Acknowledges what the test lets it."""

    def __init__(self) -> None:
        self.tokens = itertools.count(1)
        self.sequences: list[int] = []
        self.unacknowledged: list[int] = []
        self.taken = 0

    def publish(self, _: str, payload: bytes) -> int:
        self.sequences.append(json.loads(payload)["sequence"])
        self.unacknowledged.append(next(self.tokens))
        return self.unacknowledged[-1]

    def subscribe(self, topic: str) -> None:
        pass

    def traffic(self) -> Traffic:
        return Traffic(self.taken, 0)

    def close(self, timeout: float = 0.0) -> None:
        pass


class Stage:
    """An outbox and a delivery."""

    def __init__(self, folder: Path) -> None:
        files = {key: folder / key for key in ("ca", "certificate", "private_key", "outbox")}
        config = Config(client_id="c", endpoint="e", library="paho", window=100, publish_rate=100.0, **files)
        self.metrics = Metrics()
        self.spool = Spool(config, self.metrics, Clock())
        self.delivery = Delivery(config, self.spool, self.metrics, now=0.0)
        self.broker = Broker()

    def store(self, number: int) -> None:
        self.spool.commit([Submission("x")] * number)
        self.delivery.stored()

    def acknowledge(self) -> None:
        messages = [self.delivery.acknowledged(token) for token in self.broker.unacknowledged]
        self.broker.unacknowledged.clear()
        self.spool.commit([], [message for message in messages if message])


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.spool.close()


def test_backlog_and_new_messages_leave_in_order_at_the_rate(stage: Stage) -> None:
    stage.store(500)
    stage.delivery.begin(stage.broker)
    left = []
    for tenth in range(40):
        stage.store(5)
        stage.delivery.send(tenth / 10)
        stage.acknowledge()
        left.append(len(stage.broker.sequences))
    # A tenth of a second's worth at once, and as much each tenth from then on.
    assert left == [10 * (tenth + 1) for tenth in range(40)]
    assert stage.broker.sequences == list(range(1, 401))
    assert stage.spool.backlog == 500 + 40 * 5 - 400


def test_new_connection_gets_no_rate_of_its_own(stage: Stage) -> None:
    stage.store(100)
    for _ in range(5):
        stage.delivery.begin(stage.broker)
        stage.delivery.send(0.0)
        stage.delivery.end()
    assert len(stage.broker.sequences) == 10


def test_next_thing_is_when_the_pace_allows_it_and_never_without_a_message(stage: Stage) -> None:
    stage.delivery.begin(stage.broker)
    stage.delivery.send(0.0)
    assert stage.delivery.next() == float("inf")
    stage.store(20)
    stage.delivery.send(0.0)
    assert stage.delivery.next() == pytest.approx(0.01)
    stage.delivery.end()
    assert stage.delivery.next() == float("inf")


def test_what_is_sent_again_is_counted(stage: Stage) -> None:
    stage.store(10)
    stage.delivery.begin(stage.broker)
    stage.delivery.send(0.0)
    stage.delivery.acknowledged(1)
    stage.delivery.end()
    stage.delivery.begin(stage.broker)
    stage.delivery.send(1.0)
    assert stage.metrics.resent == 10
    assert stage.delivery.silent_since() == 1.0


def test_silence_begins_when_the_oldest_message_moves_no_more(stage: Stage) -> None:
    stage.spool.commit([Submission("x" * 100_000)] * 2)
    stage.delivery.begin(stage.broker)
    stage.delivery.send(0.0)
    # The second waits: the first shows whether the link is fast.
    assert stage.broker.sequences == [1]
    for second in range(1, 31):
        stage.broker.taken += 3000
        stage.delivery.look(float(second))
    assert stage.delivery.silent_since() == 30.0
    # The link is dead from here on.
    for second in range(31, 60):
        stage.delivery.look(float(second))
    assert stage.delivery.silent_since() == 30.0


def test_broker_that_takes_all_and_acknowledges_nothing_is_silent(stage: Stage) -> None:
    stage.spool.commit([Submission("x" * 1000)])
    stage.delivery.begin(stage.broker)
    stage.delivery.send(0.0)
    for second in range(1, 60):
        stage.broker.taken += 31
        stage.delivery.look(float(second))
    # The message's bytes, and no PINGREQ after them.
    assert stage.delivery.silent_since() < 40.0
