"""The subscription of a connection: made on every one, and again where the broker refuses it or does not answer."""

from __future__ import annotations

import logging
import math

from mqtt_fleet import log
from mqtt_fleet.transport import Connection, Subscribed

LOGGER = logging.getLogger("mqtt_fleet.client")
ANSWER_SECONDS = 30.0
FIRST_PAUSE = 5.0
MOST_PAUSE = 300.0


class Subscription:
    """To one topic filter; times are the monotonic clock's."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._at = math.inf
        self._pause = FIRST_PAUSE

    def begin(self, now: float) -> None:
        """There is a connection.

        Also where the broker has a session: one that never got its SUBSCRIBE would receive nothing for ever.
        """
        self._at = now
        self._pause = FIRST_PAUSE

    def end(self) -> None:
        """The connection is gone."""
        self._at = math.inf

    def next(self) -> float:
        """When `keep` has something to do; infinite: not."""
        return self._at

    def keep(self, connection: Connection, now: float) -> None:
        """Send a SUBSCRIBE if it is time."""
        if now >= self._at:
            self._at = now + ANSWER_SECONDS
            connection.subscribe(self._topic)

    def answered(self, answer: Subscribed, now: float) -> None:
        """Handle a SUBACK; a refusal is logged, and the SUBSCRIBE repeated after a pause that doubles."""
        if answer.topic != self._topic:
            return
        if not answer.reason:
            self._at = math.inf
            return
        self._at = now + self._pause
        log.event(
            LOGGER,
            "subscribe_failed",
            logging.WARNING,
            topic=self._topic,
            reason=answer.reason,
            next_subscribe_in=self._pause,
        )
        self._pause = min(MOST_PAUSE, 2 * self._pause)
