"""Limits repeated log lines: a fault that lasts for days must not fill a disk, nor hide what is new.

The lines of one text (an event with its reasons, whatever numbers and addresses are in them) are written while they
are few, and then one in a growing time with the number of those left out. What is left out is held and written later,
so that the last line of a text, such as that of the present state, is never missing for long. All lines of one event
together have a limit too, since texts may differ each time.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from mqtt_fleet.pace import Pace

# Lines of one text that are written as they come; a text that did not occur for so long starts again.
FREE_LINES = 10
FORGET_SECONDS = 3600.0
# Then one line in so many seconds, doubling up to the most.
FIRST_PAUSE = 60.0
MOST_PAUSE = 3600.0
# A line that is held and followed by no other of its text for so long is written.
SETTLED_SECONDS = 300.0
# Lines of one event: as many at once, and as many an hour.
EVENT_LINES = 60
# Texts that are remembered; the one that has not occurred for longest is dropped first.
MOST_TEXTS = 200

# IPv6 addresses, and words with a digit in them: ports, times, counts, IPv4 addresses, IDs. Not MQTT's reason codes.
_VARYING = re.compile(r"(?i)[0-9a-f]*:[0-9a-f.]*:[0-9a-f:.]*(?:%\w+)?|\b(?!0x[0-9a-f]{1,2}\b)\w*\d\w*")
# Of one such thing: the parts of a fraction, an IPv4 address, a time.
_TOGETHER = re.compile(r"#(?:[.:/-]?#)+")

Line = TypeVar("Line")


def pattern(text: str) -> str:
    """A text without what differs from one time to the next."""
    return _TOGETHER.sub("#", _VARYING.sub("#", text))


@dataclass
class _Text(Generic[Line]):
    event: str
    written: int = 0
    next_at: float = -math.inf
    pause: float = FIRST_PAUSE
    last_at: float = -math.inf
    held: Line | None = None
    left_out: int = 0


@dataclass
class _Event:
    """The pace of an event's lines, and how many were left out for good."""

    pace: Pace
    left_out: int = 0


@dataclass
class LogLimit(Generic[Line]):
    """What becomes of each line; times are the monotonic clock's.

    Attributes:
        write: called with a line and how many of its kind were left out before it.
    """

    write: Callable[[Line, int], None]
    _texts: OrderedDict[str, _Text[Line]] = field(default_factory=OrderedDict)
    _events: dict[str, _Event] = field(default_factory=dict)

    def take(self, event: str, text: str, line: Line, now: float) -> None:
        """Write a line, hold it, or leave it out for one that comes later."""
        key = f"{event}\n{pattern(text)}"
        if key not in self._texts:
            self._make_room(now)
        kept = self._texts.setdefault(key, _Text(event))
        self._texts.move_to_end(key)
        if now - kept.last_at >= FORGET_SECONDS and kept.held is None:
            kept.written, kept.next_at, kept.pause = 0, -math.inf, FIRST_PAUSE
        kept.last_at = now
        if (kept.written < FREE_LINES or now >= kept.next_at) and self._allows(event, now):
            self._write(kept, line, now)
            return
        kept.left_out += kept.held is not None
        kept.held = line

    def _event(self, event: str, now: float) -> _Event:
        return self._events.setdefault(event, _Event(Pace(EVENT_LINES / 3600, now, burst=3600)))

    def _allows(self, event: str, now: float) -> bool:
        pace = self._event(event, now).pace
        allowed = pace.allowed(now) > 0
        if allowed:
            pace.take()
        return allowed

    def _write(self, kept: _Text[Line], line: Line, now: float) -> None:
        event = self._events[kept.event]
        # The held one, where there is one, is older than the line.
        left_out = kept.left_out + (kept.held is not None and kept.held is not line) + event.left_out
        kept.held, kept.left_out, event.left_out = None, 0, 0
        kept.written += 1
        if kept.written >= FREE_LINES:
            kept.next_at = now + kept.pause
            kept.pause = min(MOST_PAUSE, kept.pause * 2)
        self.write(line, left_out)

    def _make_room(self, now: float) -> None:
        while len(self._texts) >= MOST_TEXTS:
            _, oldest = self._texts.popitem(last=False)
            self._event(oldest.event, now).left_out += oldest.left_out + (oldest.held is not None)

    def release(self, now: float) -> None:
        """Write the held lines whose time has come, in the order in which they came."""
        for kept in list(self._texts.values()):
            due = now >= kept.next_at or now - kept.last_at >= SETTLED_SECONDS
            if kept.held is not None and due and self._allows(kept.event, now):
                self._write(kept, kept.held, now)

    def release_all(self, now: float) -> None:
        """Write every held line, before the process ends."""
        for kept in list(self._texts.values()):
            if kept.held is not None:
                self._event(kept.event, now)
                self._write(kept, kept.held, now)
