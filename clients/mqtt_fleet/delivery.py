"""From the outbox to the broker: in order, no more at once than the window, no faster than the pace."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from mqtt_fleet.config import Config
from mqtt_fleet.metrics import Metrics
from mqtt_fleet.outbox import Message, Range, payload
from mqtt_fleet.pace import Pace
from mqtt_fleet.spool import Spool
from mqtt_fleet.transport import Connection

# Rows read from the outbox at a time.
READ_AHEAD = 200
# A broker that answers nothing for so long is left: TCP may take a quarter of an hour to notice.
MOST_SILENCE = 30.0


@dataclass(frozen=True)
class _Sent:
    message: Message
    at: float
    dropped: tuple[Range, ...]


class Delivery:
    """What is on its way on the present connection; times are the monotonic clock's."""

    def __init__(self, config: Config, spool: Spool, metrics: Metrics, now: float) -> None:
        self._config = config
        self._spool = spool
        self._metrics = metrics
        self._pace = Pace(config.publish_rate, now)
        self._connection: Connection | None = None
        self._file = spool.file
        self._in_flight: dict[int, _Sent] = {}
        self._read: deque[Message] = deque()
        self._sent_up_to = 0
        # The highest number ever sent: what is sent again may arrive twice.
        self._reached = 0
        self._more = True
        self._untold: tuple[Range, ...] = ()
        self.holding = False

    def begin(self, connection: Connection) -> None:
        """A connection is there: begin with the oldest message."""
        self._connection = connection
        self._restart()

    def end(self) -> None:
        """The connection is gone, and with it what was in flight."""
        self._connection = None
        self._restart()

    def _restart(self) -> None:
        self._file = self._spool.file
        self._in_flight.clear()
        self._read.clear()
        self._sent_up_to = 0
        self._more = True
        self._untold = tuple(self._spool.dropped())
        self.holding = False

    def stored(self) -> None:
        """There may be new messages in the outbox, and messages may have been dropped from it."""
        self._more = True
        if self._spool.file != self._file:
            # Another file with numbers of its own.
            self._reached = 0
            self._restart()

    @property
    def idle(self) -> bool:
        """Whether nothing is in flight."""
        return not self._in_flight

    def next(self) -> float:
        """When the next message may leave; infinite while there is none, or no room."""
        possible = self._connection and not self.holding and len(self._in_flight) < self._config.window
        return self._pace.next if possible and (self._read or self._more) else math.inf

    def silent_since(self) -> float:
        """When the oldest message in flight was sent; infinite when there is none."""
        return next(iter(self._in_flight.values())).at if self._in_flight else math.inf

    def send(self, now: float) -> None:
        """Publish what may leave now."""
        if self._connection is None or self.holding:
            return
        room = min(self._config.window - len(self._in_flight), self._pace.allowed(now))
        # A file that was set aside just now took its messages along.
        while room > 0 and (message := self._take()) and self._file == self._spool.file:
            body = payload(self._config.client_id, *self._spool.published(message, self._untold))
            token = self._connection.publish(self._topic(message), body)
            self._in_flight[token] = _Sent(message, now, self._untold)
            self._pace.take()
            if message.sequence <= self._reached:
                self._metrics.resent += 1
            self._reached = max(self._reached, message.sequence)
            room -= 1

    def _topic(self, message: Message) -> str:
        base = self._config.message_topic
        return base if message.topic is None else f"{base}/{message.topic}"

    def _take(self) -> Message | None:
        if not self._read and self._more:
            self._read.extend(self._spool.after(self._sent_up_to, READ_AHEAD))
            self._more = len(self._read) == READ_AHEAD
            self._untold = tuple(self._spool.dropped())
        if not self._read:
            return None
        message = self._read.popleft()
        self._sent_up_to = message.sequence
        return message

    def acknowledged(self, token: int) -> Message | None:
        """The broker has a message: return it, to be removed from the outbox; None where it is not of this one."""
        sent = self._in_flight.pop(token, None)
        if sent is None:
            return None
        if sent.dropped:
            self._spool.forget_dropped(sent.dropped)
            self._untold = tuple(self._spool.dropped())
        self._metrics.acknowledged += 1
        return sent.message
