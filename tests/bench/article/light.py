"""The article's clients by the thousand, in one process: the same waits and lookups, and as much MQTT as they need.

Odd ones behave as the article's client with the AWS IoT Device SDK: whatever was not acknowledged is gone with the
process. Even ones behave as its client with paho-mqtt: that is kept, and the automatic reconnect waits another second.
A new process's start is left out. Nothing is spread by chance, as the article's clients are not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import ssl
import time
import uuid
from asyncio.sslproto import SSLProtocol
from dataclasses import dataclass

import dns.asyncresolver
import dns.exception

from lab import topology
from lab.load import configuration, mqtt

PROPAGATION_WAIT = 5.0
LOOKUPS = 3
LOOKUP_INTERVAL = 1.0
# paho-mqtt's automatic reconnect: reconnect_delay_set(min_delay=1, max_delay=120).
PAHO_DELAY = (1.0, 120.0)
CONNECT_TIMEOUT = 15.0
CONNECT_RATE = 100.0
KEEP_ALIVE = 30


@dataclass(frozen=True)
class Shared:
    """What all clients have in common."""

    context: ssl.SSLContext
    resolver: dns.asyncresolver.Resolver
    interval: float


class LightClient:
    """One client; `restarts` is whether it does what the SDK's does."""

    def __init__(self, number: int, shared: Shared) -> None:
        self.client_id = configuration.client_id(number)
        self.endpoint = configuration.endpoint(number)
        self.restarts = number % 2 == 1
        self._shared = shared
        self._stream = uuid.uuid4().hex[:16]
        self._sequence = 0
        self._waiting: dict[int, bytes] = {}
        self._writer: asyncio.StreamWriter | None = None

    async def run(self, delay: float) -> None:
        await asyncio.sleep(delay)
        publishing = asyncio.create_task(self._publish())
        try:
            failures = 0
            while True:
                connected = await self._connect_and_read()
                failures = 0 if connected else failures + 1
                if connected:
                    await self._wait_and_look_up()
                await asyncio.sleep(self._reconnect_delay(failures))
        finally:
            publishing.cancel()

    async def _wait_and_look_up(self) -> None:
        """What the article's callback does when the connection is gone."""
        await asyncio.sleep(PROPAGATION_WAIT)
        for _ in range(LOOKUPS):
            with contextlib.suppress(OSError):
                await self._look_up()
            await asyncio.sleep(LOOKUP_INTERVAL)
        if self.restarts:
            self._waiting.clear()

    def _reconnect_delay(self, failures: int) -> float:
        if self.restarts:
            # A process that cannot connect ends, and is started again by whoever watches it.
            return 1.0 if failures else 0.0
        shortest, longest = PAHO_DELAY
        return min(longest, shortest * 2**failures)

    async def _look_up(self) -> str:
        try:
            answer = await self._shared.resolver.resolve(self.endpoint, "A", lifetime=5.0)
        except dns.exception.DNSException as error:
            raise OSError(f"{self.endpoint}: {error}") from error
        return str(answer[0].address)

    async def _connect_and_read(self) -> bool:
        """Stay connected as long as it lasts; say whether it came to be."""
        connected, writer = False, None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                address = await self._look_up()
                reader, writer = await asyncio.open_connection(
                    address, topology.MQTT_PORT, ssl=self._shared.context, server_hostname=self.endpoint
                )
                writer.write(mqtt.connect(self.client_id, KEEP_ALIVE))
                kind, content = await mqtt.read(reader)
            connected = kind == mqtt.CONNACK and content[1] == 0
            if connected:
                await self._talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError, mqtt.ProtocolError):
            pass
        finally:
            self._writer = None
            if writer is not None:
                writer.transport.abort()
        return connected

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        for sequence in self._waiting:
            self._send(sequence)
        while True:
            kind, content = await mqtt.read(reader)
            if kind == mqtt.PUBACK:
                self._waiting.pop(int.from_bytes(content[:2], "big"), None)

    async def _publish(self) -> None:
        while True:
            self._sequence += 1
            body = {"client_id": self.client_id, "stream": self._stream, "sequence": self._sequence}
            self._waiting[self._sequence] = json.dumps({**body, "sent_at": time.time()}).encode()
            self._send(self._sequence)
            await asyncio.sleep(self._shared.interval)

    def _send(self, sequence: int) -> None:
        if self._writer:
            # The bench ends long before a number is too large for a packet identifier.
            self._writer.write(mqtt.publish(f"fleet/{self.client_id}/messages", self._waiting[sequence], sequence))


async def _run(clients: int, interval: float) -> None:
    SSLProtocol.max_size = 4096
    config = configuration.make(clients, interval)
    context = ssl.create_default_context(cafile=config.ca)
    context.load_cert_chain(config.certificate, config.private_key)
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = [config.resolver]
    shared = Shared(context, resolver, interval)
    await asyncio.gather(*(LightClient(number, shared).run(number / CONNECT_RATE) for number in range(1, clients + 1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--interval", type=float, required=True, help="seconds between two messages of a client")
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_run(given.clients, given.interval))


if __name__ == "__main__":
    main()
