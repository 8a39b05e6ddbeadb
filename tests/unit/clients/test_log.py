"""What repeats fills no disk: lines of a day under faults, and that nothing new or true is missing for long."""

from __future__ import annotations

import io
import itertools
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from mqtt_fleet import log
from mqtt_fleet.log_limit import (
    EVENT_LINES,
    FORGET_SECONDS,
    FREE_LINES,
    MOST_PAUSE,
    MOST_TEXTS,
    SETTLED_SECONDS,
    LogLimit,
    pattern,
)

DAY = 86_400
LOGGER = logging.getLogger("mqtt_fleet.test_log")


class Journal:
    """The client's log, and a clock that goes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.stream = io.StringIO()
        self.handler = log.LimitedHandler(self.stream, lambda: self.now)
        self.handler.setFormatter(log.JsonFormatter())

    def wait(self, seconds: float) -> None:
        """As the client's thread does, but every ten seconds."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 10.0)
            self.handler.write_held()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def told(self, event: str) -> int:
        """Occurrences that the lines speak of."""
        return sum(1 + line.get("left_out", 0) for line in self.lines if line["event"] == event)


@pytest.fixture
def journal() -> Iterator[Journal]:
    journal = Journal()
    LOGGER.addHandler(journal.handler)
    LOGGER.propagate = False
    LOGGER.setLevel(logging.INFO)
    yield journal
    LOGGER.removeHandler(journal.handler)
    LOGGER.propagate = True


@pytest.mark.parametrize(
    ("one", "another", "same"),
    [
        ("no route to 192.0.2.1:8883", "no route to 198.51.100.77:443", True),
        ("no route to [2001:db8::1]:8883", "no route to [fe80::a:b%eth0]:443", True),
        ("not connected within 10 s", "not connected within 9.87 s", True),
        ("expired 2026-11-27T01:02:03Z", "expired 2025-01-31T23:59:59Z", True),
        ("process 4711 using it", "process 99 using it", True),
        ("refused with 0x97", "refused with 0x8E", False),
        ("no route", "connection refused", False),
    ],
)
def test_numbers_make_no_other_text_but_reason_codes_do(one: str, another: str, same: bool) -> None:
    assert (pattern(one) == pattern(another)) is same


