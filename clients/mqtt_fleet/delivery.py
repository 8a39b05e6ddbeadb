"""From the outbox to the broker: in order, no more at once than the window, no faster than the pace."""

from __future__ import annotations

import logging
import math
from collections import deque
from typing import NamedTuple

from mqtt_fleet import log
from mqtt_fleet.config import Config
from mqtt_fleet.flight import ByteWindow, Progress
from mqtt_fleet.metrics import Metrics
from mqtt_fleet.outbox import Message, Range, payload
from mqtt_fleet.pace import Pace, Throttle
from mqtt_fleet.refusals import QUOTA_EXCEEDED, Refusals, Suspect, Suspects
from mqtt_fleet.spool import Spool
from mqtt_fleet.topic import forbidden
from mqtt_fleet.transport import Cause, Connection, PublishRefused

LOGGER = logging.getLogger("mqtt_fleet.client")
# Rows read from the outbox at a time.
READ_AHEAD = 200
# The connection is given up after so long without any progress in either direction: TCP may take a quarter of an
# hour to notice.
MOST_SILENCE = 30.0
# After "quota exceeded" nothing is sent for so long; then what was refused, and what follows it.
QUOTA_PAUSE = 0.1
# Bytes of a message before which it is asked how much waits to be sent; small ones are not worth it.
LARGE = 4096
# While everything is refused: attempts per second.
PROBE_RATE = 1.0
REFUSAL_LOG_SECONDS = 60.0
SAY_AGAIN = 600.0
# A message that could not be set aside, on a full disk, is not sent for so long.
ASIDE_RETRY = 60.0
# Others are to be acknowledged before one is tried that may end the connection: all that there are, or so many; and the
# connection is to last so long.
MOST_OTHERS = 20
SETTLED = 3.0
# Without others: the pause before it is tried doubles up to this.
LONGEST_WAIT = 60.0
# A connection that ends so soon after a publish may have ended because of it; later, if the broker had all of it.
SOON = 10.0


class _Sent(NamedTuple):
    message: Message
    at: float
    dropped: tuple[Range, ...]
    size: int
    # Where it ends in what the connection carries, see Progress.
    end: int


