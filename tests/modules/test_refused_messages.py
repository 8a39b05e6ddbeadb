"""Both libraries and messages that a broker never takes: what is behind them arrives, and they are kept."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from .chosen_broker import Answer, Disconnect, Puback, Seen, chosen_broker
from .client_world import BROKERS, CLIENTS, TIMEOUT, World, eventually

pytestmark = [
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="a hosts file of its own needs root"),
]
LIBRARIES = ["awsiotsdk", "paho"]
REGION = "us-east-1"
# Reconnecting is bounded by what AWS allows, a CONNECT a second, and finding a culprit takes half a dozen of them.
WITHIN = 60.0
QUIET = {"heartbeat_interval": 0, "socket": "s", "endpoint_watch": "off", "reconnect_delay_cap": 1}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    for name in ("server", "client"):
        world.authority.issue(name)
    world.point(REGION)
    try:
        yield world
    finally:
        world.stop()


def hand(world: World, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    """Hand messages to the client's socket; return its answers."""
    eventually((world.folder / "s").exists, "the client's socket")
    with closing(socket.socket(socket.AF_UNIX)) as connection, connection.makefile("rb") as answers:
        connection.settimeout(TIMEOUT)
        connection.connect(str(world.folder / "s"))
        connection.sendall(b"".join(json.dumps(request).encode() + b"\n" for request in requests))
        return [json.loads(answers.readline()) for _ in requests]


def dead_letters(world: World, *arguments: str) -> str:
    """What the command says, beside the running client."""
    command = [sys.executable, "-m", "mqtt_fleet.dead_letters", "--config", str(world.folder / "client.json")]
    environment = {**os.environ, "PYTHONPATH": str(CLIENTS)}
    ended = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, timeout=TIMEOUT)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def dropped(world: World) -> int:
    """Messages that the client's metrics say were set aside."""
    with suppress(FileNotFoundError):
        for line in (world.folder / "metrics").read_text().splitlines():
            if line.startswith("mqtt_fleet_client_dropped_total") and 'reason="refused"' in line:
                return int(line.rsplit(" ", 1)[1])
    return 0


