"""CPU and speed of the requests that a move makes per client, on one core, beside what signing and HTTP alone take.

All ways are measured by turns in one process that is kept on one core; a server that answers as cheaply as possible
runs in another, on the other cores. Quotas are out of the way.

Run by `make bench-engine`. Writes the section "engine" of docs/benchmarks.json.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import tests.conftest  # noqa: F401 - makes the engine importable under Ansible's name

from . import page, results, tables

OLD, NEW = "us-east-1", "ap-northeast-1"
ENDPOINT = "mqtt.example.com"
THREADS = 16
# No quota at all: clients are told and looked for as fast as one core can.
UNLIMITED = 1e9
FLOOR = "signing + http.client"
FLAGS = {"cleanSession": False, "preventWillMessage": True}


class Server(asyncio.Protocol):
    """Knows every client: connected in NEW, gone from OLD."""

    def __init__(self) -> None:
        self._unread = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self._unread = (self._unread + data).split(b"\r\n\r\n")
        for request in requests:
            body = b""
            if request.startswith(b"GET"):
                there = f"/{NEW}/iotdata/".encode() in request
                body = b'{"connected": true, "connectedSince": 1700000000000}' if there else b'{"connected": false}'
            self._transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
                b"date: Thu, 01 Jan 2026 00:00:00 GMT\r\nx-amzn-RequestId: 01234567-89ab-cdef\r\n\r\n%s"
                % (len(body), body)
            )


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


@contextmanager
def _server() -> Iterator[int]:
    """A server in a process of its own; yields its port. This process is left one core, the server has the others."""
    cores = sorted(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "tests.bench.engine", "--serve"]
    with subprocess.Popen(command, cwd=results.REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        try:
            os.sched_setaffinity(process.pid, cores[1:] or cores)
            os.sched_setaffinity(0, cores[:1])
            assert process.stdout
            yield int(process.stdout.readline())
        finally:
            process.terminate()
            os.sched_setaffinity(0, cores)


@dataclass(frozen=True)
class Taken:
    """What one way took for one call: CPU seconds of this process, and seconds."""

    cpu: float
    seconds: float


def _measure(work: Callable[[], int]) -> Taken:
    """`work` returns how many calls it made."""
    cpu, began = time.process_time(), time.perf_counter()
    calls = work()
    return Taken((time.process_time() - cpu) / calls, (time.perf_counter() - began) / calls)


class Ways:
    """The ways to make `calls` calls."""

    def __init__(self, port: int, calls: int) -> None:
        from ansible.module_utils.region_switch.aws.clients import DATA_CONNECTIONS, AwsClient, DataClient

        self._port = port
        self._calls = calls
        self._boto3 = AwsClient("iot-data", OLD, attempts=1, connections=DATA_CONNECTIONS)._client
        self._data = {region: DataClient(region) for region in (OLD, NEW)}

    def all(self) -> dict[str, Callable[[], int]]:
        return {
            "boto3, one call after another": self.boto3,
            f"boto3, {THREADS} threads": self.boto3_threads,
            FLOOR: self.floor,
            "data plane, one call after another": self.data_plane,
            "engine, a whole sweep": self.engine,
        }

    def boto3(self) -> int:
        for number in range(self._calls):
            self._boto3.delete_connection(clientId=f"device-{number:07}", **FLAGS)
        return self._calls

    def boto3_threads(self) -> int:
        with ThreadPoolExecutor(THREADS) as pool:
            names = (f"device-{number:07}" for number in range(self._calls))
            return sum(1 for _ in pool.map(lambda name: self._boto3.delete_connection(clientId=name, **FLAGS), names))

    def floor(self) -> int:
        """The SDK's signer and the standard library's HTTP, with nothing around them."""
        import boto3
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        credentials = boto3.session.Session().get_credentials().get_frozen_credentials()
        signer = SigV4Auth(credentials, "iotdata", OLD)
        connection = HTTPConnection("127.0.0.1", self._port)
        for number in range(self._calls):
            path = f"/connections/device-{number:07}?cleanSession=false&preventWillMessage=true"
            request = AWSRequest("DELETE", f"http://127.0.0.1:{self._port}{path}")
            signer.add_auth(request)
            connection.request("DELETE", path, headers=dict(request.headers.items()))
            connection.getresponse().read()
        connection.close()
        return self._calls

    def data_plane(self) -> int:
        for number in range(self._calls):
            self._data[OLD].call("DeleteConnection", clientId=f"device-{number:07}", **FLAGS)
        return self._calls

    def engine(self) -> int:
        """Roster, pace, threads and journal as in a move: three calls per client."""
        from ansible.module_utils.region_switch.fleet.roster import Roster
        from ansible.module_utils.region_switch.fleet.source import Connection
        from ansible.module_utils.region_switch.move.disconnect import Disconnector
        from ansible.module_utils.region_switch.move.landing import Looker
        from ansible.module_utils.region_switch.move.sweep import Guard, Limits, Sweep
        from ansible.module_utils.region_switch.move.way import Way
        from ansible.module_utils.region_switch.record.journal import Journal

        size = self._calls // 3
        clients = (Connection(f"device-{number:07}", ENDPOINT, OLD, 0) for number in range(size))
        rates = {OLD: UNLIMITED, NEW: UNLIMITED}
        sweeper, looker = Disconnector(self._data, rates, rates), Looker(self._data, rates)
        with (
            tempfile.TemporaryDirectory() as folder,
            Roster(Path(folder) / "clients.sqlite") as roster,
            Journal(Path(folder) / "journal.jsonl") as journal,
        ):
            roster.add(clients, {ENDPOINT: NEW})
            sweep = Sweep(roster, Way(sweeper, looker, 0), journal, Limits(0, size, 60, 0), Guard())
            sweep.run([size])
        assert sweep.landed == sweeper.calls == size
        return 3 * size


def _figures(rounds: list[dict[str, Taken]]) -> dict[str, dict[str, float]]:
    """Medians over the rounds; ratios are taken within a round."""
    figures = {}
    for way in rounds[0]:
        cpu = statistics.median(each[way].cpu for each in rounds)
        figures[way] = {
            "cpu_us": round(1e6 * cpu, 1),
            "calls_per_cpu_second": round(1 / cpu),
            "calls_per_second": round(1 / statistics.median(each[way].seconds for each in rounds)),
            "cpu_to_floor": round(statistics.median(each[way].cpu / each[FLOOR].cpu for each in rounds), 2),
        }
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(_serve())
        return 0
    with _server() as port:
        os.environ |= {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "simulated",
            "AWS_SECRET_ACCESS_KEY": "simulated",
        }
        ways = Ways(port, given.calls).all()
        for work in ways.values():
            work()
        rounds = [{way: _measure(work) for way, work in ways.items()} for _ in range(given.rounds)]
    figures = _figures(rounds)
    results.write("engine", {"calls": given.calls, "rounds": given.rounds, "ways": figures})
    sys.stdout.write(tables.engine(results.read()) + "\n")
    page.show_written()
    return 0


if __name__ == "__main__":
    sys.exit(main())
