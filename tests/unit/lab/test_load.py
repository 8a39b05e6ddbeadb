"""The load's clients: what they speak, and that they lose nothing and go where the name points."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

import pytest

from lab import topology
from lab.errors import LabError
from lab.load import configuration, control, mqtt
from lab.load.client import Client, Settings, Totals
from mqtt_fleet.reconnect import CONNECT_SPACING
from tests.self_signed import server_pair

ENDPOINT = "mqtt1.example.com"


def test_connect_is_as_the_standard_writes_it() -> None:
    # MQTT 3.1.1, 3.1: protocol name and level 4, clean session, keep-alive, client ID.
    assert mqtt.connect("ü", 30) == b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x1e\x00\x02\xc3\xbc"


@pytest.mark.parametrize("size", [0, 100, 127, 128, 16_383, 16_384])
def test_packets_are_read_as_they_are_written(size: int) -> None:
    async def read() -> tuple[int, bytes]:
        stream = asyncio.StreamReader()
        stream.feed_data(mqtt.publish("t", b"x" * size, 258))
        return await mqtt.read(stream)

    assert asyncio.run(read()) == (mqtt.PUBLISH, b"\x00\x01t\x01\x02" + b"x" * size)


@pytest.mark.parametrize("data", [b"\x30\xff\xff\xff\x7f", b"\x30\xff\xff\xff\xff"])
def test_a_length_that_nobody_sends_is_refused(data: bytes) -> None:
    async def read() -> None:
        stream = asyncio.StreamReader()
        stream.feed_data(data)
        await mqtt.read(stream)

    with pytest.raises(mqtt.ProtocolError, match="expected 65536 at most"):
        asyncio.run(read())


class Region:
    """A broker as far as a light client sees one: answers CONNECT, acknowledges when told to."""

    def __init__(self, acknowledges: bool) -> None:
        self.acknowledges = acknowledges
        self.packets: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self.writers: list[asyncio.StreamWriter] = []
        # When each CONNECT came, by the monotonic clock.
        self.connects: list[float] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                kind, content = await mqtt.read(reader)
                if kind == 1:
                    self.connects.append(time.monotonic())
                    writer.write(b"\x20\x02\x00\x00")
                if kind == mqtt.PUBLISH and self.acknowledges:
                    writer.write(b"\x40\x02" + _after_topic(content)[:2])
                self.packets.put_nowait((kind, content))

    async def next(self, kind: int) -> bytes:
        """Return the content of the next packet of a type."""
        async with asyncio.timeout(20):
            while True:
                found, content = await self.packets.get()
                if found == kind:
                    return content

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


def _after_topic(content: bytes) -> bytes:
    return content[2 + int.from_bytes(content[:2], "big") :]


def _sequence(content: bytes) -> int:
    return int(json.loads(_after_topic(content)[2:])["sequence"])


@contextlib.asynccontextmanager
async def _running(region: Region, address: str, context: ssl.SSLContext, port: int = 0) -> AsyncIterator[int]:
    server = await asyncio.start_server(region.serve, address, port, ssl=context)
    async with server:
        yield int(server.sockets[0].getsockname()[1])
        region.cut()


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS of the regions, whose certificate is for the endpoint's name, and of the client."""
    certificate, key = tmp_path / "server.crt", tmp_path / "server.key"
    for path, content in zip((certificate, key), server_pair(ENDPOINT), strict=True):
        path.write_bytes(content)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=str(certificate))


