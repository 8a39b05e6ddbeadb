"""What the client stores and drains per second, beside SQLite alone, and what it takes of a device at 10 messages/s.

SQLite's own limit is measured in the same run: transactions of the same size on the same file system,
with the outbox's schema and settings, and nothing else. The client stores what a program hands to its
socket, with so many messages unanswered, while the broker cannot be reached; then it is drained to a
local Mosquitto over TLS. Run by `make bench-client`; writes the section "client" of docs/benchmarks.json.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from mqtt_fleet.outbox import Message, Outbox
from tests.modules.client_world import World, eventually

from . import page, results, tables

LIBRARIES = ("awsiotsdk", "paho")
DATA = "x" * 100
# Messages handed over without waiting for an answer: SQLite's transaction holds as many.
GROUPS = (1, 10, 100, 1000)
SECONDS_EACH = 1.5
ROUNDS = 5
DRAINED = 5000
AT_REST_SECONDS = 20.0
HEARTBEAT = 0.1
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> int:
    # Not in memory: what is measured is a disk.
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="bench-client-") as folder:
        stored = [_storing(Path(folder), group) for group in GROUPS]
        drained = {library: _draining(Path(folder), library) for library in LIBRARIES}
        at_rest = {library: _at_rest(Path(folder), library) for library in LIBRARIES}
    figures = {"data_bytes": len(DATA), "stored": stored, "drained": drained, "at_10_per_second": at_rest}
    results.write("client", figures)
    sys.stdout.write(tables.client(results.read()) + "\n")
    page.show_written()
    return 0


def _storing(folder: Path, group: int) -> dict[str, float]:
    """Medians of rounds in turn, so that other work on the machine meets both."""
    alone, client = [], []
    outbox = Outbox(folder / f"alone-{group}")
    with running_client(folder / f"storing-{group}", "paho", reachable=False) as (world, _):
        for _ in range(ROUNDS):
            alone.append(_sqlite_alone(outbox, group))
            client.append(_hand_over(world.folder / "s", group, SECONDS_EACH))
    outbox.close()
    limit, reached = statistics.median(alone), statistics.median(client)
    return {"unanswered": group, "sqlite": round(limit), "client": round(reached), "share": round(reached / limit, 2)}


def _sqlite_alone(outbox: Outbox, group: int) -> float:
    """Messages per second in transactions of so many."""
    count, began = 0, time.monotonic()
    while (elapsed := time.monotonic() - began) < SECONDS_EACH:
        with outbox.transaction():
            for _ in range(group):
                outbox.put(time.time(), DATA)
        count += group
    return count / elapsed


def _hand_over(path: Path, group: int, seconds: float, most: int = sys.maxsize) -> float:
    """Messages per second that one program gets stored, so many at a time."""
    line = json.dumps({"data": DATA}).encode() + b"\n"
    count, began, elapsed = 0, time.monotonic(), 0.0
    with closing(socket.socket(socket.AF_UNIX)) as producer:
        producer.connect(str(path))
        with producer.makefile("rb") as reader:
            while elapsed < seconds and count < most:
                producer.sendall(line * group)
                for _ in range(group):
                    answer = reader.readline()
                    if b"sequence" not in answer:
                        raise RuntimeError(f"expected a sequence, found {answer!r}")
                count += group
                elapsed = time.monotonic() - began
    return count / elapsed


def _draining(folder: Path, library: str) -> dict[str, float]:
    """Messages per second that leave an outbox, with the pace out of the way, beside SQLite's removals alone."""
    options = {"publish_rate": 100_000, "window": 100}
    with running_client(folder / f"draining-{library}", library, reachable=False, **options) as (world, _):
        _hand_over(world.folder / "s", 1000, 600, DRAINED)
        world.point("us-east-1")
        eventually(lambda: world.events("connected"), "the connection")
        began = time.monotonic()
        eventually(lambda: _kept(world.folder / "outbox") == 0, "the outbox drained", within=600)
        elapsed = time.monotonic() - began
    alone = _removals_alone(folder / f"removals-{library}")
    client = DRAINED / elapsed
    return {"sqlite": round(alone), "client": round(client), "share": round(client / alone, 2)}


def _removals_alone(path: Path) -> float:
    outbox = Outbox(path)
    with outbox.transaction():
        messages = [outbox.put(0.0, DATA) for _ in range(DRAINED)]
    began = time.monotonic()
    # As the client does when acknowledgements come one by one, which is the worst.
    for message in messages:
        with outbox.transaction(durable=False):
            outbox.remove([Message(message.sequence, 0.0, DATA)])
    elapsed = time.monotonic() - began
    outbox.close()
    return DRAINED / elapsed


def _kept(path: Path) -> int:
    # Read only, and without the check that opening an outbox makes.
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return int(database.execute("SELECT count(*) FROM message").fetchone()[0])


def _at_rest(folder: Path, library: str) -> dict[str, float]:
    """Memory and share of one core at ten messages a second."""
    with running_client(folder / f"rest-{library}", library, heartbeat_interval=HEARTBEAT) as (world, process):
        eventually(lambda: world.events("delivering"), "messages delivered")
        began, ticks = time.monotonic(), _ticks(process.pid)
        time.sleep(AT_REST_SECONDS)
        share = (_ticks(process.pid) - ticks) / TICKS / (time.monotonic() - began)
        status = Path(f"/proc/{process.pid}/status").read_text()
        memory = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))
    return {"rss_mib": round(memory / 1024, 1), "cpu_percent": round(share * 100, 2)}


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@contextmanager
def running_client(
    folder: Path, library: str, reachable: bool = True, **changes: Any
) -> Iterator[tuple[World, subprocess.Popen[bytes]]]:
    """A client with a socket, and the broker that it can reach, or not."""
    folder.mkdir()
    world = World(folder)
    for name in ("server", "client"):
        world.authority.issue(name)
    world.start_broker("us-east-1")
    world.point("us-east-1" if reachable else "nowhere")
    options = {"socket": "s", "heartbeat_interval": 0, "endpoint_watch": "off", "reconnect_delay_cap": 1, **changes}
    process = world.client(library, **{"outbox_max_bytes": 1 << 30, **options})
    try:
        eventually((folder / "s").exists, "the client's socket")
        yield world, process
    finally:
        world.stop()


if __name__ == "__main__":
    sys.exit(main())
