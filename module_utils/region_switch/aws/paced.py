"""Requests that are tried again when AWS refuses them for a moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..model.errors import AwsError

Answer = TypeVar("Answer")


def retried(send: Callable[[], Answer], attempts: Callable[[AwsError], int], pause: Callable[[int], object]) -> Answer:
    """What `send` returns; it is called again while AWS refuses it.

    Args:
        attempts: how many, at most, an error such as the last one allows; 1: no second one.
        pause: waits until the next attempt; gets the number of those that failed.

    Raises:
        AwsError: the last one.
    """
    failed = 0
    while True:
        try:
            return send()
        except AwsError as error:
            failed += 1
            if failed >= attempts(error):
                raise
        pause(failed)
