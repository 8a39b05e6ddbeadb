"""The outbox, and what becomes of messages when it is full, the disk is full, or the file is damaged."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from mqtt_fleet import log
from mqtt_fleet.clock import Clock, iso
from mqtt_fleet.config import Config
from mqtt_fleet.metrics import Metrics
from mqtt_fleet.outbox import Message, Outbox, OutboxDamagedError, OutboxError, Range
from mqtt_fleet.reserve import Reserve
from mqtt_fleet.sources.submission import Answer, Refused, Stored, Submission

LOGGER = logging.getLogger("mqtt_fleet.outbox")
# A file that could not be opened is tried again; what repeats is logged so often.
RETRY_SECONDS = 5.0
LOG_SECONDS = 10.0
# More than one message tells of; the others come with the next one.
MOST_DROPPED_RANGES = 20

Result = TypeVar("Result")


class Spool:
    """Never raises for what a disk does: messages are refused and counted, and the next ones are tried again.

    Attributes:
        stream: random ID of the file in use; another one when a damaged file was set aside; "" while there is none.
    """

    def __init__(self, config: Config, metrics: Metrics, clock: Clock) -> None:
        self._path = config.outbox
        self._most_bytes = config.outbox_max_bytes
        self._most_age = config.outbox_max_age
        self._drops = config.outbox_when_full == "drop_oldest"
        self._metrics = metrics
        self._clock = clock
        self._offset = 0.0
        self._outbox: Outbox | None = None
        # While it is not held, messages leave the outbox and none enters.
        self._reserve = Reserve(self._path.with_name(f"{self._path.name}.reserve"))
        self._problem = ""
        self._retry_at = -math.inf
        # Acknowledged, but not to be removed while the disk is full.
        self._unremoved: list[Message] = []
        self._refusals = log.Tally(LOGGER, "refused", LOG_SECONDS)
        self._drops_logged = log.Tally(LOGGER, "dropped", LOG_SECONDS)
        self.stream = ""
        self._open()

    @property
    def backlog(self) -> int:
        return self._outbox.count - len(self._unremoved) if self._outbox else 0

    def commit(self, submissions: Sequence[Submission], acknowledged: Iterable[Message] = ()) -> None:
        """Store and remove in one transaction, and answer when it is on disk."""
        self._unremoved += acknowledged
        taken = submissions if self._reserve.held else ()
        answers: Sequence[Answer] | None = None
        if taken or self._unremoved:
            answers = self._attempt(lambda outbox: self._transaction(outbox, taken))
        if not answers:
            answers = [self._refusal(submission, "disk", self._problem) for submission in submissions]
        for submission, answer in zip(submissions, answers):
            self._count(answer)
            submission.answer(answer)

    def _transaction(self, outbox: Outbox, submissions: Sequence[Submission]) -> list[Answer]:
        dropped = 0
        answers: list[Answer] = []
        unsaved = not all(submission.durable for submission in submissions)
        reserves = unsaved and not outbox.has_reserved(len(submissions))
        with outbox.transaction(durable=reserves or any(submission.durable for submission in submissions)):
            if reserves:
                outbox.reserve(len(submissions))
            outbox.remove(self._unremoved)
            for submission in submissions:
                answer, made_room = self._put(outbox, submission)
                answers.append(answer)
                dropped += made_room
        self._unremoved.clear()
        self._count_dropped("full", dropped)
        return answers

    def _put(self, outbox: Outbox, submission: Submission) -> tuple[Answer, int]:
        """Store one message; return also how many were dropped for it."""
        message = Message(0, self._clock.wall(), submission.data, submission.topic)
        missing = outbox.bytes + message.size - self._most_bytes
        dropped = outbox.drop_oldest(missing) if missing > 0 and self._drops else 0
        waits = submission.batch and submission.batch.refused
        if waits or outbox.bytes + message.size > self._most_bytes:
            text = f"the outbox holds {outbox.bytes} of {self._most_bytes} bytes"
            return self._refusal(submission, "full", text), dropped
        stored = outbox.put(message.sent_at, message.data, message.topic, self._now())
        return Stored(stored.sequence), dropped

    @staticmethod
    def _refusal(submission: Submission, reason: str, text: str) -> Refused:
        if submission.batch:
            submission.batch.refused = True
        return Refused(reason, f"not stored: {text}")

    def after(self, sequence: int, limit: int) -> list[Message]:
        """Messages with a higher number, in order, without those that are acknowledged."""
        acknowledged = {message.sequence for message in self._unremoved}
        found = self._attempt(lambda outbox: outbox.after(sequence, limit + len(acknowledged))) or []
        return [message for message in found if message.sequence not in acknowledged][:limit]

    def dropped(self) -> list[Range]:
        """Numbers that are not coming, for the next message to tell."""
        return self._attempt(lambda outbox: outbox.dropped(MOST_DROPPED_RANGES)) or []

    def forget_dropped(self, told: Sequence[Range]) -> None:
        """The broker has acknowledged the message that told."""
        self._attempt(lambda outbox: outbox.forget_dropped(told))

    def keep_house(self) -> None:
        """Drop what is too old, remove what could not be, and count; to be called every second or so."""
        if self._outbox is None:
            self._open()
        self.commit([])
        self._make_room()
        if self._most_age:
            oldest = self._now() - self._most_age
            self._count_dropped("age", self._attempt(lambda outbox: self._expire(outbox, oldest)) or 0)
        stored_at = self._attempt(lambda outbox: outbox.oldest_stored_at())
        self._metrics.oldest_age = 0.0 if stored_at is None else max(0.0, self._now() - stored_at)
        self._metrics.backlog = self.backlog
        self._metrics.backlog_bytes = self._outbox.bytes if self._outbox else 0
        self._refusals.flush(self._clock.monotonic())
        self._drops_logged.flush(self._clock.monotonic())

    def _make_room(self) -> None:
        """Get the reserve back, from the outbox's own space if need be."""
        if self._outbox is None or self._reserve.held:
            return
        self._attempt(lambda outbox: outbox.shrink())
        if problem := self._reserve.take():
            self._fail(OutboxError(f"outbox: {problem}"))
        elif self._problem:
            self._problem = ""
            log.event(LOGGER, "outbox_works_again", backlog=self.backlog)

    def _expire(self, outbox: Outbox, oldest: float) -> int:
        stored_at = outbox.oldest_stored_at()
        if stored_at is None or stored_at >= oldest:
            return 0
        with outbox.transaction():
            return outbox.drop_stored_before(oldest)

    def close(self) -> None:
        if self._outbox:
            self._outbox.close()
            self._outbox = None

    def _now(self) -> float:
        """Time on the outbox's own clock."""
        return self._clock.since_boot() + self._offset

    def _open(self) -> None:
        now = self._clock.monotonic()
        if now < self._retry_at:
            return
        self._retry_at = now + RETRY_SECONDS
        try:
            self._use(Outbox(self._path))
        except OutboxDamagedError as error:
            self._replace(error)
        except OutboxError as error:
            self._fail(error)

    def _use(self, outbox: Outbox) -> None:
        self._offset = outbox.offset(self._clock.boot_id, self._clock.since_boot())
        self._outbox = outbox
        self.stream = outbox.stream
        self._make_room()

    def _replace(self, error: OutboxError) -> None:
        """Set the damaged file aside and begin a new one."""
        self.close()
        self.stream = ""
        self._unremoved.clear()
        self._fail(error)
        try:
            aside = set_aside(self._path, self._clock.wall())
            self._use(Outbox(self._path))
        except OSError as failure:
            text = f"{error}, and cannot be set aside: {failure.strerror}"
            self._fail(OutboxError(text))
        except OutboxError as failure:
            self._fail(failure)
        else:
            self._metrics.outboxes_set_aside += 1
            log.event(LOGGER, "outbox_set_aside", logging.ERROR, reason=str(error), kept_as=str(aside))

    def _attempt(self, work: Callable[[Outbox], Result]) -> Result | None:
        """Do it with the outbox there is, or with a new one where that turns out to be damaged."""
        for _ in range(2):
            outbox = self._outbox
            if outbox is None:
                return None
            try:
                return work(outbox)
            except OutboxDamagedError as error:
                self._replace(error)
            except OutboxError as error:
                self._fail(error)
                self._reserve.release()
                return None
        return None

    def _fail(self, error: OutboxError) -> None:
        if str(error) != self._problem:
            self._problem = str(error)
            log.event(LOGGER, "outbox_failed", logging.ERROR, reason=self._problem)

    def _count(self, answer: Answer) -> None:
        if isinstance(answer, Stored):
            self._metrics.accepted += 1
        else:
            self.refused(answer)

    def refused(self, refused: Refused, **fields: object) -> None:
        """Count a message that is not stored, and say so, though not for each."""
        self._metrics.refused[refused.reason] += 1
        self._refusals.add(self._clock.monotonic(), 1, reason=refused.reason, text=refused.text, **fields)

    def _count_dropped(self, reason: str, number: int) -> None:
        if number:
            self._metrics.dropped[reason] += number
            self._drops_logged.add(self._clock.monotonic(), number, reason=reason)


def set_aside(path: Path, now: float) -> Path:
    """Rename an outbox and what SQLite keeps beside it; return the new name.

    Raises:
        OSError: it cannot be renamed.
    """
    base = f"{path.name}.damaged-{iso(now).replace(':', '')}"
    aside = path.with_name(base)
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{base}-{number}")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + suffix))
    return aside
