"""A Unix socket that takes messages from any program on the device, and says when each is on disk.

Requests and answers are lines of JSON, see `submission.parse`: {"sequence": N} once a message is on
disk, {"error": text} when it was refused; in the order of the requests. One thread serves every
connection and waits for none: a program that does not read its answers is not read from either.
"""

from __future__ import annotations

import errno
import json
import logging
import selectors
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

from mqtt_fleet import log
from mqtt_fleet.sources.submission import (
    Answer,
    Hand,
    InvalidMessageError,
    Refused,
    Rejected,
    Stored,
    Submission,
    parse,
)

LOGGER = logging.getLogger("mqtt_fleet.socket")
NAME = "socket"
READ_BYTES = 64 << 10
# JSON may take six bytes for one that is published, \u0020 for a space: lines so long are refused all the same.
LINE_BYTES = 256 << 10
MOST_CONNECTIONS = 256
# Seconds without a message after which a connection has to make room, when there are too many, for another.
IDLE_SECONDS = 10.0
# Per connection: what has not been answered yet, and answers that have not been read.
MOST_WAITING = 1000
MOST_WAITING_BYTES = 256 << 10
MOST_ANSWER_BYTES = 64 << 10
RETRY_SECONDS = 5.0


class Slot:
    """A request's place in the order of a connection's answers."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.answer: Answer | None = None


class Producer:
    """One connection: its requests, and the answers that it waits for or has not read."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.received = b""
        self.skipping = False
        self.slots: deque[Slot] = deque()
        self.waiting_bytes = 0
        self.answers = b""
        self.ended = False
        # When its last message came; until one did, since when it is there.
        self.used = False
        self.used_at = time.monotonic()

    @property
    def wants(self) -> int:
        """The selector's events: more requests, where there are not too many; room for answers."""
        full = (
            len(self.slots) >= MOST_WAITING
            or self.waiting_bytes >= MOST_WAITING_BYTES
            or len(self.answers) >= MOST_ANSWER_BYTES
        )
        reading = 0 if full or self.ended else selectors.EVENT_READ
        return reading | (selectors.EVENT_WRITE if self.answers else 0)

    def lines(self, chunk: bytes) -> list[bytes | None]:
        """Return complete lines; None stands for one that is too long, the rest of which is skipped."""
        *found, self.received = (self.received + chunk).split(b"\n")
        lines: list[bytes | None] = list(found)
        if self.skipping and lines:
            lines, self.skipping = lines[1:], False
        if self.skipping:
            self.received = b""
        elif len(self.received) > LINE_BYTES:
            lines.append(None)
            self.received, self.skipping = b"", True
        return [None if line is not None and len(line) > LINE_BYTES else line for line in lines]

    def collect(self) -> None:
        """Turn the answers that are there, in order, into bytes to send."""
        lines = []
        while self.slots and (answer := self.slots[0].answer):
            self.waiting_bytes -= self.slots.popleft().size
            content = {"sequence": answer.sequence} if isinstance(answer, Stored) else {"error": answer.text}
            lines.append(json.dumps(content) + "\n")
        self.answers += "".join(lines).encode()


def longest_idle(producers: Iterable[Producer], now: float) -> Producer | None:
    """The connection that has to go when there are too many; None where each is in use.

    In use is one that waits for an answer, or has handed over a message within IDLE_SECONDS: parts of a message, or
    what is none, keep no place.
    """
    idle = [each for each in producers if not each.slots and not (each.used and now - each.used_at < IDLE_SECONDS)]
    return min(idle, key=lambda each: each.used_at, default=None)