class Delivery:
    """Messages in flight on the present connection; times are the monotonic clock's."""

    def __init__(self, config: Config, spool: Spool, metrics: Metrics, now: float) -> None:
        self._config = config
        self._spool = spool
        self._metrics = metrics
        self._pace = Pace(config.publish_rate, now)
        self._throttle = Throttle(config.publish_rate, now)
        self._room = ByteWindow()
        self._progress = Progress()
        self._refusals = Refusals()
        # As those are of the file, which may not be open yet.
        self._kept: dict[int, Suspect] = {}
        self._suspects = Suspects(self._kept)
        self._refusals_logged = log.Tally(LOGGER, "publish_refused", REFUSAL_LOG_SECONDS)
        self._connection: Connection | None = None
        self._file = 0
        self._in_flight: dict[int, _Sent] = {}
        self._read: deque[Message] = deque()
        self._sent_up_to = 0
        # Sent before their turn, which is still to come.
        self._ahead: set[int] = set()
        # Refused, by number, and when to send each again.
        self._again: dict[int, float] = {}
        # Number of the message that goes alone, while it is in flight.
        self._alone: int | None = None
        # Whether what is to be sent next waits for an answer to what is in flight.
        self._blocked = False
        self._began_at = 0.0
        self._carried = 0
        self._said_at = -math.inf
        # Nothing is sent before.
        self._not_before = -math.inf
        # The highest number ever sent: what is sent again may arrive twice.
        self._reached = 0
        self._more = True
        self._unreported: tuple[Range, ...] = ()
        self.holding = False

    def begin(self, connection: Connection, now: float = 0.0) -> None:
        """A connection is there: begin with the oldest message."""
        self._connection = connection
        self._began_at = now
        # Another broker, or this one by now, may accept it.
        self._again = dict.fromkeys(self._again, now)
        self._progress.begin()
        self._restart()

    def end(self, now: float = 0.0, cause: Cause | None = None) -> None:
        """The connection is gone, and with it what was in flight.

        Args:
            cause: None where the client itself left, which shows nothing.
        """
        if cause is not None:
            self._learn_from_end(now, cause)
        self._connection = None
        self._restart()
        self._keep_suspects()

    def _learn_from_end(self, now: float, cause: Cause) -> None:
        if self._alone is None:
            self._suspects.ended(each.message.sequence for each in self._in_flight.values())
        else:
            (sent,) = self._in_flight.values()
            soon = now - sent.at <= SOON or self._progress.arrived(sent.end)
            counts = soon and cause is not Cause.TAKEN_OVER
            if self._suspects.ended_alone(self._alone, counts, self._carried > 0):
                reason = "the connection ended each time that it was sent, and not under others"
                self._set_aside(sent.message, None, reason, now)

    def _keep_suspects(self) -> None:
        """Store what has changed, for the next process to start with."""
        before, self._kept = self._kept, dict(self._suspects.known)
        if before != self._kept:
            changed = {sequence: known for sequence, known in self._kept.items() if before.get(sequence) != known}
            self._spool.keep_suspects(changed, before.keys() - self._kept.keys())

    def _restart(self) -> None:
        if self._file != self._spool.file:
            # Another file with numbers of its own.
            self._file = self._spool.file
            self._reached = 0
            self._refusals = Refusals()
            self._kept = self._spool.suspects()
            self._suspects = Suspects(self._kept)
            self._again.clear()
        self._in_flight.clear()
        self._room.clear()
        self._alone = None
        self._blocked = False
        self._carried = 0
        self._read.clear()
        self._sent_up_to = 0
        self._ahead.clear()
        self._more = True
        self._unreported = tuple(self._spool.dropped())
        self.holding = False

    def stored(self) -> None:
        """There may be new messages in the outbox, and messages may have been dropped from it."""
        self._more = True
        self._blocked = False
        if self._spool.file != self._file:
            self._restart()

    @property
    def idle(self) -> bool:
        """Whether nothing is in flight."""
        return not self._in_flight

    def next(self) -> float:
        """When the next message may leave; infinite while there is none, or no room."""
        if self._connection is None or self._blocked or not self._possible:
            return math.inf
        ready = -math.inf if self._read or self._more else min([*self._again.values(), self._trial_at()])
        return max(self._pace.next, self._not_before, ready)

    def silent_since(self) -> float:
        """When the oldest message in flight moved last; infinite when there is none."""
        return self._progress.since if self._in_flight else math.inf

    def look(self, now: float) -> None:
        """See whether what is in flight moves; to be called every second or so."""
        self._refusals_logged.flush(now)
        self._keep_suspects()
        if self._connection and self._in_flight:
            self._progress.look(self._oldest.end, self._connection.traffic(), now)

    @property
    def _oldest(self) -> _Sent:
        return next(iter(self._in_flight.values()))

    def send(self, now: float) -> None:
        """Publish what may leave now."""
        self._throttle.turn(now)
        probing = self._refusals.nothing_passes
        self._pace.change(min(self._throttle.rate, PROBE_RATE) if probing else self._throttle.rate, now)
        while self._connection and self._possible and now >= self._not_before and self._pace.allowed(now):
            message = self._choose(now)
            # A file that has just been set aside has its messages with it.
            if message is None or self._file != self._spool.file:
                break
            self._publish(self._connection, message, now)

    @property
    def _possible(self) -> bool:
        return not self.holding and self._alone is None and len(self._in_flight) < self._config.window

    def _publish(self, connection: Connection, message: Message, now: float) -> None:
        topic = self._topic(message)
        body = payload(self._config.client_id, *self._spool.published(message, self._unreported))
        size = len(topic) + len(body)
        traffic = connection.traffic() if self.idle or size >= LARGE else None
        end = self._progress.sent(size, traffic, now, first=self.idle)
        self._room.sent(size)
        if self._suspects.goes_alone(message.sequence):
            self._alone = message.sequence
        self._in_flight[connection.publish(topic, body)] = _Sent(message, now, self._unreported, size, end)
        self._pace.take()
        if message.sequence <= self._reached:
            self._metrics.resent += 1
        self._reached = max(self._reached, message.sequence)

    def _topic(self, message: Message) -> str:
        base = self._config.message_topic
        return base if message.topic is None else f"{base}/{message.topic}"

    def _fits(self, message: Message) -> bool:
        """Whether there is room for it among what is in flight; alone there always is."""
        alone = self._suspects.goes_alone(message.sequence)
        return self.idle if alone else self._room.has_room(message.size)

    def _choose(self, now: float) -> Message | None:
        """Take the next message that may be sent: refused ones again, then in order, then what ends connections."""
        trial = self._trial_at() <= now
        message = None
        if not trial or self._carried < MOST_OTHERS:
            message = self._take_again(now) or self._take_next(now)
        if message is None and trial and self.idle:
            return self._take_trial()
        # It waits for an answer, not for a point in time.
        self._blocked = message is None and not self.idle and (trial or self._waiting(now))
        return message

    def _waiting(self, now: float) -> bool:
        return bool(self._read) or any(at <= now for at in self._again.values())

    def _take_next(self, now: float) -> Message | None:
        while (message := self._peek()) is not None and self._fits(message):
            self._read.popleft()
            self._sent_up_to = message.sequence
            if not self._postponed(message.sequence) and self._sendable(message, now):
                return message
        return None

    def _sendable(self, message: Message, now: float) -> bool:
        """Whether its topic is one; an earlier release did not look when it was stored."""
        if letter := forbidden(self._topic(message)):
            self._set_aside(message, None, f"topic: found {letter}, for which brokers close the connection", now)
        return not letter

    def _postponed(self, sequence: int) -> bool:
        return sequence in self._again or sequence in self._ahead or self._suspects.waits(sequence)

    def _take_again(self, now: float) -> Message | None:
        if not self._again:
            return None
        for sequence in sorted(number for number, at in self._again.items() if at <= now):
            message = self._fetch(sequence)
            if message is None:
                del self._again[sequence]
                self._refusals.forget(sequence)
            elif not self._fits(message):
                break
            else:
                del self._again[sequence]
                self._note_ahead(sequence)
                if self._sendable(message, now):
                    return message
        return None

    def _note_ahead(self, sequence: int) -> None:
        if sequence > self._sent_up_to:
            self._ahead.add(sequence)

    def _trial_at(self) -> float:
        """When to try the message that may end the connection, if nothing else is there to be sent."""
        sequence = self._suspects.next_trial()
        if sequence is None:
            return math.inf
        if self._carried:
            return self._began_at + SETTLED
        trials = self._suspects.known[sequence].trials
        return self._began_at + float(min(LONGEST_WAIT, 2 ** min(trials, 16)))

    def _take_trial(self) -> Message | None:
        while (sequence := self._suspects.next_trial()) is not None:
            if message := self._fetch(sequence):
                self._note_ahead(sequence)
                return message
            self._suspects.forget(sequence)
        return None

    def _fetch(self, sequence: int) -> Message | None:
        found = self._spool.after(sequence - 1, 1)
        return found[0] if found and found[0].sequence == sequence else None

    def _peek(self) -> Message | None:
        if not self._read and self._more:
            self._read.extend(self._spool.after(self._sent_up_to, READ_AHEAD))
            if self._read and not self._sent_up_to:
                self._suspects.forget_before(self._read[0].sequence)
            self._more = len(self._read) == READ_AHEAD
            self._unreported = tuple(self._spool.dropped())
        return self._read[0] if self._read else None

    def _answered(self, token: int, now: float) -> _Sent | None:
        """What the broker's answer is about; None if it is not of this connection."""
        oldest = next(iter(self._in_flight), None)
        sent = self._in_flight.pop(token, None)
        if sent is None:
            return None
        self._alone = None
        self._blocked = False
        self._room.answered(sent.size, now - sent.at)
        if token == oldest:
            self._progress.next_oldest(now)
        return sent

    def acknowledged(self, token: int, now: float = 0.0) -> Message | None:
        """Handle a PUBACK: return the message to be removed from the outbox; None if it is not of this connection."""
        sent = self._answered(token, now)
        if sent is None:
            return None
        if sent.dropped:
            self._spool.forget_dropped(sent.dropped)
            self._unreported = tuple(self._spool.dropped())
        self._metrics.acknowledged += 1
        self._carried += 1
        self._throttle.accepted()
        if self._refusals.nothing_passes:
            # It was refused along with everything else, which was not its fault.
            self._again = dict.fromkeys(self._again, now)
        self._refusals.accepted(sent.message.sequence)
        self._suspects.forget(sent.message.sequence)
        return sent.message

    def refused(self, event: PublishRefused, now: float) -> None:
        """The broker, or the library, does not take a message: it is sent again later, or set aside."""
        sent = self._answered(event.token, now)
        if sent is None:
            return
        message = sent.message
        self._metrics.publishes_refused += 1
        fields = {"sequence": message.sequence, "topic": self._topic(message), "code": event.code}
        self._refusals_logged.add(now, 1, reason=event.reason, **fields)
        if event.code == QUOTA_EXCEEDED:
            self._throttle.refused(now)
            self._not_before = now + QUOTA_PAUSE
            self._again[message.sequence] = now
            return
        passed = not self._refusals.nothing_passes
        pause = self._refusals.refused(message.sequence, event.code)
        if passed and self._refusals.nothing_passes and now - self._said_at >= SAY_AGAIN:
            self._said_at = now
            log.event(LOGGER, "every_publish_refused", logging.ERROR, reason=event.reason, kept=self._spool.backlog)
        if pause is None:
            self._set_aside(message, event.code, event.reason, now)
        else:
            self._again[message.sequence] = now + pause

    def _set_aside(self, message: Message, code: int | None, reason: str, now: float) -> None:
        if self._spool.move_to_dead_letters(message, code, reason):
            self._refusals.forget(message.sequence)
            self._suspects.forget(message.sequence)
            self._unreported = tuple(self._spool.dropped())
        else:
            self._again[message.sequence] = now + ASIDE_RETRY