def test_a_client_that_is_cut_off_goes_where_the_name_points_and_sends_again(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    server, client = contexts
    totals, addresses = Totals(), ["127.0.0.1"]

    async def resolve(_: str) -> str:
        return addresses[-1]

    async def scenario() -> None:
        old, new = Region(acknowledges=False), Region(acknowledges=True)
        async with _running(old, "127.0.0.1", server) as port, _running(new, "127.0.0.2", server, port):
            settings = Settings(port, 30, 0.05, client, resolve)
            task = asyncio.create_task(Client("load-0001", ENDPOINT, "s", settings, totals).run(0))
            assert _sequence(await old.next(mqtt.PUBLISH)) == 1
            addresses.append("127.0.0.2")
            old.cut()
            assert b"load-0001" in await new.next(1)
            assert [_sequence(await new.next(mqtt.PUBLISH)) for _ in range(2)] == [1, 2]
            while not totals.acknowledged:
                await new.next(mqtt.PUBLISH)
            assert {address: number for address, number in totals.connected.items() if number} == {"127.0.0.2": 1}
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())
    assert totals.connects == 2
    assert not any(totals.connected.values())


def test_a_connection_that_says_nothing_is_given_up(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server, client = contexts

    async def resolve(_: str) -> str:
        return "127.0.0.1"

    async def scenario() -> None:
        silent = Region(acknowledges=False)
        async with _running(silent, "127.0.0.1", server) as port:
            settings = Settings(port, 30, 0.05, client, resolve)
            task = asyncio.create_task(Client("load-0001", ENDPOINT, "s", settings, Totals()).run(0))
            for _ in range(2):
                await silent.next(1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())


def test_without_messages_a_client_pings(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server, client = contexts

    async def resolve(_: str) -> str:
        return "127.0.0.1"

    async def scenario() -> None:
        region = Region(acknowledges=False)
        async with _running(region, "127.0.0.1", server) as port:
            settings = Settings(port, 1, 0, client, resolve)
            task = asyncio.create_task(Client("load-0001", ENDPOINT, "s", settings, Totals()).run(0))
            await region.next(12)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())


def test_a_client_connects_once_a_second_also_where_its_connections_take_long(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    server, client = contexts
    slow = iter((0.7,))

    async def resolve(_: str) -> str:
        await asyncio.sleep(next(slow, 0))
        return "127.0.0.1"

    async def scenario() -> list[float]:
        region = Region(acknowledges=False)
        async with _running(region, "127.0.0.1", server) as port:
            settings = Settings(port, 30, 0.05, client, resolve)
            task = asyncio.create_task(Client("load-0001", ENDPOINT, "s", settings, Totals()).run(0))
            await region.next(mqtt.PUBLISH)
            region.cut()
            await region.next(1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return region.connects

    first, second = asyncio.run(scenario())
    assert second - first >= CONNECT_SPACING


@pytest.mark.parametrize(("clients", "interval"), [(0, 10.0), (8_501, 10.0), (10, -1.0)])
def test_a_load_that_cannot_be_is_refused_in_one_line(clients: int, interval: float) -> None:
    with pytest.raises(LabError, match=r"^(clients|publish interval): found .*, expected .*: name such a number$"):
        configuration.make(clients, interval)


def test_a_configuration_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path))
    made = configuration.make(7, 0.0)
    configuration.write(made)
    read = configuration.read(tmp_path / "load" / "load.json")
    assert (read.clients, read.certificate) == (7, str(tmp_path / "load" / "load.crt"))
    (tmp_path / "load" / "load.json").write_text("{}")
    with pytest.raises(LabError, match="start the load again"):
        configuration.read(tmp_path / "load" / "load.json")


def test_the_load_is_told_in_one_line_with_its_regions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path))
    said: list[str] = []
    assert control.show(said.append) == 1
    assert said == ["load: does not run"]
    region = topology.REGIONS[1]
    told = configuration.Status(1.0, 5, {str(region.address): 5}, 6, 9, 7, {"connection closed": 1})
    (tmp_path / "load").mkdir()
    (tmp_path / "load" / "status.json").write_text(json.dumps(asdict(told)))
    assert control.show(said.append) == 0
    assert said[1:] == [
        f"load: 5 clients, connected: 5 in {region.name}; 6 connects; 9 messages sent, 2 not acknowledged yet; "
        "ended: 1 connection closed"
    ]
