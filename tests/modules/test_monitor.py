"""The monitor beside real brokers on loopback: both topics, what is no message, one that restarts or is off."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from mqtt_fleet.config import ConfigError
from mqtt_monitor.config import load
from region_switch.record import ledger
from tests.modules.mqtt_server import Authority, Pair

pytestmark = pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed")

CLIENTS = Path(__file__).parent.parent.parent / "clients"
OLD, NEW = "us-east-1", "ap-northeast-1"
TIMEOUT = 30.0


def eventually(seen: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not seen():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class Broker:
    """One region: TLS for the monitor, plain for devices."""

    def __init__(self, folder: Path, authority: Authority, pair: Pair) -> None:
        folder.mkdir()
        self.port, self.plain_port = _free_ports()
        lines = ["user root", "allow_anonymous true", "max_queued_messages 0"]
        lines += [f"listener {self.port} 127.0.0.1", f"cafile {authority.file}", f"certfile {pair.certificate}"]
        lines += [f"keyfile {pair.key}", "require_certificate true"]
        lines += [f"listener {self.plain_port} 127.0.0.1", "max_inflight_messages 100"]
        self._configuration = folder / "mosquitto.conf"
        self._configuration.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(["mosquitto", "-c", str(self._configuration)], stderr=subprocess.DEVNULL)
        eventually(self._answers, "the broker listens")

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.plain_port), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(TIMEOUT)
            self._process = None

    def publish(self, *messages: tuple[str, bytes], retain: bool = False) -> None:
        """Publish `(topic, payload)` as a device does, and wait for each to be acknowledged."""
        client = Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", self.plain_port)
        client.loop_start()
        # A broker sends again what a session had not acknowledged when it was taken over: not so of QoS 0.
        qos = 0 if retain else 1
        for published in [client.publish(topic, body, qos=qos, retain=retain) for topic, body in messages]:
            published.wait_for_publish(TIMEOUT)
        client.disconnect()
        client.loop_stop()

    def take_over(self, client_id: str) -> None:
        """Connect under a client ID, which ends its connection, and leave again; its session stays."""
        client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 300
        taken = threading.Event()
        client.on_connect = lambda *_: taken.set()
        client.connect("127.0.0.1", self.plain_port, clean_start=False, properties=properties)
        client.loop_start()
        assert taken.wait(TIMEOUT)
        client.disconnect()
        client.loop_stop()


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return int(first.getsockname()[1]), int(second.getsockname()[1])


def body(sequence: int, **more: Any) -> bytes:
    return json.dumps({"client_id": "client_01", "stream": "a", "sequence": sequence, "sent_at": 1.0, **more}).encode()


class World:
    """Two brokers and a monitor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        authority = Authority(folder)
        pair = authority.issue("localhost")
        self.brokers = {region: Broker(folder / region, authority, pair) for region in (OLD, NEW)}
        regions = {name: {"host": "localhost", "port": broker.port} for name, broker in self.brokers.items()}
        files = {"certificate": pair.certificate, "private_key": pair.key, "ca": authority.file}
        self.configuration: dict[str, Any] = {
            **{key: str(path) for key, path in files.items()},
            "ledger": str(folder / "ledger"),
            "client_id": "fleet-monitor",
            "regions": regions,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start_monitor(self) -> None:
        path = self.folder / "monitor.json"
        path.write_text(json.dumps(self.configuration))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mqtt_monitor.monitor", "--config", str(path)],
                env={**os.environ, "PYTHONPATH": str(CLIENTS)},
                stdout=log,
                stderr=log,
            )

    @property
    def monitor_pid(self) -> int:
        assert self._process
        return self._process.pid

    def stop_monitor(self, number: int = signal.SIGTERM) -> int:
        assert self._process
        self._process.send_signal(number)
        return self._process.wait(TIMEOUT)

    def subscribed(self, *regions: str) -> None:
        query = "SELECT region FROM subscription WHERE since IS NOT NULL"
        eventually(lambda: {name for (name,) in self.rows(query)} == set(regions), f"subscribed in {regions}")

    def arrived(self, *expected: tuple[int, str]) -> None:
        """Wait until exactly these sequence numbers have arrived, each in its region."""
        query = "SELECT sequence, region FROM message ORDER BY rowid"
        deadline = time.monotonic() + TIMEOUT
        while (found := self.rows(query)) != list(expected):
            assert time.monotonic() < deadline, found
            time.sleep(0.02)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        try:
            with closing(sqlite3.connect(f"file:{self.folder / 'ledger'}?mode=ro", uri=True)) as database:
                return database.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []

    def said(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]

    def close(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait(TIMEOUT)
        for broker in self.brokers.values():
            broker.stop()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    try:
        yield world
    finally:
        world.close()


def test_both_topics_once_each_and_what_is_no_message(world: World) -> None:
    for broker in world.brokers.values():
        broker.start()
    world.start_monitor()
    world.subscribed(OLD, NEW)
    world.brokers[OLD].publish(
        ("fleet/client_01/messages", body(1)),
        ("fleet/client_01/messages/temperature", body(2, data="21.5")),
        ("fleet/client_01/messages", b"no message"),
        ("fleet/client_01/messages", body(0)),
        ("fleet/client_01/messages", body(2**63)),
        ("fleet/client_01/messages", b"\xff" * 1000),
        ("fleet/client_01/messages/", b'{"client_id": "\\ud800", "stream": "a", "sequence": 1, "sent_at": 1}'),
        # No filter's: further down, or somebody else's.
        ("fleet/client_01/messages/a/b", body(8)),
        ("fleet/client_01/commands", body(9)),
        ("fleet/client_01/messages/pressure", body(6, dropped=[[3, 5]])),
    )
    world.brokers[NEW].publish(("fleet/client_01/messages", body(7)))

    eventually(lambda: len(world.rows("SELECT 1 FROM message")) == 4, "four messages")
    assert sorted(world.rows("SELECT sequence, region FROM message")) == [(1, OLD), (2, OLD), (6, OLD), (7, NEW)]
    assert world.rows("SELECT client_id, stream, first, last FROM dropped") == [("client_01", "a", 3, 5)]
    assert world.stop_monitor() == 0
    told = [(line["event"], line["messages"]) for line in world.said() if "messages" in line]
    assert sum(messages for event, messages in told if event == "message_ignored") == 4
    assert sum(messages for event, messages in told if event == "message_forged") == 1
    assert world.rows("SELECT DISTINCT since FROM subscription") == [(None,)]


def test_device_that_forges_what_others_sent(world: World) -> None:
    for broker in world.brokers.values():
        broker.start()
    world.start_monitor()
    world.subscribed(OLD, NEW)
    began = time.time()
    forger = "fleet/client_02/messages"
    ranges = [[number, number] for number in range(1, 10_000, 2)]
    world.brokers[OLD].publish(
        ("fleet/client_01/messages", body(1)),
        # In the name of another, as an impossible number, in as many streams as messages, and as long as AWS takes it.
        (forger, body(10**15)),
        (forger, body(2, client_id="client_02", dropped=ranges)),
        (forger, body(2, client_id="client_02", stream="s" * 100_000)),
        *((forger, body(10**14 * number, client_id="client_02", stream=f"s{number}")) for number in range(1, 41)),
        (forger, body(1, client_id="client_02", stream="s1")),
        ("fleet/client_01/messages", body(2)),
    )

    eventually(lambda: len(world.rows("SELECT 1 FROM message")) == 43, "what client_01 sent, and 41 of client_02")
    tally = ledger.Tally(world.folder / "ledger", began)
    assert tally.update()
    counts = tally.messages()
    assert (counts["lost"], counts["duplicated"]) == (0, 0)
    assert tally.by_stream()["client_01", "a"] == (2, 2, 0, 0, 0, 0, 0)
    assert set(tally.implausible()) == {"client_02"}
    assert world.stop_monitor() == 0
    assert world.rows("SELECT count(*), max(length(stream)) FROM message WHERE client_id = 'client_02'") == [(41, 3)]
    told = {line["event"]: line for line in world.said() if "messages" in line}
    assert told["message_forged"]["topic"] == forger
    assert told["message_ignored"]["messages"] == 1
    assert sum((world.folder / name).stat().st_size for name in ("ledger", "log")) < 100_000


def test_message_that_a_broker_retains_is_not_counted_again(world: World) -> None:
    for broker in world.brokers.values():
        broker.start()
    world.brokers[OLD].publish(("fleet/client_01/messages", body(1)), retain=True)
    world.start_monitor()
    world.subscribed(OLD, NEW)
    world.brokers[OLD].publish(("fleet/client_01/messages", body(2)), retain=True)
    world.arrived((2, OLD))
    # The monitor subscribes anew.
    world.brokers[OLD].take_over("fleet-monitor")
    eventually(lambda: sum(line["event"] == "connected" for line in world.said()) == 3, "the monitor is back")
    world.brokers[OLD].publish(("fleet/client_01/messages/temperature", body(3)))

    world.arrived((2, OLD), (3, OLD))
    assert world.stop_monitor() == 0
    assert sum(line["messages"] for line in world.said() if line["event"] == "message_retained") == 2


def test_broker_that_restarts(world: World) -> None:
    for broker in world.brokers.values():
        broker.start()
    world.start_monitor()
    world.subscribed(OLD, NEW)
    world.brokers[OLD].publish(("fleet/client_01/messages", body(1)))
    world.arrived((1, OLD))
    world.brokers[OLD].stop()
    world.subscribed(NEW)
    world.brokers[NEW].publish(("fleet/client_01/messages", body(2)))
    world.arrived((1, OLD), (2, NEW))
    world.brokers[OLD].start()
    world.subscribed(OLD, NEW)
    world.brokers[OLD].publish(("fleet/client_01/messages/late", body(3)))

    world.arrived((1, OLD), (2, NEW), (3, OLD))


def test_connection_that_is_lost_leaves_the_session(world: World) -> None:
    for broker in world.brokers.values():
        broker.start()
    world.start_monitor()
    world.subscribed(OLD, NEW)
    world.brokers[OLD].take_over("fleet-monitor")
    # The monitor comes back after a second: until then, its session is what keeps these.
    world.brokers[OLD].publish(*((f"fleet/client_01/messages/{topic}", body(1 + topic)) for topic in range(5)))

    world.arrived(*((number, OLD) for number in range(1, 6)))
    events = [(line["event"], line.get("session_present")) for line in world.said() if line.get("region") == OLD]
    assert events == [("connected", False), ("disconnected", None), ("connected", True)]


def test_region_that_is_off_from_the_beginning(world: World) -> None:
    world.brokers[OLD].start()
    world.start_monitor()
    world.subscribed(OLD)
    world.brokers[OLD].publish(("fleet/client_01/messages", body(1)))
    world.arrived((1, OLD))
    world.brokers[NEW].start()
    world.subscribed(OLD, NEW)
    world.brokers[NEW].publish(("fleet/client_01/messages", body(2)))

    world.arrived((1, OLD), (2, NEW))


def test_burst_beyond_what_may_be_in_flight(world: World) -> None:
    for broker in world.brokers.values():
        broker.start()
    world.configuration["retention_hours"] = 1
    world.start_monitor()
    world.subscribed(OLD, NEW)
    world.brokers[OLD].publish(*(("fleet/client_01/messages", body(number)) for number in range(1, 801)))

    world.arrived(*((number, OLD) for number in range(1, 801)))


@pytest.mark.parametrize("hours", [0, -1, True, "24", 9000])
def test_retention_that_is_none(world: World, hours: object) -> None:
    world.configuration["retention_hours"] = hours
    (path := world.folder / "monitor.json").write_text(json.dumps(world.configuration))

    with pytest.raises(ConfigError, match=r"^retention_hours: found "):
        load(path)


def test_connections_share_the_messages(world: World) -> None:
    for broker in world.brokers.values():
        broker.start()
    world.configuration["connections"] = 3
    world.start_monitor()
    world.subscribed(OLD, NEW)
    topics = ["messages", "messages/temperature"]
    world.brokers[OLD].publish(*((f"fleet/client_01/{topics[number % 2]}", body(number)) for number in range(1, 101)))
    eventually(lambda: len(world.rows("SELECT 1 FROM message")) >= 100, "a hundred messages")

    assert sorted(world.rows("SELECT sequence FROM message")) == [(number,) for number in range(1, 101)]
    # One of three that is gone: the region is not taken for watched until it is back.
    world.brokers[OLD].take_over("fleet-monitor-2")
    world.subscribed(NEW)
    world.subscribed(OLD, NEW)


@pytest.mark.parametrize("connections", [0, 51, True, "2", 1.5])
def test_number_of_connections_that_is_none(world: World, connections: object) -> None:
    world.configuration["connections"] = connections
    (path := world.folder / "monitor.json").write_text(json.dumps(world.configuration))

    with pytest.raises(ConfigError, match=r"^connections: found "):
        load(path)
