"""When a SUBSCRIBE is sent, and sent again."""

from __future__ import annotations

import math

from mqtt_fleet.subscription import ANSWER_SECONDS, FIRST_PAUSE, MOST_PAUSE, Subscription
from mqtt_fleet.transport import Subscribed

TOPIC = "fleet/client_01/commands"


class Broker:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def subscribe(self, topic: str) -> None:
        self.asked.append(topic)

    def publish(self, topic: str, payload: bytes) -> int:
        raise NotImplementedError

    def close(self, timeout: float = 0.0) -> None:
        raise NotImplementedError


def test_one_that_is_granted_is_not_asked_for_again() -> None:
    broker, subscription = Broker(), Subscription(TOPIC)
    assert subscription.next() == math.inf
    subscription.begin(100.0)
    subscription.keep(broker, 100.0)
    subscription.answered(Subscribed(TOPIC), 100.1)
    subscription.keep(broker, 1e9)
    assert (broker.asked, subscription.next()) == ([TOPIC], math.inf)


def test_one_that_is_refused_is_asked_for_again_less_and_less_often() -> None:
    broker, subscription = Broker(), Subscription(TOPIC)
    subscription.begin(0.0)
    pauses = []
    for _ in range(9):
        now = subscription.next()
        subscription.keep(broker, now)
        subscription.answered(Subscribed(TOPIC, "SUBACK: Not authorized"), now)
        pauses.append(subscription.next() - now)
    assert pauses[0] == FIRST_PAUSE
    assert pauses == [min(MOST_PAUSE, FIRST_PAUSE * 2**number) for number in range(9)]
    assert len(broker.asked) == 9


def test_one_that_gets_no_answer_is_asked_for_again() -> None:
    broker, subscription = Broker(), Subscription(TOPIC)
    subscription.begin(0.0)
    subscription.keep(broker, 0.0)
    subscription.keep(broker, ANSWER_SECONDS - 0.1)
    assert len(broker.asked) == 1
    subscription.keep(broker, ANSWER_SECONDS)
    assert len(broker.asked) == 2


def test_connection_that_ended_is_asked_nothing() -> None:
    broker, subscription = Broker(), Subscription(TOPIC)
    subscription.begin(0.0)
    subscription.end()
    subscription.keep(broker, 1e9)
    assert broker.asked == []
