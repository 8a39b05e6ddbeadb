"""What a move uses of its machine: clocks, sleep, threads, DNS queries. Tests replace it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from ..aws import caller
from ..dns import gate


def take(results: SimpleQueue[Any], seconds: float) -> Any | None:
    """The next result, None where none comes within `seconds`."""
    try:
        return results.get(timeout=seconds)
    except Empty:
        return None


@dataclass(frozen=True)
class Runtime:
    """The machine's own, unless said otherwise.

    Attributes:
        monotonic: seconds that decide what is due; nobody sets this clock.
        now: epoch seconds, for people to read: no decision depends on them.
        wait: sleeps until an event is set, for so many seconds at most.
        pool: makes an executor of so many workers.
        take: see the function of this name.
        ask: sends one DNS query.
        caller: the ARN of who calls AWS, asked in these regions; None where none says it.
    """

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait
    pool: Callable[[int], Executor] = ThreadPoolExecutor
    take: Callable[[SimpleQueue[Any], float], Any | None] = take
    ask: gate.Ask = gate.ask
    caller: Callable[[Sequence[str]], str | None] = caller.arn


MACHINE = Runtime()
