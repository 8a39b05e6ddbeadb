"""What a device's flash, and AWS's bill, have to take of the client in a day.

Flash: what reaches a block device of its own below ext4 (a loop device): bytes written and flushes, as the kernel
counts them, while a client sends messages of its own, or a program's, to a local Mosquitto over TLS. Log: lines and
bytes of a simulated day. What AWS charges is arithmetic, see `tables.costs`. Run as root by `make bench-costs`; writes
the section "costs" of docs/benchmarks.json.
"""

from __future__ import annotations

import io
import json
import logging
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mqtt_fleet import log

from . import page, results, tables
from .client import running_client

LIBRARY = "paho"
DAY = 86_400
DISK_BYTES = 128 << 20
SECTOR = 512
# Places in /sys/block/<name>/stat, from 0; Documentation/block/stat.rst of the kernel.
WRITTEN_SECTORS, FLUSHES = 6, 15
SECONDS = 120.0
DATA = "x" * 100


@dataclass(frozen=True)
class Load:
    """Messages at an interval in seconds: the client's own, or a program's; 0: none."""

    kind: str
    interval: float


LOADS = [Load("none", 0), *(Load(kind, interval) for kind in ("heartbeat", "program") for interval in (10.0, 0.1))]


def main() -> int:
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="bench-costs-") as folder, ThreadPoolExecutor(8) as pool:
        flash = list(pool.map(lambda pair: _flash(Path(folder) / str(pair[0]), pair[1]), enumerate(LOADS)))
    results.write("costs", {"seconds": SECONDS, "flash": flash, "log": [_day_of_log(*each) for each in DAYS]})
    sys.stdout.write(tables.costs(results.read()) + "\n")
    page.show_written()
    return 0


def _flash(folder: Path, load: Load) -> dict[str, object]:
    """Bytes and flushes per message, or per day where there are none."""
    folder.mkdir()
    own = load.interval if load.kind == "heartbeat" else 0
    with (
        _disk(folder) as (name, place),
        running_client(folder / "world", LIBRARY, heartbeat_interval=own, outbox=str(place / "outbox")) as (world, _),
    ):
        # What making and starting it wrote is not a day's.
        time.sleep(10)
        _write_all(place)
        before = _counted(name)
        began = time.monotonic()
        sent = _hand_over(world.folder / "s", load.interval) if load.kind == "program" else 0
        time.sleep(max(0.0, SECONDS - (time.monotonic() - began)))
        sent = sent or (round(SECONDS / load.interval) if load.interval else 0)
        # What the kernel still holds is written as well.
        _write_all(place)
        written, flushes = (after - earlier for after, earlier in zip(_counted(name), before, strict=True))
    per = sent or SECONDS / DAY
    return {"kind": load.kind, "interval": load.interval, "bytes": round(written / per), "flushes": flushes / per}


def _hand_over(path: Path, interval: float) -> int:
    """Hand over one message after the other, each answered; return how many."""
    count, began = 0, time.monotonic()
    with closing(socket.socket(socket.AF_UNIX)) as program, program.makefile("rb") as answers:
        program.connect(str(path))
        while (due := began + count * interval) < began + SECONDS:
            time.sleep(max(0.0, due - time.monotonic()))
            program.sendall(json.dumps({"data": DATA}).encode() + b"\n")
            if b"sequence" not in answers.readline():
                raise RuntimeError("a message was refused, expected it to be stored")
            count += 1
    return count


@contextmanager
def _disk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yields a block device's name and where its file system is mounted."""
    image, place = folder / "disk", folder / "mounted"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    # Nothing is left to be initialised later, which would be counted.
    options = ["-E", "lazy_itable_init=0,lazy_journal_init=0"]
    subprocess.run(["mkfs.ext4", "-q", "-F", *options, str(image)], check=True)
    device = subprocess.run(
        ["losetup", "--find", "--show", str(image)], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    try:
        subprocess.run(["mount", device, str(place)], check=True)
        try:
            yield Path(device).name, place
        finally:
            subprocess.run(["umount", str(place)], check=True)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def _write_all(place: Path) -> None:
    """Of this file system alone: flushes of others would be counted."""
    subprocess.run(["sync", "--file-system", str(place)], check=True)


def _counted(name: str) -> tuple[int, int]:
    numbers = [int(number) for number in Path(f"/sys/block/{name}/stat").read_text(encoding="ascii").split()]
    return numbers[WRITTEN_SECTORS] * SECTOR, numbers[FLUSHES]


# Title, seconds between two rounds, and the events of a round with their fields; "#" stands for a number.
Event = tuple[str, dict[str, object]]
CONNECTED: list[Event] = [
    ("connected", {"address": "192.0.2.#:8883", "session_present": False, "seconds": 0.123, "backlog": 0}),
    ("delivering", {"gap_seconds": 1.234, "sequence": 12345}),
]
ENDED = {"next_connect_in": 1.234, "backlog": 0}
DAYS: list[tuple[str, float, list[Event]]] = [
    ("a connection that lasts", DAY, CONNECTED),
    ("no network: an attempt every 30 s", 30.0, [("connect_failed", {"reason": "name: no answer in # s", **ENDED})]),
    (
        "a connection that ends every 2 s, for two reasons in turn",
        2.0,
        [*CONNECTED, ("disconnected", {"reason": "DISCONNECT 0x8E by 192.0.2.1:#", **ENDED}),
         ("connect_failed", {"reason": "TCP: refused by 192.0.2.1:#", **ENDED})],
    ),
]  # fmt: skip


def _day_of_log(title: str, interval: float, round_of: list[Event]) -> dict[str, object]:
    """Lines and bytes that a day of it writes, and would write without a limit."""
    now = 0.0
    stream, unlimited = io.StringIO(), io.StringIO()
    handler = log.LimitedHandler(stream, lambda: now)
    every = logging.StreamHandler(unlimited)
    for each in (handler, every):
        each.setFormatter(log.JsonFormatter())
    logger = logging.Logger("costs")
    logger.addHandler(every)
    logger.addHandler(handler)
    for number in range(int(DAY / interval)):
        now = number * interval
        for name, fields in round_of:
            told = {key: text.replace("#", str(number)) if isinstance(text, str) else text
                    for key, text in fields.items()}  # fmt: skip
            log.event(logger, name, **told)
        handler.write_held()
    handler.close()
    figures = {"lines": stream, "all_lines": unlimited}
    counts = {key: text.getvalue().count("\n") for key, text in figures.items()}
    return {"title": title, **counts, "bytes": len(stream.getvalue()), "all_bytes": len(unlimited.getvalue())}


if __name__ == "__main__":
    sys.exit(main())
