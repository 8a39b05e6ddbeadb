"""Requests within a quota, and retries of those that AWS refuses temporarily."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from ..model.errors import AwsError, SwitchError
from . import answers
from .clients import AwsClient
from .token_bucket import TokenBucket

Answer = TypeVar("Answer")

# https://docs.aws.amazon.com/general/latest/gr/iot-core.html: GetConnection and DeleteConnection take one request per
# second for a client ID.
CLIENT_INTERVAL = 1.1
# Attempts of one request for a client that fails temporarily.
ATTEMPTS = 6


class StoppedError(SwitchError):
    """The answer is no longer needed."""


def retried(send: Callable[[], Answer], attempts: Callable[[AwsError], int], pause: Callable[[int], object]) -> Answer:
    """Call `send` until AWS accepts it, and return its result.

    Args:
        attempts: how many attempts the last error allows in total; 1: no retry.
        pause: waits before the next attempt; gets the number of failed ones.

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


class Paced:
    """Sends requests of one quota to one region; thread-safe.

    Args:
        rate: requests per second.
        attempts: see `retried`.
        interval: seconds before the second attempt; twice as long before the third, and so on.
        stop: set when answers are no longer needed.
    """

    def __init__(
        self,
        client: AwsClient,
        rate: float,
        attempts: Callable[[AwsError], int],
        interval: float,
        stop: threading.Event | None = None,
    ) -> None:
        self.region = client.region
        self._client = client
        self._attempts = attempts
        self._interval = interval
        self._stop = stop or threading.Event()
        self._bucket = TokenBucket(rate, sleep=self._pause)

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Send a request, paced to the quota.

        Raises:
            AwsError: AWS refused it, or failed every time.
            StoppedError: the answer is no longer needed.
        """
        return self._retried(partial(self._client.call, operation, **parameters))

    def find(self, operation: str, **parameters: Any) -> dict[str, Any] | None:
        """As `call`, but None where the object does not exist."""
        return self._retried(partial(self._client.find, operation, **parameters))

    def _retried(self, send: Callable[[], Answer]) -> Answer:
        return retried(partial(self._send, send), self._attempts, lambda failed: self._pause(self._interval * failed))

    def _send(self, send: Callable[[], Answer]) -> Answer:
        self._pause(0)
        self._bucket.acquire()
        return self._bucket.adapt(send)

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise StoppedError("stopped")

    def pages(
        self, operation: str, items: str, cursor: tuple[str, str] = ("nextToken", "nextToken"), **parameters: Any
    ) -> Iterator[list[Any]]:
        """Yield the list `items` of each page; `cursor` as for `AwsClient.pages`."""
        return answers.pages(self.call, self.region, operation, items, cursor, **parameters)
