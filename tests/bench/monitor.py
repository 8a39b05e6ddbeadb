"""How many messages a second the monitor writes into its ledger, beside two brokers of this machine over TLS.

Publishes MESSAGES of 10,000 clients to each broker as fast as it takes them, and waits until all are in the ledger.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.modules.test_monitor import NEW, OLD, World

CLIENTS = 10_000
CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01x"


def publish(port: int, messages: int) -> None:
    """Publish at QoS 1; what the broker answers is read and not looked at."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(CONNECT)
        connection.recv(4)
        answers = threading.Thread(target=_read, args=(connection, 4 * messages))
        answers.start()
        batch = bytearray()
        for number in range(messages):
            batch += _packet(number)
            if len(batch) > 65536:
                connection.sendall(batch)
                batch.clear()
        connection.sendall(batch)
        answers.join()


def _read(connection: socket.socket, left: int) -> None:
    while left > 0 and (found := connection.recv(65536)):
        left -= len(found)


def _packet(number: int) -> bytes:
    client_id = f"client_{number % CLIENTS:05}"
    body = {"client_id": client_id, "stream": "ab12cd34", "sequence": number // CLIENTS + 1, "sent_at": time.time()}
    topic = f"fleet/{client_id}/messages".encode()
    rest = struct.pack("!H", len(topic)) + topic + struct.pack("!H", number % 65535 + 1) + json.dumps(body).encode()
    length = bytes([len(rest) & 127 | 128, len(rest) >> 7]) if len(rest) > 127 else bytes([len(rest)])
    return b"\x32" + length + rest


def cpu_seconds(pid: int) -> float:
    """What a process has used of a core until now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.monitor", description=__doc__)
    parser.add_argument("--messages", type=int, default=50_000)
    messages = parser.parse_args().messages
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder) / "world")
        try:
            for broker in world.brokers.values():
                broker.start()
            world.start_monitor()
            world.subscribed(OLD, NEW)
            publishers = [
                multiprocessing.Process(target=publish, args=(broker.plain_port, messages))
                for broker in world.brokers.values()
            ]
            for publisher in publishers:
                publisher.start()
            while world.rows("SELECT count(*) FROM message")[0][0] < 2 * messages:
                time.sleep(0.1)
            cpu = cpu_seconds(world.monitor_pid)
            (seconds,) = world.rows("SELECT max(arrived_at) - min(arrived_at) FROM message")[0]
        finally:
            world.close()
    sys.stdout.write(
        f"{2 * messages} messages in {seconds:.1f} s: {2 * messages / seconds:.0f} a second here; "
        f"{2 * messages / cpu:.0f} a second of one core's time\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