class UnixSocket:
    """See the module; `hand` is called in this source's thread."""

    def __init__(self, path: Path, mode: int, message_topic: str, hand: Hand) -> None:
        self._path = path
        self._mode = mode
        self._message_topic = message_topic
        self._hand = hand
        self._listener: socket.socket | None = None
        self._selector = selectors.DefaultSelector()
        self._producers: set[Producer] = set()
        # (who, whose place, what), from the client's thread.
        self._answered: deque[tuple[Producer, Slot, Answer]] = deque()
        self._bell, self._rung = socket.socketpair()
        self._bell.setblocking(False)
        self._rung.setblocking(False)
        self._selector.register(self._rung, selectors.EVENT_READ)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="socket", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def flush(self) -> None:
        """Wake this source's thread once for all answers: once for each would contend for the interpreter's lock."""
        if self._answered:
            self._ring()

    def stop(self) -> None:
        self._stopping = True
        self._ring()
        self._thread.join()

    def is_alive(self) -> bool:
        return self._stopping or self._thread.is_alive()

    def _ring(self) -> None:
        # A full socket pair: a wake-up is pending already; a closed one: nobody listens any more.
        with suppress(OSError):
            self._bell.send(b"!")

    def _run(self) -> None:
        try:
            while not self._stopping:
                if self._listener is None:
                    self._listen()
                ready = self._selector.select(RETRY_SECONDS if self._listener is None else None)
                # Closed connections are handled before new ones.
                for key, events in sorted(ready, key=lambda each: each[0].fileobj is self._listener):
                    self._serve(key, events)
                self._deliver()
        finally:
            self._end()

    def _listen(self) -> None:
        """Bind the socket; where that fails it is said, and tried again later."""
        # Under its name only when it has its permissions and is listened to; replaces what a killed process left.
        unready = self._path.with_name(f"{self._path.name}~")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if self._path.exists() and not stat.S_ISSOCK(self._path.stat().st_mode):
                raise FileExistsError(errno.EEXIST, "something that is no socket is there")
            unready.unlink(missing_ok=True)
            listener.bind(str(unready))
            unready.chmod(self._mode)
            listener.listen(MOST_CONNECTIONS)
            unready.rename(self._path)
        except OSError as error:
            listener.close()
            text = f"socket: {self._path} cannot be used: {error.strerror}"
            log.event(LOGGER, "socket_unusable", logging.ERROR, reason=text)
            return
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)
        self._listener = listener
        log.event(LOGGER, "socket_listening", path=str(self._path))

    def _serve(self, key: selectors.SelectorKey, events: int) -> None:
        if key.fileobj is self._rung:
            with suppress(BlockingIOError):
                self._rung.recv(READ_BYTES)
        elif key.fileobj is self._listener:
            self._accept(self._listener)
        else:
            self._attend(key.data, events)

    def _attend(self, producer: Producer, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                self._receive(producer)
            self._send(producer)
        except OSError:
            self._drop(producer)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            # Too many open files: it would be tried again at once, and again.
            log.event(LOGGER, "socket_unusable", logging.ERROR, reason=f"socket: {self._path}: {error.strerror}")
            self._close_listener(listener)
            return
        connection.setblocking(False)
        if not self._has_room():
            text = f"found {MOST_CONNECTIONS} connections in use, expected fewer"
            _tell(connection, text)
            connection.close()
            self._hand(Rejected(NAME, "connections", text))
            return
        producer = Producer(connection)
        self._producers.add(producer)
        self._selector.register(connection, producer.wants, producer)

    def _has_room(self) -> bool:
        """Whether there is a place for another connection, if need be that of the one that is idle for longest."""
        now = time.monotonic()
        while len(self._producers) >= MOST_CONNECTIONS and (idle := longest_idle(self._producers, now)):
            # What it has said since the selector was asked is taken: then it may not be idle any more.
            self._attend(idle, selectors.EVENT_READ)
            if idle in self._producers and longest_idle([idle], now):
                self._close_idle(idle)
        return len(self._producers) < MOST_CONNECTIONS

    def _close_idle(self, producer: Producer) -> None:
        text = f"closed as idle, with {MOST_CONNECTIONS} connections open: what was handed over in part is not stored"
        if not producer.answers:
            _tell(producer.connection, text)
        self._drop(producer)
        self._hand(Rejected(NAME, "idle", text))

    def _close_listener(self, listener: socket.socket) -> None:
        self._selector.unregister(listener)
        listener.close()
        self._listener = None
        with suppress(OSError):
            self._path.unlink()

    def _receive(self, producer: Producer) -> None:
        with suppress(BlockingIOError):
            chunk = producer.connection.recv(READ_BYTES)
            producer.ended = not chunk
            for line in producer.lines(chunk):
                self._take(producer, line)
            if producer.ended and producer.received and not producer.skipping:
                # A message whose line was not ended may be half of one.
                self._reject(producer, InvalidMessageError("malformed", "the last line has no end"))
                producer.received = b""

    def _take(self, producer: Producer, line: bytes | None) -> None:
        try:
            if line is None:
                raise InvalidMessageError("oversized", f"found a line of more than {LINE_BYTES} bytes")
            data, topic = parse(line, self._message_topic)
        except InvalidMessageError as error:
            self._reject(producer, error)
            return
        slot = self._slot(producer, len(line))
        producer.used, producer.used_at = True, time.monotonic()
        self._hand(Submission(data, topic, answer=partial(self._answer, producer, slot)))

    def _slot(self, producer: Producer, size: int) -> Slot:
        slot = Slot(size)
        producer.slots.append(slot)
        producer.waiting_bytes += size
        return slot

    def _reject(self, producer: Producer, error: InvalidMessageError) -> None:
        self._slot(producer, 0).answer = Refused(error.reason, str(error))
        self._hand(Rejected(NAME, error.reason, str(error)))

    def _answer(self, producer: Producer, slot: Slot, answer: Answer) -> None:
        """Called in the client's thread."""
        self._answered.append((producer, slot, answer))

    def _deliver(self) -> None:
        touched = set()
        while self._answered:
            producer, slot, answer = self._answered.popleft()
            slot.answer = answer
            touched.add(producer)
        for producer in touched & self._producers:
            self._attend(producer, 0)

    def _send(self, producer: Producer) -> None:
        producer.collect()
        if producer.answers:
            with suppress(BlockingIOError):
                sent = producer.connection.send(producer.answers)
                producer.answers = producer.answers[sent:]
        if producer.ended and not producer.slots and not producer.answers:
            self._drop(producer)
        else:
            self._watch(producer)

    def _watch(self, producer: Producer) -> None:
        """Ask the selector for what the producer wants now; it does not accept an empty set of events."""
        known = producer.connection.fileno() in self._selector.get_map()
        if producer.wants and known:
            self._selector.modify(producer.connection, producer.wants, producer)
        elif producer.wants:
            self._selector.register(producer.connection, producer.wants, producer)
        elif known:
            self._selector.unregister(producer.connection)

    def _drop(self, producer: Producer) -> None:
        """Its messages are stored all the same; the answers are dropped."""
        if producer in self._producers:
            self._producers.discard(producer)
            if producer.connection.fileno() in self._selector.get_map():
                self._selector.unregister(producer.connection)
            producer.connection.close()

    def _end(self) -> None:
        self._deliver()
        for producer in list(self._producers):
            self._drop(producer)
        if self._listener:
            self._close_listener(self._listener)
        self._selector.close()
        self._rung.close()


def _tell(connection: socket.socket, text: str) -> None:
    """Say why a connection is closed; a program that does not listen is not waited for."""
    with suppress(OSError):
        connection.send(json.dumps({"error": text}).encode() + b"\n")
