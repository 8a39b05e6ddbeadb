"""The outbox, and what happens to messages when it is full, the disk is full, or the file is damaged."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from mqtt_fleet import log
from mqtt_fleet.clock import Clock, is_set, iso
from mqtt_fleet.config import Config
from mqtt_fleet.dead_letter_table import DeadLetter
from mqtt_fleet.metrics import Metrics
from mqtt_fleet.notify import busy
from mqtt_fleet.origin import Mark, Origin, Reached, changed_at, file_identity, machine_id
from mqtt_fleet.outbox import (
    MOST_REMOVED_AT_ONCE,
    MOST_TRANSACTION_BYTES,
    Message,
    Outbox,
    OutboxDamagedError,
    OutboxError,
    Published,
    Range,
    file_bytes,
    size,
)
from mqtt_fleet.refusals import Suspect
from mqtt_fleet.reserve import Reserve
from mqtt_fleet.sources.submission import Answer, Refused, Stored, Submission

LOGGER = logging.getLogger("mqtt_fleet.outbox")
# A file that could not be opened is tried again; what repeats is logged so often.
RETRY_SECONDS = 5.0
LOG_SECONDS = 10.0
# Ranges that one message reports; the others come with the next one.
MOST_DROPPED_RANGES = 20
# Transactions of messages that are too old, in each round of housekeeping.
EXPIRY_STEPS = 50
# How often it is noted how far the numbers have come, beside at the end.
MARK_SECONDS = 60.0
# So much is written before the length of SQLite's log is looked at; and what a transaction writes beside its messages.
LOOK_BYTES = 128 << 10
COMMIT_BYTES = 16 << 10
# What opening may take: a mebibyte a second is less than any card reads.
OPENING_SECONDS = 60.0
OPENING_BYTES_PER_SECOND = 1 << 20

Result = TypeVar("Result")


class Spool:
    """Never raises for what a disk does: messages are refused and counted, and the next ones are tried again.

    The outbox is opened by `open`, or by the first use.

    Attributes:
        file: another number for another file: when a damaged one was set aside, its numbers count from 1.
    """

    def __init__(self, config: Config, metrics: Metrics, clock: Clock) -> None:
        self._path = config.outbox
        self._client_id = config.client_id
        self._most_bytes = config.outbox_max_bytes
        self._most_age = config.outbox_max_age
        self._most_dead_bytes = config.dead_letters_max_bytes
        self._drops = config.outbox_when_full == "drop_oldest"
        self._metrics = metrics
        self._clock = clock
        self._offset = 0.0
        self._outbox: Outbox | None = None
        self._opened = False
        self._mark = Mark(self._path.with_name(f"{self._path.name}.mark"))
        self._marked_at = -math.inf
        # Whether the device's clock was not set when a message was stored that may still wait.
        self._undated = False
        # While it is not held, messages leave the outbox and none enters.
        self._reserve = Reserve(self._path.with_name(f"{self._path.name}.reserve"))
        # Bytes that SQLite's log may have got since its length was looked at, roughly.
        self._written = 0
        self._problem = ""
        self._retry_at = -math.inf
        # Acknowledged, but not to be removed while the disk is full.
        self._unremoved: list[Message] = []
        self._refusals = log.Tally(LOGGER, "refused", LOG_SECONDS)
        self._drops_logged = log.Tally(LOGGER, "dropped", LOG_SECONDS)
        self._aside_logged = log.Tally(LOGGER, "set_aside", LOG_SECONDS)
        self._deletions_logged = log.Tally(LOGGER, "dead_letters_deleted", LOG_SECONDS)
        self.file = 0

    def open(self) -> None:
        """Open the outbox, if possible; a large one takes long, and the service manager is notified meanwhile."""
        if not self._opened:
            self._opened = True
            self._open()

    @property
    def stream(self) -> str:
        """ID of the stream that the next message is in; "" while there is no outbox."""
        return self._outbox.stream if self._outbox else ""

    @property
    def backlog(self) -> int:
        return self._outbox.count - len(self._unremoved) if self._outbox else 0

    def commit(self, submissions: Sequence[Submission], acknowledged: Iterable[Message] = ()) -> None:
        """Store and remove, and answer when it is on disk; in as few transactions as SQLite's log has room for."""
        self._unremoved += acknowledged
        for part in parts(submissions) or [[]]:
            self._commit(part)
        waiting = 0
        while len(self._unremoved) not in (0, waiting):
            waiting = len(self._unremoved)
            self._commit(())

    def _commit(self, submissions: Sequence[Submission]) -> None:
        self.open()
        taken = submissions if self._reserve.held else ()
        answers: Sequence[Answer] | None = None
        if taken or self._unremoved:
            answers = self._attempt(lambda outbox: self._transaction(outbox, taken))
        if answers is None and self._unremoved:
            # In the space that was given for it just now, before anything else takes that.
            self._attempt(lambda outbox: self._transaction(outbox, ()))
        if not answers:
            answers = [self._refusal(submission, "disk", self._problem) for submission in submissions]
        for submission, answer in zip(submissions, answers):
            self._count(answer)
            submission.answer(answer)
        self._hold_log()

    def _hold_log(self) -> None:
        """Hold as much space as SQLite's log has and gets until the next look; it grows while another process reads.

        Not at each commit: Linux 6.13 and later write a file's times again when somebody has asked for them, and each
        fdatasync takes a third longer.
        """
        if self._outbox is None or not self._reserve.held or self._written < LOOK_BYTES:
            return
        self._written = 0
        if problem := self._reserve.take(self._outbox.log_bytes() + LOOK_BYTES + MOST_TRANSACTION_BYTES):
            self._fail(OutboxError(f"outbox: {problem}"))
            self._give_space(self._outbox)

    def _transaction(self, outbox: Outbox, submissions: Sequence[Submission]) -> list[Answer]:
        dropped = 0
        answers: list[Answer] = []
        acknowledged = self._unremoved[:MOST_REMOVED_AT_ONCE]
        self._written += COMMIT_BYTES
        with outbox.transaction(durable=any(submission.durable for submission in submissions)):
            outbox.remove(acknowledged)
            for submission in submissions:
                answer, made_room = self._put(outbox, submission)
                answers.append(answer)
                dropped += made_room
        del self._unremoved[: len(acknowledged)]
        self._count_dropped("full", dropped)
        return answers

    def _put(self, outbox: Outbox, submission: Submission) -> tuple[Answer, int]:
        """Store one message; return also how many were dropped for it."""
        message = Message(0, self._clock.wall(), submission.data, submission.topic)
        needed = message.size
        missing = outbox.bytes + needed - self._most_bytes
        dropped = outbox.drop_oldest(missing) if missing > 0 and self._drops else 0
        waits = submission.batch and submission.batch.refused
        if waits or outbox.bytes + needed > self._most_bytes:
            text = f"the outbox holds {outbox.bytes} of {self._most_bytes} bytes"
            return self._refusal(submission, "full", text), dropped
        self._undated |= not is_set(message.sent_at)
        self._written += needed
        stored = outbox.put(message.sent_at, message.data, message.topic, self._now())
        return Stored(outbox.number(stored.sequence)), dropped

    @staticmethod
    def _refusal(submission: Submission, reason: str, text: str) -> Refused:
        if submission.batch:
            submission.batch.refused = True
        return Refused(reason, f"not stored: {text}")

    def after(self, sequence: int, limit: int) -> list[Message]:
        """Messages with a higher number, in order, without those that are acknowledged."""
        acknowledged = {message.sequence for message in self._unremoved}
        self._date()
        found = self._attempt(lambda outbox: outbox.after(sequence, limit + len(acknowledged))) or []
        return [message for message in found if message.sequence not in acknowledged][:limit]

    def _date(self) -> None:
        """Give the outbox the time, once the device's clock is set, for what was stored before in this boot."""
        self.open()
        wall = self._clock.wall()
        if self._undated and is_set(wall):
            self._undated = False
            self._attempt(lambda outbox: outbox.set_epoch(wall - self._now()))

    def published(self, message: Message, dropped: Sequence[Range]) -> Published:
        """What they are published as; see Outbox."""
        outbox = self._outbox
        return outbox.published(message, dropped) if outbox else Published(self.stream, message, [], {})

    def dropped(self) -> list[Range]:
        """Numbers that are not coming, for the next message to report."""
        return self._attempt(lambda outbox: outbox.dropped(MOST_DROPPED_RANGES)) or []

    def forget_dropped(self, told: Sequence[Range]) -> None:
        """The broker has acknowledged the message that reported them."""
        self._attempt(lambda outbox: outbox.forget_dropped(told))

    def move_to_dead_letters(self, message: Message, code: int | None, reason: str) -> bool:
        """Move a message that the broker never takes to the dead letters; False where the disk does not let it."""
        letter = DeadLetter(message.sequence, code, reason, self._clock.wall())
        gone = self._attempt(lambda outbox: self._move(outbox, message, letter))
        if gone is None:
            return False
        self._metrics.dropped["refused"] += 1
        fields = {"sequence": message.sequence, "topic": message.topic, "bytes": message.size, "reason": reason}
        self._aside_logged.add(self._clock.monotonic(), 1, **fields)
        if gone:
            self._deletions_logged.add(self._clock.monotonic(), gone, most_bytes=self._most_dead_bytes)
        return True

    def _move(self, outbox: Outbox, message: Message, letter: DeadLetter) -> int:
        with outbox.transaction():
            return outbox.set_aside(message, letter, self._most_dead_bytes)

    def suspects(self) -> dict[int, Suspect]:
        """Return what earlier connections and processes found out about messages that may end connections."""
        return self._attempt(lambda outbox: outbox.suspects()) or {}

    def keep_suspects(self, known: Mapping[int, Suspect], gone: Iterable[int]) -> None:
        """Keep it for the process that may follow; without it, it is found out again."""
        self._attempt(lambda outbox: outbox.keep_suspects(known, gone))

    def keep_house(self) -> None:
        """Drop what is too old, remove what could not be, and count; to be called every second or so."""
        self.open()
        if self._outbox is None:
            self._open()
        self._written = LOOK_BYTES
        self.commit([])
        self._make_room()
        self._attempt(lambda outbox: outbox.changed_elsewhere())
        self._date()
        self._note_reached()
        if self._most_age:
            oldest = self._now() - self._most_age
            for _ in range(EXPIRY_STEPS):
                dropped = self._attempt(lambda outbox: self._expire(outbox, oldest)) or 0
                self._count_dropped("age", dropped)
                if not dropped:
                    break
        stored_at = self._attempt(lambda outbox: outbox.oldest_stored_at())
        self._metrics.oldest_age = 0.0 if stored_at is None else max(0.0, self._now() - stored_at)
        self._metrics.backlog = self.backlog
        self._metrics.backlog_bytes = self._outbox.bytes if self._outbox else 0
        for tally in (self._refusals, self._drops_logged, self._aside_logged, self._deletions_logged):
            tally.flush(self._clock.monotonic())

    def _make_room(self) -> None:
        """Get the reserve back, from the outbox's own space if need be."""
        if self._outbox is None:
            return
        if not self._reserve.held:
            self._attempt(lambda outbox: outbox.shrink())
            if problem := self._reserve.take(self._outbox.log_bytes()):
                self._fail(OutboxError(f"outbox: {problem}"))
                return
        if self._problem:
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
            stream, highest = self._outbox.stream, self._outbox.highest
            self._outbox.close()
            self._outbox = None
            self._mark.write(Reached(stream, highest, changed_at(self._path)))

    def _note_reached(self) -> None:
        now = self._clock.monotonic()
        if self._outbox and now >= self._marked_at + MARK_SECONDS:
            self._marked_at = now
            self._mark.write(Reached(self._outbox.stream, self._outbox.highest))

    def _now(self) -> float:
        """Time on the outbox's own clock."""
        return self._clock.since_boot() + self._offset

    def _open(self) -> None:
        now = self._clock.monotonic()
        if now < self._retry_at:
            return
        self._retry_at = now + RETRY_SECONDS
        try:
            self._use()
        except OutboxDamagedError as error:
            self._replace(error)
        except OutboxError as error:
            self._fail(error)
            self._reserve.release()

    def _use(self) -> None:
        """Open the file, and find out whether it is the one whose numbers continue.

        Raises:
            OutboxError, OutboxDamagedError: as Outbox does.
        """
        changed, reached = changed_at(self._path), self._mark.read()
        origin = Origin(self._client_id, machine_id(), self._clock.boot_id, file_identity(self._path))
        with busy(OPENING_SECONDS + file_bytes(self._path) / OPENING_BYTES_PER_SECOND):
            outbox = Outbox(self._path)
        continued = reached is not None and reached.precedes(outbox.stream, outbox.highest, changed)
        outbox.claim(origin, continued)
        self._offset = outbox.offset(self._clock.boot_id, self._clock.since_boot())
        self._outbox = outbox
        if outbox.exclusive:
            log.event(LOGGER, "outbox_exclusive", logging.WARNING, path=str(self._path))
        self.file += 1
        self._undated = outbox.undated > 0
        self._marked_at = -math.inf
        self._note_reached()
        # An earlier process left it, and its log is there to be copied.
        self._reserve.take(outbox.log_bytes())
        self._make_room()

    def _replace(self, error: OutboxError) -> None:
        """Set the damaged file aside and begin a new one."""
        self.close()
        self._unremoved.clear()
        self._fail(error)
        try:
            aside = set_aside(self._path, self._clock.wall())
            self._use()
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
        self.open()
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
                self._give_space(outbox)
                return None
        return None

    def _give_space(self, outbox: Outbox) -> None:
        """Use the reserve for what is in SQLite's log, before that takes the space to get longer."""
        self._reserve.release()
        with suppress(OutboxError):
            outbox.checkpoint()

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


def parts(submissions: Sequence[Submission]) -> list[list[Submission]]:
    """The same in order, each part so small that one transaction of it leaves SQLite's log in its bounds."""
    found: list[list[Submission]] = []
    room = 0
    for submission in submissions:
        needed = size(submission.data, submission.topic)
        if not found or needed > room:
            found.append([])
            room = MOST_TRANSACTION_BYTES
        found[-1].append(submission)
        room -= needed
    return found


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
