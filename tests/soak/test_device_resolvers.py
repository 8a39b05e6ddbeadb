"""A device whose resolver never answers right, where the records stay switched."""

from __future__ import annotations

import pytest

from ..lab.test_device_resolvers import test_device_that_would_go_back_stops_the_move_before_anyone_is_disconnected

__all__ = ["test_device_that_would_go_back_stops_the_move_before_anyone_is_disconnected"]


@pytest.fixture
def policy() -> str:
    return "wait"
