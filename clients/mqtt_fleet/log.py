"""Structured logs: one JSON object a line on standard output, which systemd hands to the journal."""

from __future__ import annotations

import json
import logging
import math
import sys

from mqtt_fleet.text import shortened

# Characters of one field: reasons and topics come from brokers, programs and files.
MOST_CHARACTERS = 1000


class JsonFormatter(logging.Formatter):
    """{"time": epoch seconds, "level": …, "event": …, and the event's own fields}."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": round(record.created, 3), "level": record.levelname.lower(), "event": record.getMessage()}
        for name, value in getattr(record, "fields", {}).items():
            line[name] = shortened(value, MOST_CHARACTERS) if isinstance(value, str) else value
        # In ASCII: whatever a terminal would obey is written as an escape of JSON's.
        return json.dumps(line, ensure_ascii=True)


def configure() -> None:
    """Send every log record to standard output as a JSON line."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def event(logger: logging.Logger, name: str, level: int = logging.INFO, **fields: object) -> None:
    """Log one event with its fields."""
    logger.log(level, name, extra={"fields": fields})


class Tally:
    """An event that may come often: the first is logged at once, those after it as a number at an interval."""

    def __init__(self, logger: logging.Logger, name: str, interval: float) -> None:
        """`interval` in seconds."""
        self._logger = logger
        self._name = name
        self._interval = interval
        self._messages = 0
        self._fields: dict[str, object] = {}
        self._logged_at = -math.inf

    def add(self, now: float, messages: int, **fields: object) -> None:
        """Count; the fields of the latest are logged."""
        self._messages += messages
        self._fields = fields
        self.flush(now)

    def flush(self, now: float) -> None:
        """Log what was counted, if it is time."""
        if self._messages and now - self._logged_at >= self._interval:
            event(self._logger, self._name, logging.WARNING, messages=self._messages, **self._fields)
            self._messages = 0
            self._logged_at = now
