"""One light client: always connected to where its endpoint's name points, its messages kept until acknowledged."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from lab.load import mqtt
from mqtt_fleet.outbox import Message, payload
from mqtt_fleet.reconnect import End, ReconnectPolicy
from mqtt_fleet.transport import Cause

CONNECT_TIMEOUT = 15.0
# Spreads the first attempts of clients that were disconnected together; seconds.
FIRST_JITTER = 0.1
MAX_IDENTIFIER = 65_535

Resolve = Callable[[str], Awaitable[str]]


@dataclass(frozen=True)
class Settings:
    """What all clients have in common.

    Attributes:
        port: of the endpoints.
        keep_alive: seconds.
        publish_interval: seconds between two messages of a client; 0 publishes none.
        context: TLS with the clients' certificate.
        resolve: returns an address of a name, resolved each time; raises OSError.
    """

    port: int
    keep_alive: int
    publish_interval: float
    context: ssl.SSLContext
    resolve: Resolve


@dataclass
class Totals:
    """What all clients together have done since the start, and where they are.

    Attributes:
        connected: clients by the address that they are connected to.
        connects: connections that were accepted.
        failures: connections that ended or were never established, by reason.
    """

    connected: Counter[str] = field(default_factory=Counter)
    connects: int = 0
    sent: int = 0
    acknowledged: int = 0
    failures: Counter[str] = field(default_factory=Counter)


class Client:
    """One client's life.

    Args:
        stream: names the sequence of its numbered messages.
    """

    def __init__(self, client_id: str, endpoint: str, stream: str, settings: Settings, totals: Totals) -> None:
        self._client_id = client_id
        self._endpoint = endpoint
        self._stream = stream
        self._settings = settings
        self._totals = totals
        self._policy = ReconnectPolicy()
        self._outbox: dict[int, float] = {}
        self._sequence = 0
        self._writer: asyncio.StreamWriter | None = None
        self._next_beat: asyncio.TimerHandle | None = None
        self._heard = False
        self._ready = False
        self._ready_at = 0.0

    async def run(self, delay: float) -> None:
        """Begin after some seconds; stay connected and publish until cancelled."""
        await asyncio.sleep(delay)
        self._beat()
        try:
            await self._stay_connected()
        finally:
            if self._next_beat:
                self._next_beat.cancel()

    async def _stay_connected(self) -> None:
        window = 0.0
        while True:
            began = time.monotonic()
            self._ready = False
            cause = Cause.LOST
            try:
                await self._session()
            except (OSError, asyncio.IncompleteReadError, mqtt.ProtocolError) as error:
                self._totals.failures[_reason(error)] += 1
                cause = Cause.CLOSED if isinstance(error, asyncio.IncompleteReadError) else Cause.LOST
            # A CONNECT may have been sent just now by an attempt that failed, and no later than its CONNACK by another.
            lasted = time.monotonic() - self._ready_at if self._ready else None
            passed = lasted or 0.0
            end = End(cause, lasted, 0.0 if self._ready else time.monotonic() - began)
            window = self._policy.widen(window, end)
            jitter = random.random()  # noqa: S311
            wait = self._policy.pause(window, end, passed, jitter)
            await asyncio.sleep(max(wait, jitter * FIRST_JITTER))

    async def _session(self) -> None:
        """Connect, and process packets until the connection ends with an error."""
        settings = self._settings
        writer = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                address = await settings.resolve(self._endpoint)
                reader, writer = await asyncio.open_connection(
                    address, settings.port, ssl=settings.context, server_hostname=self._endpoint
                )
                writer.write(mqtt.connect(self._client_id, settings.keep_alive))
                await self._expect_connack(reader)
            self._totals.connects += 1
            self._totals.connected[address] += 1
            try:
                await self._talk(reader, writer)
            finally:
                self._writer = None
                self._totals.connected[address] -= 1
        finally:
            if writer is not None:
                writer.transport.abort()

    @staticmethod
    async def _expect_connack(reader: asyncio.StreamReader) -> None:
        kind, content = await mqtt.read(reader)
        if kind != mqtt.CONNACK or content[1:] != b"\0":
            raise mqtt.ProtocolError(f"answer to CONNECT: type {kind}, {content.hex()}, expected CONNACK 0")

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer, self._heard, self._ready = writer, True, True
        self._ready_at = time.monotonic()
        for sequence in self._outbox:
            self._send(sequence)
        while True:
            kind, content = await mqtt.read(reader)
            self._heard = True
            if kind == mqtt.PUBACK:
                self._acknowledge(int.from_bytes(content[:2], "big"))

    def _acknowledge(self, identifier: int) -> None:
        # Messages are acknowledged in order, MQTT 3.1.1, 4.6: the oldest comes first.
        for sequence in self._outbox:
            if _identifier(sequence) == identifier:
                del self._outbox[sequence]
                self._totals.acknowledged += 1
                return

    def _beat(self) -> None:
        """Publish the next message or ping, and give up a connection that was silent since the last time."""
        settings = self._settings
        interval = settings.publish_interval or settings.keep_alive / 2
        self._next_beat = asyncio.get_running_loop().call_later(interval, self._beat)
        if self._writer and not self._heard:
            self._writer.transport.abort()
        self._heard = False
        if settings.publish_interval:
            self._sequence += 1
            self._outbox[self._sequence] = time.time()
            self._totals.sent += 1
            self._send(self._sequence)
        elif self._writer:
            self._writer.write(mqtt.PINGREQ)

    def _send(self, sequence: int) -> None:
        if self._writer:
            body = payload(self._client_id, self._stream, Message(sequence, self._outbox[sequence]))
            topic = f"fleet/{self._client_id}/messages"
            self._writer.write(mqtt.publish(topic, body, _identifier(sequence)))


def _identifier(sequence: int) -> int:
    return (sequence - 1) % MAX_IDENTIFIER + 1


def _reason(error: BaseException) -> str:
    return "connection closed" if isinstance(error, asyncio.IncompleteReadError) else str(error) or type(error).__name__