class Others:
    """A program that hands over a good message every fifth of a second until it is stopped."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.stored: list[int] = []

    def __enter__(self) -> Others:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(0.2):
            self.stored += [answer["sequence"] for answer in hand(self._world, {"data": "good"})]


def play(world: World, library: str, answer: Callable[[dict[str, Any]], Answer], bad: dict[str, Any]) -> Seen:
    """Hand over a bad message among good ones; return when it was set aside and all others have arrived."""
    with chosen_broker(world.folder, world.port, answer) as seen:
        process = world.client(library, **QUIET, metrics_file="metrics")
        hand(world, {"data": "good"}, {"data": "good"}, bad, *[{"data": "good"}] * 30)
        with Others(world) as others:
            eventually(lambda: set(range(1, 34)) - {3} <= set(seen.accepted), "those behind it", WITHIN)
            eventually(lambda: dropped(world) == 1, "the bad one set aside", WITHIN)
        eventually(lambda: set(others.stored) <= set(seen.accepted), "all others")
        # The consumer is told.
        eventually(lambda: any([3, 3] in message.get("dropped", []) for message in seen.messages), "a told number")
        assert process.poll() is None
    return seen


@pytest.mark.parametrize("code", [0x87, 0x90, 0x99])
def test_message_with_a_permanent_reason_code_is_set_aside_on_the_same_connection(world: World, code: int) -> None:
    seen = play(world, "awsiotsdk", lambda body: Puback(code if body["data"] == "bad" else 0), {"data": "bad"})
    assert seen.connects == 1
    assert f"(0x{code:02X})" in dead_letters(world, "list")
    assert seen.accepted == sorted(seen.accepted)


@pytest.mark.parametrize("code", [0x80, 0x95])
def test_message_with_another_reason_code_is_set_aside_after_several_refusals(world: World, code: int) -> None:
    """0x95 is none that MQTT 5 has for a PUBACK, and the SDK does not tell it."""
    seen = play(world, "awsiotsdk", lambda body: Puback(code if body["data"] == "bad" else 0), {"data": "bad"})
    assert seen.connects == 1
    assert sum(body["data"] == "bad" for body in seen.messages) == 5
    assert "(0x80)" in dead_letters(world, "list")


@pytest.mark.parametrize(
    ("library", "code"),
    [("paho", None), ("awsiotsdk", None), ("awsiotsdk", 0x87), ("awsiotsdk", 0x95), ("awsiotsdk", 0x99)],
)
def test_message_at_which_the_connection_ends_is_isolated_and_set_aside(
    world: World, library: str, code: int | None
) -> None:
    refuse = Disconnect(code)
    seen = play(world, library, lambda body: refuse if body["data"] == "bad" else Puback(), {"data": "bad"})
    first = list(dict.fromkeys(seen.accepted))
    assert first == sorted(first)
    assert "data 'bad'" in dead_letters(world, "list")


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_was_set_aside_is_shown_and_sent_again_or_deleted(world: World, library: str) -> None:
    denied = threading.Event()
    denied.set()

    def answer(body: dict[str, Any]) -> Answer:
        refused = Puback(0x87) if library == "awsiotsdk" else Disconnect()
        return refused if body["topic"].endswith("/secret") and denied.is_set() else Puback()

    with chosen_broker(world.folder, world.port, answer) as seen:
        world.client(library, **QUIET, metrics_file="metrics")
        bad = [{"data": "\x1b[31mred", "topic": "secret"}, {"data": "two", "topic": "secret"}]
        hand(world, {"data": "good"}, *bad)
        with Others(world):
            eventually(lambda: dropped(world) == 2, "both set aside", WITHIN)
            shown = dead_letters(world, "list")
            assert shown.splitlines()[0].startswith("2: topic 'secret', ")
            assert "\x1b" not in shown
            denied.clear()
            said = dead_letters(world, "send", "2")
            assert said.startswith("2: is sent again as ")
            number = int(said.split()[-1])
            # The running client notices.
            eventually(lambda: number in seen.accepted, "what was sent again")
            assert dead_letters(world, "delete", "3") == "3: is deleted\n"
            assert dead_letters(world, "list") == "no message was set aside\n"
        again = next(body for body in seen.messages if body["sequence"] == number)
        assert (again["data"], again["topic"]) == ("\x1b[31mred", "fleet/client_01/messages/secret")


@pytest.mark.parametrize("library", LIBRARIES)
def test_message_above_the_limit_of_a_real_broker_is_set_aside(world: World, library: str) -> None:
    world.start_broker(REGION, ["max_packet_size 20000"])
    world.client(library, **QUIET, metrics_file="metrics")
    hand(world, {"data": "good"}, {"data": "x" * 40_000}, {"data": "good"})
    with Others(world) as others:
        eventually(lambda: dropped(world) == 1, "the large one set aside", WITHIN)
    eventually(lambda: max(others.stored) > 0 and waiting(world) == 0, "an empty outbox")
    assert dead_letters(world, "list").startswith("2: no topic of its own, 40000 bytes")


def test_topic_that_a_real_broker_denies_is_set_aside(world: World) -> None:
    (world.folder / "acl").write_text("pattern readwrite fleet/%c/messages\npattern readwrite fleet/%c/commands\n")
    world.start_broker(REGION, listener_lines=[f"acl_file {world.folder}/acl"])
    world.client("awsiotsdk", **QUIET, metrics_file="metrics")
    hand(world, {"data": "good"}, {"data": "bad", "topic": "secret"}, *[{"data": "good"}] * 20)
    eventually(lambda: dropped(world) == 1, "the denied one set aside", WITHIN)
    eventually(lambda: waiting(world) == 0, "an empty outbox")
    assert len(world.events("connected")) == 1
    assert "topic 'secret'" in dead_letters(world, "list")


@pytest.mark.parametrize("library", LIBRARIES)
def test_policy_that_denies_every_message_costs_none(world: World, library: str) -> None:
    denied = threading.Event()
    denied.set()
    refused = Puback(0x87) if library == "awsiotsdk" else Disconnect()
    with chosen_broker(world.folder, world.port, lambda _: refused if denied.is_set() else Puback()) as seen:
        world.client(library, **QUIET, metrics_file="metrics")
        hand(world, *[{"data": "good"}] * 30)
        eventually(lambda: len(seen.messages) >= 12, "a dozen attempts", WITHIN)
        assert dead_letters(world, "list") == "no message was set aside\n"
        denied.clear()
        eventually(lambda: sorted(seen.accepted) == list(range(1, 31)), "all that was kept", WITHIN)
        assert dropped(world) == 0


def test_broker_over_its_quota_keeps_the_connection_and_gets_less(world: World) -> None:
    passing = {"at": 0.0}

    def answer(_: dict[str, Any]) -> Answer:
        now = time.monotonic()
        if now - passing["at"] < 0.1:
            return Puback(0x97)
        passing["at"] = now
        return Puback()

    with chosen_broker(world.folder, world.port, answer) as seen:
        world.client("awsiotsdk", **QUIET)
        hand(world, *[{"data": "good"}] * 60)
        eventually(lambda: len(set(seen.accepted)) == 60, "all of them", WITHIN)
        assert seen.connects == 1
        assert len(seen.messages) < 60 * 6
        assert dead_letters(world, "list") == "no message was set aside\n"


class SlowLink:
    """Lies between client and broker; takes so many bytes a second from the client."""

    def __init__(self, port: int, target: tuple[str, int], rate: int) -> None:
        self._target = target
        self._rate = rate
        self._listener = socket.create_server((BROKERS[REGION], port))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.carried = 0
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                for work in (self._slowly, self._fast):
                    threading.Thread(target=work, args=(near, far), daemon=True).start()

    def _slowly(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while chunk := near.recv(self._rate // 20):
                far.sendall(chunk)
                self.carried += len(chunk)
                time.sleep(len(chunk) / self._rate)
            far.shutdown(socket.SHUT_WR)

    def _fast(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while chunk := far.recv(65536):
                near.sendall(chunk)
            near.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("library", LIBRARIES)
def test_slow_link_carries_large_messages_once(world: World, library: str) -> None:
    """35 s of sending, longer than a dead link is given, and longer than a PINGRESP was waited for."""
    world.start_broker("ap-northeast-1")
    link = SlowLink(world.port, (BROKERS["ap-northeast-1"], world.port), rate=3500)
    try:
        world.client(library, **QUIET, connect_timeout=30)
        hand(world, *[{"data": "x" * 61_000}] * 2)
        eventually(lambda: world.events("connected"), "a connection")
        eventually(lambda: waiting(world) == 0, "both acknowledged", 150.0)
        assert len(world.events("connected")) == 1
        # Little is sent in vain.
        assert link.carried < 140_000
    finally:
        link.close()


def waiting(world: World) -> int:
    """Messages in the outbox."""
    with closing(sqlite3.connect(f"file:{world.folder / 'outbox'}?mode=ro", uri=True)) as database:
        return int(database.execute("SELECT count(*) FROM message").fetchone()[0])