def test_lines_are_written_as_they_come_while_they_are_few(journal: Journal) -> None:
    for _ in range(FREE_LINES // 2):
        log.event(LOGGER, "disconnected", reason="kicked")
        log.event(LOGGER, "connected", address="192.0.2.1:8883")
        journal.now += 0.1
    assert len(journal.lines) == FREE_LINES
    assert not any("left_out" in line or "held" in line for line in journal.lines)


@pytest.mark.parametrize("reasons", [1, 2, 5])
def test_day_of_a_connection_that_ends_every_ten_seconds(journal: Journal, reasons: int) -> None:
    """Alternating reasons with ports and seconds in them: 43,200 lines a day, were all written."""
    number = 0
    for number in range(DAY // 10):
        where = f"192.0.2.1:{1024 + number % 60_000}"
        log.event(LOGGER, "connect_failed", reason=f"{'abcde'[number % reasons]}: not connected within {number} s")
        for name in ("connected", "delivering", "disconnected", "subscribed"):
            log.event(LOGGER, name, logging.WARNING, reason=f"at {where}: closed", backlog=number)
        journal.wait(10.0)
    # Per text: ten, then after 1, 2, 4, … minutes, then one an hour.
    assert len(journal.lines) <= (reasons + 4) * (FREE_LINES + 6 + 24)
    assert len(journal.stream.getvalue()) < 100_000
    journal.handler.close()
    assert journal.told("disconnected") == number + 1
    assert journal.told("connect_failed") == number + 1


def test_texts_that_are_new_each_time_are_bounded_too(journal: Journal) -> None:
    letters = itertools.product("ghijklmnop", repeat=5)
    for _ in range(DAY // 20):
        log.event(LOGGER, "disconnected", reason=f"topic {''.join(next(letters))}: denied")
        journal.now += 20.0
        journal.handler.write_held()
    assert len(journal.lines) <= EVENT_LINES * 25
    assert len(journal.handler._limit._texts) <= MOST_TEXTS


def test_what_a_library_logs_is_one_event_whatever_it_says(journal: Journal) -> None:
    library = LOGGER.getChild("library")
    for words in itertools.product("ghijklmnop", repeat=3):
        library.warning("cannot %s", "".join(words))
    assert len(journal.lines) == EVENT_LINES
    assert list(journal.handler._limit._events) == [library.name]


def test_other_text_is_written_at_once_while_another_repeats(journal: Journal) -> None:
    for _ in range(100):
        log.event(LOGGER, "connect_failed", reason="no route")
    log.event(LOGGER, "connect_failed", reason="certificate expired")
    assert journal.lines[-1]["reason"] == "certificate expired"


def test_last_state_is_told_soon_with_its_own_time_and_what_was_left_out(journal: Journal) -> None:
    # Long enough for a line an hour.
    for _ in range(1000):
        log.event(LOGGER, "disconnected", reason="kicked", backlog=1)
        log.event(LOGGER, "connected", address="192.0.2.1:8883", backlog=0)
        journal.wait(10)
    journal.wait(SETTLED_SECONDS)
    last = journal.lines[-2:]
    assert [line["event"] for line in last] == ["disconnected", "connected"]
    assert all(line["held"] <= SETTLED_SECONDS + 10 for line in last)
    assert journal.told("connected") == journal.told("disconnected") == 1000
    count = len(journal.lines)
    journal.wait(3600)
    assert len(journal.lines) == count


def test_text_that_was_quiet_begins_anew(journal: Journal) -> None:
    for _ in range(100):
        log.event(LOGGER, "disconnected", reason="kicked")
        journal.wait(10)
    journal.wait(FORGET_SECONDS + SETTLED_SECONDS)
    count = len(journal.lines)
    for _ in range(FREE_LINES):
        log.event(LOGGER, "disconnected", reason="kicked")
    assert len(journal.lines) == count + FREE_LINES


def test_end_of_the_process_leaves_nothing_unsaid(journal: Journal) -> None:
    for _ in range(EVENT_LINES * 3):
        log.event(LOGGER, "disconnected", reason="kicked")
    journal.handler.close()
    assert journal.told("disconnected") == EVENT_LINES * 3


def test_text_that_makes_room_for_others_is_counted() -> None:
    written: list[tuple[str, int]] = []
    limit: LogLimit[str] = LogLimit(lambda line, left_out: written.append((line, left_out)))
    for _ in range(FREE_LINES + 5):
        limit.take("event", "first", "first", 0.0)
    for letters in itertools.islice(itertools.product("ghijkl", repeat=4), MOST_TEXTS):
        limit.take("another", "".join(letters), "x", 0.0)
    limit.take("event", "second", "second", 0.0)
    assert written[-1] == ("second", 5)


def test_tally_of_a_day_says_every_message_in_few_lines(journal: Journal) -> None:
    tally = log.Tally(LOGGER, "refused", interval=10.0)
    for number in range(DAY):
        tally.add(journal.now, 3, reason="full", text=f"the outbox holds {number} bytes")
        journal.now += 1.0
    tally.flush(journal.now + MOST_PAUSE)
    assert len(journal.lines) < 40
    assert sum(line["messages"] for line in journal.lines) == 3 * DAY
    assert journal.lines[0]["messages"] == 3
    # After a quiet time the first one is told at once, and the next soon.
    journal.now += 3 * MOST_PAUSE
    count = len(journal.lines)
    tally.add(journal.now, 1)
    tally.add(journal.now + 10.0, 1)
    assert len(journal.lines) == count + 2
