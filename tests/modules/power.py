"""A device whose power is cut while programs hand over messages: a client with its outbox on a disk that forgets."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from .client_world import BROKERS, TIMEOUT, World, eventually

REGION = "us-east-1"
PROGRAMS = 4
# Handed over together, so that transactions of all sizes are cut.
MOST_TOGETHER = 30
BOOT_ID = "/proc/sys/kernel/random/boot_id"


@contextmanager
def powered(image: Path, folder: Path, *share: str) -> Iterator[subprocess.Popen[bytes]]:
    """Mount the disk's ext4 at `folder`/disk; yields the process that has its power, which SIGUSR1 cuts."""
    served, mounted = folder / "served", folder / "disk"
    for each in (served, mounted):
        each.mkdir(exist_ok=True)
    server = subprocess.Popen([sys.executable, "-m", "tests.modules.forgetful_disk", image, served, *share])
    device = ""
    try:
        eventually(lambda: (served / "disk").exists(), "the disk")
        device = _out("losetup", "--find", "--show", str(served / "disk"))
        _out("mount", device, str(mounted))
        yield server
    finally:
        # After a cut the disk fails whatever is asked of it: that is passed over.
        for command in (["umount", mounted], ["losetup", "--detach", device], ["umount", served]):
            subprocess.run(command, stderr=subprocess.DEVNULL, check=False)
        server.kill()
        server.wait()
        subprocess.run(["umount", "--lazy", served], stderr=subprocess.DEVNULL, check=False)


def _out(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def make_disk(image: Path, mebibytes: int = 64) -> None:
    """Write an empty ext4 file system."""
    with image.open("wb") as file:
        file.truncate(mebibytes << 20)
    _out("mkfs.ext4", "-q", "-F", str(image))


class Consumer:
    """Takes each stream and number once, as docs/clients.md tells consumers to."""

    def __init__(self, address: str, port: int) -> None:
        self.data: dict[tuple[str, int], str] = {}
        self.contradictions: list[tuple[str, int]] = []
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="consumer")
        self._client.on_connect = lambda client, *_: client.subscribe("fleet/#", 1)
        ready = threading.Event()
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.on_message = self._take
        eventually(lambda: self._connect(address, port), "the broker")
        self._client.loop_start()
        assert ready.wait(TIMEOUT)

    def _connect(self, address: str, port: int) -> bool:
        with suppress(OSError):
            self._client.connect(address, port)
            return True
        return False

    def _take(self, _client: Client, _: Any, message: MQTTMessage) -> None:
        body = json.loads(message.payload)
        number = (body["stream"], body["sequence"])
        if self.data.setdefault(number, body["data"]) != body["data"]:
            self.contradictions.append(number)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Program:
    """Hands over messages, several at once, until the device has no power; notes which were accepted."""

    def __init__(self, path: Path, name: str, accepted: list[str]) -> None:
        self._path = path
        self._name = name
        self._accepted = accepted
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(str(self._path))
            with connection.makefile("rb") as answers:
                while True:
                    batch = [f"{self._name}-{number + each}" for each in range(random.randint(1, MOST_TOGETHER))]
                    number += len(batch)
                    padding = "." * random.choice((0, 200, 5000))
                    lines = (json.dumps({"data": data + padding}) + "\n" for data in batch)
                    connection.sendall("".join(lines).encode())
                    for data in batch:
                        if "sequence" not in json.loads(answers.readline()):
                            return
                        self._accepted.append(data + padding)

    def join(self) -> None:
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive()


def cut_power(folder: Path, library: str, times: int) -> tuple[int, int, int]:
    """Cut a device's power again and again; then everything that was accepted has to arrive.

    Returns:
        (accepted, accepted and never arrived, streams and numbers that stood for two messages).
    """
    world = World(folder)
    for name in ("server", "client"):
        world.authority.issue(name)
    world.point(REGION)
    make_disk(folder / "image")
    accepted: list[str] = []
    consumer: Consumer | None = None
    try:
        # With a limit on its queue it drops what it has acknowledged when a subscriber is slower than the client.
        world.start_broker(REGION, ["max_queued_messages 0"])
        consumer = Consumer(BROKERS[REGION], world.plain_port)
        for boot in range(times):
            _boot(world, library, f"{library}-{boot}", accepted)
        with powered(folder / "image", folder):
            client = _client(world, library, publish_rate=100_000, window=100)
            # What is missing then is counted.
            with suppress(pytest.fail.Exception):
                eventually(lambda: set(accepted) <= set(consumer.data.values()), "all", TIMEOUT + len(accepted) / 100)
            client.kill()
            client.wait()
        arrived = set(consumer.data.values())
        return len(accepted), len(set(accepted) - arrived), len(consumer.contradictions)
    finally:
        if consumer:
            consumer.close()
        world.stop()


def _client(world: World, library: str, **changes: Any) -> subprocess.Popen[bytes]:
    boot = world.folder / "boot_id"
    boot.write_text(f"{uuid.uuid4()}\n")
    world.seen_as[2:] = [str(boot), BOOT_ID]
    options = {"socket": str(world.folder / "s"), "heartbeat_interval": 0, "reconnect_delay_cap": 1, **changes}
    return world.client(library, outbox=str(world.folder / "disk" / "outbox"), **options)


def _boot(world: World, library: str, name: str, accepted: list[str]) -> None:
    """Switch the device on, have messages handed over, and cut its power at a random moment."""
    (world.folder / "s").unlink(missing_ok=True)
    with powered(world.folder / "image", world.folder) as server:
        client = _client(world, library)
        eventually((world.folder / "s").is_socket, "the client's socket")
        before = len(accepted)
        programs = [Program(world.folder / "s", f"{name}-{each}", accepted) for each in range(PROGRAMS)]
        enough = random.randint(1, 300)
        try:
            eventually(lambda: len(accepted) >= before + enough, f"{enough} messages accepted")
        finally:
            server.send_signal(signal.SIGUSR1)
            # From here on nothing can be accepted: the programs hear that, or that the client has gone.
            client.kill()
            client.wait()
            world.processes.remove(client)
            for program in programs:
                program.join()
