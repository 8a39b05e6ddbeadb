"""The service manager's notification socket, sd_notify(3), and its watchdog, sd_watchdog_enabled(3)."""

from __future__ import annotations

import math
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress


def notify(state: str) -> None:
    """Send one state, such as "READY=1"; does nothing outside a unit of Type=notify."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # A leading @ stands for the NUL byte of an abstract socket.
    if address.startswith("@"):
        address = "\0" + address[1:]
    # A service manager that is being restarted must not end the client.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect(address)
        channel.sendall(state.encode())


def watchdog_interval(environment: Mapping[str, str] = os.environ) -> float:
    """Seconds between two signs of life: half of what the service manager waits; infinite where it does not."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(microseconds) / 2e6 if microseconds.isdigit() and int(microseconds) and ours else math.inf


@contextmanager
def busy(seconds: float) -> Iterator[None]:
    """Feed the watchdog during a block, for so long at most, since the loop that usually does is blocked."""
    interval = watchdog_interval()
    if math.isinf(interval):
        yield
        return
    done = threading.Event()

    def feed() -> None:
        for _ in range(math.ceil(seconds / interval)):
            notify("WATCHDOG=1")
            if done.wait(interval):
                return

    feeder = threading.Thread(target=feed, name="busy", daemon=True)
    feeder.start()
    try:
        yield
    finally:
        done.set()
        feeder.join()
