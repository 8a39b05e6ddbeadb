"""A message that the broker never takes: what becomes of it, and of the others, by a clock that the test sets."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mqtt_fleet.clock import Clock
from mqtt_fleet.config import Config
from mqtt_fleet.delivery import Delivery
from mqtt_fleet.metrics import Metrics
from mqtt_fleet.outbox import Outbox
from mqtt_fleet.refusals import Refusals, Suspect, Suspects
from mqtt_fleet.sources.submission import Submission
from mqtt_fleet.spool import Spool
from mqtt_fleet.traffic import Traffic
from mqtt_fleet.transport import Cause, PublishRefused

# What a broker does with a message: a PUBACK's reason code (0: accepted), the end of the connection, or nothing. The
# library not sending it is None.
Answer = int | Cause | str | None
NOTHING = "nothing"
ACCEPTED = 0


class Broker:
    """One connection to it."""

    def __init__(self, answer: Callable[[dict[str, Any]], Answer]) -> None:
        self._answer = answer
        self.waiting: list[tuple[int, dict[str, Any]]] = []
        self.published = 0
        # Of its kernel, which takes what its program does not answer.
        self.taking = True
        self.taken = 0

    def publish(self, topic: str, payload: bytes) -> int:
        self.taken += len(topic) + len(payload) + 40 if self.taking else 0
        self.published += 1
        self.waiting.append((self.published, {**json.loads(payload), "topic": topic}))
        return self.published

    def subscribe(self, topic: str) -> None:
        pass

    def traffic(self) -> Traffic:
        return Traffic(self.taken, 0)

    def close(self, timeout: float = 0.0) -> None:
        pass

    def answers(self) -> Iterator[tuple[int, dict[str, Any], Answer]]:
        waiting, self.waiting = self.waiting, []
        for token, body in waiting:
            yield token, body, self._answer(body)


class Device:
    """An outbox and what sends it, over connections that begin a second after the last one ended."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        files = {key: folder / key for key in ("ca", "certificate", "private_key", "outbox")}
        self.config = replace(Config(client_id="c", endpoint="e", library="paho", window=5, **files), **changes)
        self.metrics = Metrics()
        self.spool = Spool(self.config, self.metrics, Clock())
        self.now = 100.0
        self.delivery = Delivery(self.config, self.spool, self.metrics, self.now)
        self.broker: Broker | None = None
        self.connect_at = self.now
        self.answer: Callable[[dict[str, Any]], Answer] = lambda _: ACCEPTED
        self.arrived: list[int] = []
        self.told: list[list[int]] = []
        self.attempts = 0
        self.connections = 0
        self.restarts = False

    def store(self, *messages: str, topic: str | None = None) -> None:
        self.spool.commit([Submission(message, topic) for message in messages])
        self.delivery.stored()

    def run(self, seconds: float, each_second: Callable[[], None] = lambda: None) -> None:
        for tick in range(int(seconds * 10)):
            if tick % 10 == 0:
                each_second()
                self.spool.keep_house()
                self.delivery.look(self.now)
            if self.broker is None and self.now >= self.connect_at:
                self.connect()
            if self.broker:
                # What waits for no time has to be sent now, and what was sent is no reason to wake.
                self.delivery.send(self.now)
                assert self.delivery.next() > self.now
                self.take_answers(self.broker)
            self.now += 0.1

    def connect(self) -> None:
        if self.restarts:
            self.delivery = Delivery(self.config, self.spool, self.metrics, self.now)
        self.connections += 1
        self.broker = Broker(lambda body: self.answer(body))
        self.delivery.begin(self.broker, self.now)

    def take_answers(self, broker: Broker) -> None:
        acknowledged = []
        for token, body, answer in broker.answers():
            self.attempts += 1
            if isinstance(answer, Cause):
                self.end(answer)
                break
            if answer == ACCEPTED:
                self.arrived.append(body["sequence"])
                self.told += body.get("dropped", [])
                if message := self.delivery.acknowledged(token, self.now):
                    acknowledged.append(message)
            elif answer != NOTHING:
                code = answer if isinstance(answer, int) else None
                self.delivery.refused(PublishRefused(token, code, f"reason {code}"), self.now)
        self.spool.commit([], acknowledged)

    def end(self, cause: Cause) -> None:
        self.delivery.end(self.now, cause)
        self.broker = None
        self.connect_at = self.now + 1

    def aside(self) -> list[tuple[int, str, str | None, int | None]]:
        with closing(sqlite3.connect(self.config.outbox)) as database:
            return database.execute("SELECT sequence, data, topic, code FROM dead_letter ORDER BY sequence").fetchall()


