"""Distinguishes a missing permission from occasional refusals.

The data plane of AWS IoT sometimes answers 403 to a permitted request, and accepts it when it is repeated
(https://github.com/aws/aws-sdk-js-v3/issues/5562).
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..model.errors import AwsError
from ..model.findings import Finding, unanswered

# Refused requests after which one counts as forbidden.
FORBIDDEN_ATTEMPTS = 3
# Where many requests need one permission, it is missing after so many refusals in a row that span so many seconds.
FEWEST = 4
SECONDS = 5.0


class Refusals:
    """The refusals (403) of one kind of request in one region; thread-safe."""

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
        """Note a refusal; return whether the permission is missing: no request was allowed for a while."""
        if not error.forbidden:
            return error.denied
        with self._lock:
            now = self._clock()
            if not self._count:
                self._since = now
            self._count += 1
            return self._count >= FEWEST and now - self._since > SECONDS


def denied(region: str, attempt: Callable[[], object]) -> list[Finding]:
    """A finding where the caller may not do this, or another server than AWS answered; any other refusal means that the
    permission was granted."""
    try:
        attempt()
    except AwsError as error:
        refused = error.denied or error.unreadable
        return [unanswered("permission", region, error)] if refused else []
    return []
