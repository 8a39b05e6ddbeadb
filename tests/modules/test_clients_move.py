"""Both libraries between two real brokers: the name moves, the client is disconnected or not, nothing is lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from .address_server import address_server
from .client_world import BROKERS, ENDPOINT, TIMEOUT, World, eventually, world

__all__ = ["world"]

pytestmark = [
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="a hosts file of its own needs root"),
]


@pytest.mark.parametrize("library", ["awsiotsdk", "paho"])
def test_client_goes_where_the_name_points_and_loses_nothing(world: World, library: str) -> None:
    process = world.client(library)
    old, new = BROKERS
    eventually(lambda: world.arrived(old) > 5, f"messages in {old}")
    # There and back: right after a connection is when a remembered address would be used.
    for source, target in ((old, new), (new, old)):
        world.point(target)
        moved_at = time.time()
        world.disconnect(source, "client_01")
        eventually(lambda since=moved_at, region=target: world.arrived(region, since) > 5, f"messages in {target}")
        last_old = world.rows("SELECT max(arrived_at) FROM message WHERE region = ?", source)[0][0]
        query = "SELECT min(arrived_at) FROM message WHERE region = ? AND arrived_at > ?"
        first_new = world.rows(query, target, moved_at)[0][0]
        assert last_old < first_new
    process.terminate()
    assert process.wait(TIMEOUT) == 0
    world.check_nothing_lost()


@pytest.mark.parametrize("library", ["awsiotsdk", "paho"])
def test_named_dns_servers_are_asked_past_the_system_resolver(world: World, library: str) -> None:
    old, new = BROKERS
    # Its own among the loopback addresses: whatever else uses the port is elsewhere.
    server = f"127.53.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
    with address_server({ENDPOINT: BROKERS[new]}, server, 53):
        process = world.client(library, resolvers=[server])
        eventually(lambda: world.arrived(new) > 5, f"messages in {new}")
    assert world.arrived(old) == 0
    assert world.events("connected")[0]["address"] == f"{BROKERS[new]}:{world.port}"
    # The servers are gone: said, and nothing but the next connection suffers.
    world.disconnect(new, "client_01")
    eventually(lambda: any(ENDPOINT in event["reason"] for event in world.events("connect_failed")), "a failed lookup")
    process.terminate()
    assert process.wait(TIMEOUT) == 0
    world.check_nothing_lost()


@pytest.mark.parametrize("library", ["awsiotsdk", "paho"])
def test_client_moves_by_itself_without_a_duplicate(world: World, library: str) -> None:
    watching = {"endpoint_watch": "move", "endpoint_watch_interval": 1, "endpoint_watch_jitter": 0.5}
    process = world.client(library, **watching)
    old, new = BROKERS
    eventually(lambda: world.arrived(old) > 5, f"messages in {old}")
    world.point(new)
    eventually(lambda: world.arrived(new) > 5, f"messages in {new}")
    process.terminate()
    assert process.wait(TIMEOUT) == 0
    assert world.check_nothing_lost() == 0
    assert [event["reason"] for event in world.events("disconnected")] == ["the endpoint's name resolves elsewhere"]
    assert len(world.events("endpoint_moved")) == 1


@pytest.mark.parametrize("library", ["awsiotsdk", "paho"])
def test_resolver_that_lies_for_a_while_takes_nobody_from_a_good_broker(world: World, library: str) -> None:
    watching = {"endpoint_watch": "move", "endpoint_watch_interval": 1, "endpoint_watch_jitter": 0.5}
    process = world.client(library, **watching)
    here = next(iter(BROKERS))
    eventually(lambda: world.arrived(here) > 5, f"messages in {here}")
    world.point("nowhere")
    eventually(lambda: world.events("endpoint_unusable"), "the place that was found unusable")
    for name in ("nowhere", here):
        world.point(name)
        count = world.arrived(here)
        eventually(lambda count=count: world.arrived(here) > count + 20, "messages all the while")
    process.terminate()
    assert process.wait(TIMEOUT) == 0
    assert world.check_nothing_lost() == 0
    assert world.events("disconnected") == []
    assert len(world.events("connected")) == 1


def test_second_client_of_an_outbox_ends_with_one_line_and_leaves_the_first_alone(world: World) -> None:
    first = world.client("paho")
    eventually(lambda: world.events("connected"), "a connection")

    second = world.client("paho")

    assert second.wait(TIMEOUT) == 1
    (line,) = [line for line in (world.folder / "client.log").read_text().splitlines() if not line.startswith("{")]
    assert f"outbox: found process {first.pid} using it" in line
    assert len(world.events("started")) == len(world.events("connected")) == 1
    first.kill()
    first.wait()
    world.client("paho")
    eventually(lambda: len(world.events("connected")) == 2, "a connection of the next process")


def test_process_restart_moves_too(world: World) -> None:
    process = world.client("paho", reconnect_by="process_restart")
    old, new = BROKERS
    eventually(lambda: world.arrived(old) > 5, f"messages in {old}")
    world.point(new)
    world.disconnect(old, "client_01")
    eventually(lambda: world.arrived(new) > 5, f"messages in {new}")
    assert len(world.events("started")) == 2
    process.terminate()
    assert process.wait(TIMEOUT) == 0
    world.check_nothing_lost()


class Producer:
    """A program that hands messages to the client's socket and hands each again until it is on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stored: list[int] = []

    def send(self, count: int) -> None:
        """Hand over messages together; return when each is on disk."""
        while count:
            try:
                count -= self._try(count)
            except (OSError, EOFError):
                # The client is being started again.
                time.sleep(0.02)

    def _try(self, count: int) -> int:
        with closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(str(self.path))
            connection.sendall(b'{"data": "reading"}\n' * count)
            answered = 0
            with connection.makefile("rb") as reader:
                while answered < count and b"sequence" in (line := reader.readline()):
                    self.stored.append(int(line.split(b":")[1].strip(b"} \n")))
                    answered += 1
        return answered


