"""A message that a source submits, and the answer it gets."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, Union

from mqtt_fleet.outbox import Data
from mqtt_fleet.text import shortened
from mqtt_fleet.topic import LEVEL_FORBIDDEN, TOPIC_BYTES, forbidden

# AWS IoT Core, "Message broker and protocol quotas": a publish request has at most 128 KiB.
# The rest of the request: topic, number, time, dropped ranges.
PUBLISH_BYTES = 128 << 10
REST_BYTES = 4096
DATA_BYTES = PUBLISH_BYTES - REST_BYTES
# Characters of a wrong value that are shown.
MOST_SHOWN = 100
# Of a character in JSON, as \u0020 for a space.
MOST_BYTES_EACH = 6
KEYS = {"data", "data_base64", "topic"}


@dataclass(frozen=True)
class Stored:
    """The message is on disk under this number."""

    sequence: int


@dataclass(frozen=True)
class Refused:
    """The message is not in the outbox. `reason`: what it is counted under; `text`: one line for its sender."""

    reason: str
    text: str


Answer = Union[Stored, Refused]


class InvalidMessageError(Exception):
    """What a program submitted is not a message; one line.

    Attributes:
        reason: what it is counted under: "malformed", "oversized" or "topic".
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def _no_answer(_: Answer) -> None:
    pass


class Batch:
    """Messages whose order counts: once one was refused, so are those after it."""

    def __init__(self) -> None:
        self.refused = False


@dataclass(frozen=True)
class Submission:
    """A message to be stored; `answer` is called in the client's thread and must not block.

    `durable`: on disk when it is answered; False: a power cut may take it, and nothing waits for the disk.
    """

    data: Data = None
    topic: str | None = None
    batch: Batch | None = None
    answer: Callable[[Answer], None] = field(default=_no_answer, compare=False)
    durable: bool = True


@dataclass(frozen=True)
class Rejected:
    """A source refused a message by itself: to be counted and logged."""

    source: str
    reason: str
    text: str


class Source(Protocol):
    """Something that hands over messages from a thread of its own."""

    def start(self) -> None:
        """Begin."""

    def flush(self) -> None:
        """Answers were given: pass them on. Called in the client's thread; does not block."""

    def stop(self) -> None:
        """Take no more; answers that are still given are delivered where that does not block."""

    def is_alive(self) -> bool:
        """False once it ended by a failure."""


Hand = Callable[[Union[Submission, Rejected]], None]


def parse(line: bytes, message_topic: str) -> tuple[Data, str | None]:
    """Read a request of the Unix socket: (data, topic).

    Args:
        line: JSON object {"data": text} or {"data_base64": text}, and optionally "topic", one level of a topic.
        message_topic: the topic that the level will be appended to.

    Raises:
        InvalidMessageError: see its attribute.
    """
    try:
        body = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidMessageError("malformed", f"is not JSON: {_one_line(error)}") from error
    if not isinstance(body, dict):
        raise InvalidMessageError("malformed", f"found {type(body).__name__}, expected a JSON object")
    if unknown := sorted(set(body) - KEYS):
        raise InvalidMessageError("malformed", f"found key {_shown(unknown[0])}, expected {', '.join(sorted(KEYS))}")
    if ("data" in body) == ("data_base64" in body):
        raise InvalidMessageError("malformed", "expected either data or data_base64")
    data = _bytes(body["data_base64"]) if "data_base64" in body else _text("data", body["data"])
    check_size(data)
    topic = body.get("topic")
    return data, None if topic is None else check_topic(topic, message_topic)


def check_size(data: str | bytes) -> None:
    """Refuse what would not fit into one publish.

    Raises:
        InvalidMessageError: it is oversized.
    """
    if MOST_BYTES_EACH * len(data) + 2 <= DATA_BYTES:
        return
    size = -(-len(data) // 3) * 4 if isinstance(data, bytes) else len(json.dumps(data, ensure_ascii=False).encode())
    if size > DATA_BYTES:
        raise InvalidMessageError("oversized", f"found {size} bytes as published, expected at most {DATA_BYTES}")


def check_topic(topic: Any, message_topic: str) -> str:
    """Return the name of one level of a topic.

    Raises:
        InvalidMessageError: it is none.
    """
    if not isinstance(topic, str) or not topic or set(topic) & set(LEVEL_FORBIDDEN):
        raise InvalidMessageError("topic", f"topic: found {_shown(topic)}, expected one level without / + #")
    _text("topic", topic)
    if letter := forbidden(topic):
        raise InvalidMessageError("topic", f"topic: found {letter}, for which brokers close the connection")
    size = len(f"{message_topic}/{topic}".encode())
    if size > TOPIC_BYTES:
        raise InvalidMessageError("topic", f"topic: found {size} bytes as published, expected at most {TOPIC_BYTES}")
    return topic


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidMessageError("malformed", f"{key}: found {type(value).__name__}, expected a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidMessageError("malformed", f"{key}: found half of a surrogate pair, expected text") from error
    return value


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(_text("data_base64", value), validate=True)
    except ValueError as error:
        raise InvalidMessageError("malformed", f"data_base64: {_one_line(error)}") from error


def _shown(value: object) -> str:
    """A value in one line, for whoever sent it and for the log."""
    return shortened(repr(value), MOST_SHOWN)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