@pytest.fixture(autouse=True)
def disk_that_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours of a device's life in seconds: no power is cut here."""
    monkeypatch.setattr(Outbox, "_durable", lambda outbox, _: outbox._database.execute("PRAGMA synchronous=OFF"))


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    device = Device(tmp_path)
    yield device
    device.spool.close()


def bad(answer: Answer) -> Callable[[dict[str, Any]], Answer]:
    """Such an answer to each message that says so."""
    return lambda body: answer if "bad" in str(body["data"]) else ACCEPTED


@pytest.mark.parametrize("code", [0x87, 0x90, 0x95, 0x99, None])
def test_message_refused_for_good_is_set_aside_and_the_others_flow_in_order(device: Device, code: int | None) -> None:
    device.answer = bad(code)
    device.store("good", "good", "bad", *["good"] * 140)

    device.run(30)

    assert device.arrived == [1, 2, *range(4, 144)]
    assert device.connections == 1
    assert device.aside() == [(3, "bad", None, code)]
    # Gone from the outbox, counted, and told to the consumer: it is not lost on the way.
    assert device.spool.backlog == 0
    assert device.metrics.dropped == {"refused": 1}
    device.store("good")
    device.run(1)
    assert [3, 3] in device.told


@pytest.mark.parametrize("code", [0x80, 0x83, 0x91])
def test_other_refusals_are_tried_again_for_longer_and_hold_up_nobody(device: Device, code: int) -> None:
    device.answer = bad(code)
    device.store("bad", "good", "good")
    device.run(2, each_second=lambda: device.store("good"))
    assert device.arrived == [2, 3, 4, 5]
    assert device.aside() == []
    device.run(60, each_second=lambda: device.store("good"))
    assert [each[0] for each in device.aside()] == [1]
    assert device.arrived == list(range(2, 66))


def test_broker_in_trouble_that_refuses_any_message_costs_none(device: Device) -> None:
    dice = random.Random(1)
    device.answer = lambda _: ACCEPTED if dice.random() < 0.3 else 0x83
    device.store(*["good"] * 300)
    device.run(2400)
    assert sorted(device.arrived) == list(range(1, 301))
    assert device.aside() == []


@pytest.mark.parametrize("answer", [0x87, 0x83, Cause.CLOSED, Cause.LOST])
def test_policy_that_denies_everything_sets_nothing_aside_and_is_asked_slowly(device: Device, answer: Answer) -> None:
    device.answer = lambda _: answer
    device.store(*["good"] * 50)

    device.run(600, each_second=lambda: device.store("heartbeat"))

    assert device.aside() == []
    assert device.arrived == []
    assert device.attempts < 700
    # It is repaired: all that was kept arrives, and nothing was given up.
    device.answer = lambda _: ACCEPTED
    device.run(400)
    assert sorted(device.arrived) == list(range(1, 651))
    assert device.aside() == []


def test_every_publish_refused_is_said_once(device: Device, caplog: pytest.LogCaptureFixture) -> None:
    device.answer = lambda _: 0x87
    device.store(*["good"] * 50)
    device.run(600)
    assert caplog.messages.count("every_publish_refused") == 1
    assert caplog.messages.count("publish_refused") <= 11


