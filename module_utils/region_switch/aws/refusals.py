"""Telling a permission that is missing from single refusals.

The data plane of AWS IoT answers 403 now and then to who may ask
(https://github.com/aws/aws-sdk-js-v3/issues/5562): what is tried again is fulfilled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..model.errors import AwsError
from ..model.findings import Finding, unanswered

# Requests that are refused before one is taken to be forbidden.
FORBIDDEN_ATTEMPTS = 3
# Where many requests tell of one permission: refusals in a row, and the seconds that they have to last.
FEWEST = 4
SECONDS = 5.0


class Refusals:
    """The refusals (403) of one kind of request in one region; may be used by many threads at once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._count = 0
        self._since = 0.0

    def fulfilled(self) -> None:
        """Note that a request was allowed."""
        with self._lock:
            self._count = 0

    def persist(self, error: AwsError) -> bool:
        """Note a refusal; return whether it is no single one: nothing was allowed since the first of a row of them."""
        if not error.forbidden:
            return error.denied
        with self._lock:
            now = self._clock()
            if not self._count:
                self._since = now
            self._count += 1
            return self._count >= FEWEST and now - self._since > SECONDS


def denied(region: str, attempt: Callable[[], object]) -> list[Finding]:
    """A finding when the caller may not do this, or somebody else than AWS answered; any other refusal comes from
    behind the permission."""
    try:
        attempt()
    except AwsError as error:
        refused = error.denied or error.unreadable
        return [unanswered("permission", region, error)] if refused else []
    return []
