"""The client's systemd service."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .commands import run
from .layout import SERVICE

POLL = 0.1
# A service that ended so often since its start will not keep running.
ENDED_TOO_OFTEN = 3
ADVICE = f"see 'systemctl status {SERVICE}'"


@dataclass(frozen=True)
class State:
    """The service's state in systemd.

    Attributes:
        active: "active", "inactive", "failed", …
        enabled: whether it starts with the device.
        process: ID of its main process, 0: none.
        restarts: how often systemd restarted it.
        status: the client's own, such as "connected to 192.0.2.1:8883 since …; backlog 0; acknowledged 7".
    """

    active: str
    enabled: bool
    process: int
    restarts: int
    status: str

    @property
    def connected(self) -> bool:
        return self.active == "active" and self.status.startswith("connected")

    @property
    def acknowledged(self) -> int:
        """Number of messages that the broker acknowledged to this process."""
        found = re.search(r"; acknowledged (\d+)", self.status)
        return int(found[1]) if found else 0

    def in_words(self) -> str:
        """The state as an error shows it."""
        return f"{self.active}, {self.status or 'no status'}"


class Service(Protocol):
    """The client's service."""

    def state(self) -> State:
        """The current state."""

    def reload(self) -> None:
        """Reload the units."""

    def restart(self) -> None:
        """Enable and restart it, without waiting."""

    def remove(self) -> None:
        """Stop and disable it, if it exists."""


class SystemdService:
    """`Service`, by systemctl."""

    def state(self) -> State:
        names = ("ActiveState", "UnitFileState", "MainPID", "NRestarts", "StatusText")
        said = run(["systemctl", "show", SERVICE, *(f"--property={name}" for name in names)], ADVICE)
        values = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
        return State(
            active=values.get("ActiveState", "unknown"),
            enabled=values.get("UnitFileState") == "enabled",
            process=int(values.get("MainPID") or 0),
            restarts=int(values.get("NRestarts") or 0),
            status=values.get("StatusText", ""),
        )

    def reload(self) -> None:
        run(["systemctl", "daemon-reload"], ADVICE)

    def restart(self) -> None:
        run(["systemctl", "enable", "--quiet", SERVICE], ADVICE)
        run(["systemctl", "restart", "--no-block", SERVICE], ADVICE)

    def remove(self) -> None:
        state = self.state()
        if state.active != "inactive":
            run(["systemctl", "stop", SERVICE], ADVICE)
        if state.enabled:
            run(["systemctl", "disable", "--quiet", SERVICE], ADVICE)


def wait_until(
    service: Service, proven: Callable[[State], bool], timeout: float, clock: Callable[[], float] = time.monotonic
) -> State:
    """Poll the service until it is proven, has ended too often, or the time is over; return its last state."""
    deadline = clock() + timeout
    while True:
        state = service.state()
        if proven(state) or state.restarts >= ENDED_TOO_OFTEN or clock() >= deadline:
            return state
        time.sleep(POLL)
