"""Waiting for what other threads do."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

TIMEOUT = 20.0


def wait_until(condition: Callable[[], object]) -> None:
    """Return once the condition holds."""
    pause = threading.Event()
    for _ in range(int(TIMEOUT / 0.005)):
        if condition():
            return
        pause.wait(0.005)
    pytest.fail(f"condition not met within {TIMEOUT} s")