@pytest.mark.parametrize("cause", [Cause.CLOSED, Cause.LOST])
@pytest.mark.parametrize("place", [0, 2, 39])
@pytest.mark.parametrize("restarts", [False, True])
def test_message_that_ends_its_connection_is_found_and_set_aside(
    device: Device, cause: Cause, place: int, restarts: bool
) -> None:
    device.restarts = restarts
    device.answer = bad(cause)
    messages = ["good"] * 40
    messages[place] = "bad"
    device.store(*messages)

    device.run(60, each_second=lambda: device.store("good"))

    assert [each[:2] for each in device.aside()] == [(place + 1, "bad")]
    assert list(dict.fromkeys(device.arrived)) == [number for number in range(1, 101) if number != place + 1]
    assert device.connections <= 7
    # Nothing more ends a connection: what comes next flows as before.
    connections = device.connections
    device.store(*["good"] * 100)
    device.run(10)
    assert device.arrived[-100:] == list(range(101, 201))
    assert device.connections == connections


def test_only_message_is_not_set_aside_but_tried_less_and_less_often(device: Device) -> None:
    device.answer = bad(Cause.CLOSED)
    device.store("bad")
    device.run(1800)
    assert device.aside() == []
    assert device.connections < 40


def test_several_messages_that_end_connections_are_found_one_after_another(device: Device) -> None:
    device.answer = bad(Cause.CLOSED)
    device.store("bad", "good", "bad", "bad", "good")
    device.run(120, each_second=lambda: device.store("good"))
    assert [each[0] for each in device.aside()] == [1, 3, 4]
    assert set(device.arrived) == set(range(1, 126)) - {1, 3, 4}


def test_message_that_is_never_acknowledged_is_found(device: Device) -> None:
    device.answer = bad(NOTHING)
    device.store("good", "bad", "good")

    def leave_after_silence() -> None:
        device.store("good")
        if device.broker and device.now - device.delivery.silent_since() >= 30:
            device.end(Cause.LOST)

    device.run(600, each_second=leave_after_silence)
    assert [each[0] for each in device.aside()] == [2]
    assert {1, 3} <= set(device.arrived)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.02, 0.3])
def test_link_that_breaks_at_random_costs_no_message(tmp_path: Path, seed: int, share: float) -> None:
    device = Device(tmp_path)
    dice = random.Random(seed)
    device.answer = lambda _: Cause.LOST if dice.random() < share else ACCEPTED
    device.store(*["good"] * 100)
    device.run(400, each_second=lambda: device.store("good"))
    device.answer = lambda _: ACCEPTED
    device.run(90)
    assert device.aside() == []
    assert set(device.arrived) == set(range(1, 501))
    device.spool.close()


def test_outage_with_one_message_in_flight_costs_it_nothing_however_often(device: Device) -> None:
    device.answer = lambda _: Cause.LOST
    device.store("good")
    device.run(1800)
    assert device.connections > 20
    device.answer = lambda _: ACCEPTED
    device.run(120)
    assert device.arrived == [1]
    assert device.aside() == []


def test_taken_over_connection_is_no_evidence(device: Device) -> None:
    device.answer = bad(Cause.TAKEN_OVER)
    device.store("bad")
    device.run(300, each_second=lambda: device.store("good"))
    assert device.aside() == []


def test_link_that_breaks_before_a_large_message_has_left_is_no_evidence(device: Device) -> None:
    device.answer = bad(NOTHING)
    device.store("bad")

    def break_after_a_while() -> None:
        device.store("good")
        if device.broker:
            device.broker.taking = False
            if device.now - device.delivery.silent_since() >= 20:
                device.end(Cause.LOST)

    device.run(900, each_second=break_after_a_while)
    assert device.aside() == []
    assert len(device.arrived) > 100


def test_such_a_topic_is_not_sent_where_it_cannot_be_set_aside(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device.spool, "move_to_dead_letters", lambda *_: False)
    device.store("bad", topic="a\r")
    device.store("good")
    device.run(180)
    assert device.attempts == 1
    assert [message.sequence for message in device.spool.after(0, 100)] == [1]


def test_refused_message_is_tried_at_once_on_another_connection(device: Device) -> None:
    device.answer = bad(0x83)
    device.store("bad")
    device.run(300)
    assert device.arrived == []
    device.end(Cause.CLOSED)
    device.answer = lambda _: ACCEPTED
    device.run(3)
    assert device.arrived == [1]


