"""A program as it may run beside the client: numbered messages for the socket, and a record of what became of each.

It runs on a device, with the device's own Python. What was not answered, because the client ended in between, is handed
over again, in order. SIGTERM: no new messages; it ends when each has its answer.

The record has a line per answer: "NUMBER SEQUENCE" of a message that was accepted, "NUMBER refused TEXT" of another.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import socket
import time
from collections import deque
from itertools import islice
from pathlib import Path

MOST_WAITING = 500
RETRY_SECONDS = 0.1


class Producer:
    """Hands messages over in order and matches the answers to them."""

    def __init__(self, path: str, size: int, record: int) -> None:
        self._path = path
        self._padding = "." * size
        self._record = record
        self._connection: socket.socket | None = None
        self._received = b""
        # Numbers without an answer, and how many of them were handed over on this connection.
        self._waiting: deque[int] = deque()
        self._handed = 0
        self._number = 0

    @property
    def done(self) -> bool:
        return not self._waiting

    def produce(self, due: int) -> None:
        """Make the messages up to a number, unless too many wait."""
        while self._number < due and len(self._waiting) < MOST_WAITING:
            self._number += 1
            self._waiting.append(self._number)

    def work(self, timeout: float) -> None:
        """Hand over what is waiting, and take the answers that are there or come within so many seconds."""
        try:
            if self._connection is None:
                self._connect()
            self._exchange(timeout)
        except OSError:
            self._drop()
            time.sleep(RETRY_SECONDS)

    def _connect(self) -> None:
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._connection.connect(self._path)

    def _drop(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None
        self._received = b""
        self._handed = 0

    def _exchange(self, timeout: float) -> None:
        if self._connection is None:
            return
        for number in islice(self._waiting, self._handed, None):
            self._connection.sendall(json.dumps({"data": f"{number}{self._padding}"}).encode() + b"\n")
            self._handed += 1
        if not select.select([self._connection], [], [], timeout)[0]:
            return
        chunk = self._connection.recv(1 << 16)
        if not chunk:
            raise ConnectionResetError
        *lines, self._received = (self._received + chunk).split(b"\n")
        os.write(self._record, b"".join(self._answered(json.loads(line)) for line in lines))

    def _answered(self, answer: dict[str, object]) -> bytes:
        self._handed -= 1
        result = answer["sequence"] if "sequence" in answer else f"refused {answer['error']}"
        return f"{self._waiting.popleft()} {result}\n".encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", default="/run/mqtt-client/messages.sock")
    parser.add_argument("--rate", type=float, required=True, help="messages per second")
    parser.add_argument("--size", type=int, default=0, help="bytes that each has beside its number")
    parser.add_argument("--record", type=Path, required=True, help="file, which must not exist")
    options = parser.parse_args()
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    record = os.open(options.record, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
    producer = Producer(options.socket, options.size, record)
    began = time.monotonic()
    while not (stopping and producer.done):
        if not stopping:
            producer.produce(int((time.monotonic() - began) * options.rate) + 1)
        producer.work(min(RETRY_SECONDS, 1 / options.rate))


if __name__ == "__main__":
    main()
