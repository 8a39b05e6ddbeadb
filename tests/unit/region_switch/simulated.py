"""A fleet in memory: what GetConnection and DeleteConnection of two regions say of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from .fakes import FakeAws, aws_error

OLD, NEW = "us-east-1", "ap-northeast-1"


class Fleet:
    """Clients that connect somewhere at once when they are disconnected.

    Attributes:
        connected: `{region: {client_id: connected since, epoch seconds}}`.
        calls: `{operation: requests}`.
    """

    def __init__(self, goes_to: Callable[[str], str | None] = lambda _: NEW) -> None:
        self.connected: dict[str, dict[str, float]] = {OLD: {}, NEW: {}}
        self.calls: dict[str, int] = {}
        self.goes_to = goes_to
        self.refuse: Callable[[str, str], Any] = lambda _operation, _client_id: None
        self._lock = threading.Lock()

    def connect(self, region: str, *client_ids: str) -> None:
        """Clients that have been there for an hour."""
        for client_id in client_ids:
            self.connected[region][client_id] = time.time() - 3600

    def data(self) -> Mapping[str, Any]:
        return {region: FakeAws(self._answering(region), region) for region in self.connected}

    def _answering(self, region: str) -> Callable[..., Any]:
        def answer(operation: str, clientId: str, **_: Any) -> Any:  # noqa: N803 - AWS's name
            with self._lock:
                self.calls[operation] = self.calls.get(operation, 0) + 1
                if (refused := self.refuse(operation, clientId)) is not None:
                    return refused
                there = self.connected[region]
                if operation == "GetConnection":
                    since = there.get(clientId)
                    return {"connected": since is not None, "connectedSince": (since or 0) * 1000}
                if clientId not in there:
                    return aws_error("ResourceNotFoundException", 404)
                del there[clientId]
                if (region_now := self.goes_to(clientId)) is not None:
                    self.connected[region_now][clientId] = time.time()
                return {}

        return answer
