"""How long, and with how much memory, the ledger of a large fleet is written and counted.

Writes MESSAGES arrivals of 10,000 clients as the monitor does, then counts them in a process of its own, so that its
peak of memory is that of counting.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

from mqtt_monitor.ledger import Arrival, Ledger
from region_switch.record import ledger

CLIENTS = 10_000
BATCH = 1_000
SINCE = 1_000_000.0
REGIONS = ("us-east-1", "ap-northeast-1")


def arrivals() -> Iterator[Arrival]:
    """Every client's messages, one a second; one in a thousand lost, one in a thousand twice."""
    for sequence in count(1):
        for client in range(CLIENTS):
            at = SINCE + sequence + client / CLIENTS
            arrival = Arrival(f"client_{client:05}", "ab12cd34", sequence, REGIONS[sequence > 100], at - 0.05, at)
            if (client + sequence) % 1000:
                yield arrival
            if (client + sequence) % 1000 == 1:
                yield arrival


def write(path: Path, messages: int) -> float:
    """Write the ledger; return the seconds that it took."""
    written, source = Ledger(path), islice(arrivals(), messages)
    started = time.monotonic()
    while batch := list(islice(source, BATCH)):
        written.add(batch)
    written.close()
    return time.monotonic() - started


def measure(path: Path) -> dict[str, Any]:
    """Count a ledger every way that a run does."""
    moved = {f"client_{client:05}": REGIONS for client in range(CLIENTS)}
    until = time.time()
    tally = ledger.Tally(path, SINCE, moved)
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        started = time.monotonic()
        found = work()
        seconds[name] = round(time.monotonic() - started, 2)
        return found

    timed("count", tally.update)
    messages = timed("messages", tally.messages)
    gaps = timed("gaps", lambda: ledger.percentiles(tally.gaps().values()))
    timed("count again", tally.update)
    timed("timeline", lambda: ledger.timeline(path, SINCE, until, 200))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    timed("by client", lambda: ledger.by_client(path, SINCE, until))
    return {"messages": messages, "gaps": gaps, "seconds": seconds, "mebibytes": peak}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.ledger", description=__doc__)
    parser.add_argument("--messages", type=int, default=5_000_000)
    parser.add_argument("--count", type=Path, help="count this ledger and end")
    options = parser.parse_args()
    if options.count:
        sys.stdout.write(json.dumps(measure(options.count)) + "\n")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        seconds = write(path, options.messages)
        size = path.stat().st_size / 2**20
        sys.stdout.write(
            f"written: {options.messages} in {seconds:.1f} s ({options.messages / seconds:.0f}/s), {size:.0f} MiB\n"
        )
        command = [sys.executable, "-m", "tests.bench.ledger", "--count", str(path)]
        sys.stdout.write(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
