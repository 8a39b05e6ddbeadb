"""Structured logs: one JSON object a line on standard output, which systemd hands to the journal."""

from __future__ import annotations

import json
import logging
import math
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from mqtt_fleet.log_limit import FORGET_SECONDS, MOST_PAUSE, LogLimit
from mqtt_fleet.text import shortened

# Characters of one field: reasons and topics come from brokers, programs and files.
MOST_CHARACTERS = 1000
RELEASE_SECONDS = 5.0


class JsonFormatter(logging.Formatter):
    """{"time": epoch seconds, "level": …, "event": …, and the event's own fields}.

    "left_out": lines of the same text, or event, that were not written since the one before. "held": seconds that this
    one was; its time is when it happened.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": round(record.created, 3), "level": record.levelname.lower(), "event": record.getMessage()}
        line.update({name: vars(record)[name] for name in ("left_out", "held") if vars(record).get(name)})
        for name, value in getattr(record, "fields", {}).items():
            line[name] = shortened(value, MOST_CHARACTERS) if isinstance(value, str) else value
        # In ASCII: control characters are written as JSON escapes.
        return json.dumps(line, ensure_ascii=True)


if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:
    # Python 3.9 knows no such index.
    _StreamHandler = logging.StreamHandler


class LimitedHandler(_StreamHandler):
    """Writes a line for each record, and few for those that repeat: see `log_limit`."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._clock = clock
        self._limit: LogLimit[tuple[logging.LogRecord, float]] = LogLimit(self._write)

    def emit(self, record: logging.LogRecord) -> None:
        """Called with the handler's lock held."""
        if getattr(record, "paced", False):
            super().emit(record)
            return
        fields = getattr(record, "fields", None)
        # What a library logs has no name: its text may differ each time.
        event_name = record.name if fields is None else record.getMessage()
        texts = [record.getMessage()] if fields is None else [v for v in fields.values() if isinstance(v, str)]
        now = self._clock()
        self._limit.take(event_name, shortened(" ".join(texts), MOST_CHARACTERS), (record, now), now)

    def _write(self, line: tuple[logging.LogRecord, float], left_out: int) -> None:
        record, taken_at = line
        record.left_out, record.held = left_out, round(self._clock() - taken_at)
        super().emit(record)

    def write_held(self) -> None:
        """Write held lines whose time has come; to be called every few seconds."""
        self.acquire()
        try:
            self._limit.release(self._clock())
        finally:
            self.release()

    def close(self) -> None:
        self._limit.release_all(self._clock())
        super().close()


def configure() -> None:
    """Send every log record to standard output as a JSON line, those that repeat seldom."""
    handler = LimitedHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    threading.Thread(target=_keep_releasing, args=(handler,), name="log", daemon=True).start()
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def _keep_releasing(handler: LimitedHandler) -> None:
    while True:
        time.sleep(RELEASE_SECONDS)
        handler.write_held()


def event(logger: logging.Logger, name: str, level: int = logging.INFO, **fields: object) -> None:
    """Log one event with its fields."""
    logger.log(level, name, extra={"fields": fields})


class Tally:
    """An event that may come often: the first is logged at once, those after it as a number, in growing intervals."""

    def __init__(self, logger: logging.Logger, name: str, interval: float) -> None:
        """`interval` in seconds: the first; each is twice as long as the one before, up to an hour."""
        self._logger = logger
        self._name = name
        self._first = self._interval = interval
        self._messages = 0
        self._fields: dict[str, object] = {}
        self._logged_at = -math.inf

    def add(self, now: float, messages: int, **fields: object) -> None:
        """Count; the fields of the latest are logged."""
        if now - self._logged_at >= FORGET_SECONDS + self._interval and not self._messages:
            self._interval, self._logged_at = self._first, -math.inf
        self._messages += messages
        self._fields = fields
        self.flush(now)

    def flush(self, now: float) -> None:
        """Log what was counted, if it is time."""
        if self._messages and now - self._logged_at >= self._interval:
            fields = {"messages": self._messages, **self._fields}
            self._logger.log(logging.WARNING, self._name, extra={"fields": fields, "paced": True})
            self._messages = 0
            if self._logged_at > -math.inf:
                self._interval = min(MOST_PAUSE, self._interval * 2)
            self._logged_at = now
