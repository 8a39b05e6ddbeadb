"""Waiting for a part: until it is ready, its program gives up, or time is over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from lab import readiness, supervisor
from lab.errors import LabError


def part(answers: list[str | None]) -> readiness.Part:
    """A part that gives these answers one after the other, the last one for ever."""
    left: Iterator[str | None] = iter(answers)
    last = answers[-1]
    return readiness.Part("broker", "mosquitto", lambda: next(left, last))


@pytest.fixture
def given_up(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What the supervisor answers when asked whether the program has given up: the last element."""
    answer = [False]
    monkeypatch.setattr(supervisor, "has_given_up", lambda _: answer[-1])
    monkeypatch.setattr(readiness, "PAUSE", 0)
    return answer


def test_waiting_ends_when_the_part_is_ready(given_up: list[bool], tmp_path: Path) -> None:
    readiness._wait_for(part(["no socket", "no answer", None]), tmp_path, Event())


def test_a_program_that_gave_up_is_named_with_its_log(given_up: list[bool], tmp_path: Path) -> None:
    given_up.append(True)
    with pytest.raises(LabError, match=r"program mosquitto ends as soon .* see .*/log/mosquitto\.log$"):
        readiness._wait_for(part(["no socket"]), tmp_path, Event())


def test_what_is_missing_is_said_when_time_is_over(
    given_up: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "TIMEOUT", 0)
    with pytest.raises(LabError, match="broker: no socket; not ready after 0 s"):
        readiness._wait_for(part(["no socket"]), tmp_path, Event())


def test_waiting_ends_with_the_whole_wait(given_up: list[bool], tmp_path: Path) -> None:
    over = Event()
    over.set()
    readiness._wait_for(part(["no socket"]), tmp_path, over)