@pytest.mark.parametrize("library", ["awsiotsdk", "paho"])
def test_client_killed_at_random_under_load_loses_nothing(world: World, library: str) -> None:
    producer = Producer(world.folder / "s")
    options = {"socket": "s", "heartbeat_interval": 0}
    process = world.client(library, **options)
    handing_over = threading.Thread(target=lambda: [producer.send(10) for _ in range(50)])
    handing_over.start()
    for _ in range(5):
        wanted = len(world.sequences()) + random.randint(1, 80)
        eventually(lambda wanted=wanted: len(world.sequences()) >= wanted, "some of them in the ledger")
        # unshare and the shell have become the client.
        process.send_signal(signal.SIGKILL)
        process.wait(TIMEOUT)
        connections = len(world.events("connected"))
        process = world.client(library, **options)
    handing_over.join()
    eventually(lambda: set(producer.stored) <= set(world.sequences()), "everything that was stored")
    eventually(lambda: len(world.events("connected")) > connections, "the last process connected")
    process.terminate()
    assert process.wait(TIMEOUT) == 0
    world.check_nothing_lost()
    assert len(set(producer.stored)) == len(producer.stored) >= 500
    # It was killed with messages on their way.
    assert any(event["backlog"] for event in world.events("started"))


@pytest.mark.parametrize("library", ["awsiotsdk", "paho"])
def test_nothing_is_lost_while_no_broker_is_there(world: World, library: str) -> None:
    producer = Producer(world.folder / "s")
    process = world.client(library, socket="s", heartbeat_interval=0, publish_rate=1000, reconnect_delay_cap=1)
    eventually(lambda: world.events("connected"), "a connection")
    for region in BROKERS:
        world.stop_broker(region)
    # What 100 messages a second are in five seconds, in the groups of a tenth.
    for _ in range(50):
        producer.send(10)
    assert producer.stored == list(range(1, 501))
    assert world.sequences() == []
    # A broker keeps nothing for a monitor that is not back: the client comes after it.
    world.point("nowhere")
    for region in BROKERS:
        world.start_broker(region)
    world.await_monitor()
    world.point("ap-northeast-1")
    eventually(lambda: len(set(world.sequences())) == 500, "all of them")
    process.terminate()
    assert process.wait(TIMEOUT) == 0
    world.check_nothing_lost()


@pytest.mark.parametrize("library", ["awsiotsdk", "paho"])
def test_bad_credentials_are_named_and_replaced_files_picked_up(world: World, library: str) -> None:
    key = world.folder / "client.key"
    key.write_bytes((world.folder / "server.key").read_bytes())
    process = world.client(library, reconnect_delay_cap=1)
    text = f"private_key: {key} does not match the certificate {world.folder}/client.crt"
    eventually(lambda: any(text in event["reason"] for event in world.events("connect_failed")), "the mismatch")
    key.unlink()
    text = f"private_key: {key} cannot be read: No such file or directory"
    eventually(
        lambda: any(event["reason"].startswith(text) for event in world.events("connect_failed")), "the missing key"
    )
    world.authority.issue("client", days=-1)
    text = f"certificate: {world.folder}/client.crt expired "
    eventually(lambda: any(text in event["reason"] for event in world.events("credentials")), "the expired certificate")
    assert process.poll() is None
    world.authority.issue("client")
    eventually(lambda: world.arrived(next(iter(BROKERS))) > 5, "messages")
    process.terminate()
    assert process.wait(TIMEOUT) == 0
    world.check_nothing_lost()