@pytest.mark.parametrize("topic", ["temperature\r", "temp\ufffe", "\ufdd0", "a\x85b"])
def test_topic_stored_by_an_earlier_release_is_set_aside_unsent(device: Device, topic: str) -> None:
    device.store("good")
    device.store("bad", topic=topic)
    device.store("good")
    device.run(2)
    assert device.arrived == [1, 3]
    assert device.attempts == 2
    assert device.aside() == [(2, "bad", topic, None)]


def test_broker_over_its_quota_keeps_the_connection_gets_less_and_loses_no_order(tmp_path: Path) -> None:
    device = Device(tmp_path, window=20)
    passed = {"second": 0, "number": 0}

    def quota(_: dict[str, Any]) -> Answer:
        if int(device.now) != passed["second"]:
            passed.update(second=int(device.now), number=0)
        passed["number"] += 1
        return ACCEPTED if passed["number"] <= 5 else 0x97

    device.answer = quota
    device.store(*["good"] * 600)
    device.run(30)
    before = device.attempts
    device.run(60)

    # Five a second pass; a little more than that is tried, and not the hundred that are configured.
    assert device.connections == 1
    assert device.attempts - before < 60 * 8
    assert len(device.arrived) > 90 * 3
    assert device.arrived == sorted(device.arrived)
    device.answer = lambda _: ACCEPTED
    device.run(30)
    assert device.arrived == list(range(1, 601))
    assert device.aside() == []
    device.spool.close()


def test_quota_that_is_always_exceeded_never_sets_aside(device: Device) -> None:
    device.answer = bad(0x97)
    device.store("bad")
    device.run(600, each_second=lambda: device.store("good"))
    assert device.aside() == []
    assert device.connections == 1


def test_message_that_cannot_be_set_aside_on_a_full_disk_is_kept(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device.spool, "move_to_dead_letters", lambda *_: False)
    device.answer = bad(0x87)
    device.store("bad", *["good"] * 20)
    device.run(30)
    assert device.arrived == list(range(2, 22))
    assert [message.sequence for message in device.spool.after(0, 100)] == [1]
    monkeypatch.undo()
    device.run(90, each_second=lambda: device.store("good"))
    assert [each[0] for each in device.aside()] == [1]


def test_dead_letters_are_bounded_and_the_oldest_go(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    device = Device(tmp_path, dead_letters_max_bytes=1000)
    device.answer = bad(0x87)
    device.store(*[f"bad {number} " + "x" * 200 for number in range(5)], "good", "good")
    device.run(60, each_second=lambda: device.store("good"))
    assert [each[0] for each in device.aside()] == [4, 5]
    assert device.metrics.dropped == {"refused": 5}
    assert "dead_letters_deleted" in caplog.messages
    device.spool.close()


def test_messages_of_another_process_are_noticed(device: Device) -> None:
    device.run(2)
    outbox = Outbox(device.config.outbox)
    outbox.put(1.0, "sent again")
    outbox.close()
    device.run(2, each_second=device.delivery.stored)
    assert device.arrived == [1]
    assert device.spool.backlog == 0


def test_what_is_known_of_suspects_outlives_the_process(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    outbox.keep_suspects({7: Suspect(2, 1, 1), 9: Suspect(1)})
    outbox.keep_suspects({7: Suspect(2, 2, 2)}, [9])
    outbox.close()
    outbox = Outbox(tmp_path / "outbox")
    assert outbox.suspects() == {7: Suspect(2, 2, 2)}
    outbox.close()


def test_strikes_count_in_a_row_and_on_connections_that_carried_others() -> None:
    suspects = Suspects({})
    strikes = [suspects.ended_alone(1, counts=True, carried=True) for _ in range(2)]
    suspects.ended([2])
    assert not suspects.ended_alone(1, counts=True, carried=True)
    assert not suspects.ended_alone(1, counts=True, carried=False)
    assert not suspects.ended_alone(1, counts=True, carried=True)
    assert suspects.ended_alone(1, counts=True, carried=True)
    assert strikes == [False, False]


def test_pause_before_a_refused_message_is_sent_again_doubles_to_five_minutes() -> None:
    refusals = Refusals()
    assert [refusals.refused(1, 0x83) for _ in range(11)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
