"""Structured logs: one JSON object a line on standard output, which systemd hands to the journal."""

from __future__ import annotations

import json
import logging
import sys


class JsonFormatter(logging.Formatter):
    """{"time": epoch seconds, "level": …, "event": …, and the event's own fields}."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": round(record.created, 3), "level": record.levelname.lower(), "event": record.getMessage()}
        line.update(getattr(record, "fields", {}))
        return json.dumps(line)


def configure() -> None:
    """Send every log record to standard output as a JSON line."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def event(logger: logging.Logger, name: str, level: int = logging.INFO, **fields: object) -> None:
    """Log one event with its fields."""
    logger.log(level, name, extra={"fields": fields})
