"""Time that passes only when somebody sleeps, and AWS clients that answer from a function."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ansible.module_utils.region_switch.model.errors import AwsError
from ansible.module_utils.region_switch.move.runtime import Runtime


class Clock:
    """A clock and its sleep."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds


def on(clock: Clock) -> Runtime:
    """A machine on which time passes only when somebody sleeps."""

    def wait(_: threading.Event, seconds: float) -> bool:
        clock.sleep(seconds)
        return False

    return Runtime(monotonic=clock, now=clock, sleep=clock.sleep, wait=wait)


class FakeAws:
    """Answers `call` and `find` from a function of the operation and its parameters."""

    def __init__(self, answer: Callable[..., Any], region: str = "us-east-1") -> None:
        self._answer = answer
        self.region = region

    def call(self, operation: str, **parameters: Any) -> Any:
        answer = self._answer(operation, **parameters)
        if isinstance(answer, AwsError):
            raise answer
        return answer

    def find(self, operation: str, **parameters: Any) -> Any:
        try:
            return self.call(operation, **parameters)
        except AwsError as error:
            if error.not_found:
                return None
            raise


def aws_error(code: str, status: int) -> AwsError:
    return AwsError("SomeOperation", "us-east-1", code, status, "some text.")
