"""DeleteConnection with a real broker: the client is cut off when the call returns."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from lab import mosquitto_plugin
from lab.aws_api.config import Region
from lab.aws_api.connections import Connection
from lab.aws_api.fleet import Fleet

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
TIMEOUT = 10

pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Run a broker as the lab does: a socket and a log in a directory."""
    configuration = tmp_path / "mosquitto.conf"
    plugin = tmp_path / mosquitto_plugin.NAME
    mosquitto_plugin.build(plugin)
    configuration.write_text(
        f"user root\nlistener 0 {tmp_path}/mosquitto.sock\nallow_anonymous true\nplugin {plugin}\n"
        f"log_dest file {tmp_path}/mosquitto.log\n"
        "log_type error\nlog_type notice\nlog_type information\nconnection_messages true\n"
        "log_timestamp true\nlog_timestamp_format %Y-%m-%dT%H:%M:%S%z\n"
    )
    process = subprocess.Popen([str(MOSQUITTO), "-c", str(configuration)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + TIMEOUT
    while not _answers(tmp_path / "mosquitto.sock"):
        assert process.poll() is None and time.monotonic() < deadline, "mosquitto does not start"
        time.sleep(0.02)
    yield tmp_path
    process.terminate()
    process.wait(timeout=TIMEOUT)


def _answers(path: Path) -> bool:
    """Whether somebody listens: the file is there before."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@pytest.fixture
def fleet(directory: Path) -> Fleet:
    return Fleet(Region("us-east-1", "", directory), _nowhere)


def _nowhere(_: Connection) -> None:
    raise AssertionError("with a broker nobody is moved")


def _connect(directory: Path, client_id: str, *, clean: bool) -> Client:
    client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=clean, transport="unix")
    client.connect(str(directory / "mosquitto.sock"))
    _loop_until(client, connected=True)
    return client


def _loop_until(client: Client, *, connected: bool) -> None:
    deadline = time.monotonic() + TIMEOUT
    while client.is_connected() is not connected:
        assert time.monotonic() < deadline, f"client is not {'connected' if connected else 'cut off'}"
        client.loop(0.05)


def _loop_for(client: Client, seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not seen():
        assert time.monotonic() < deadline
        client.loop(0.05)


@pytest.mark.parametrize("client_id", ["client_01", "ü a as b"])
@pytest.mark.parametrize("clean", [True, False])
def test_client_is_cut_off_by_the_api(directory: Path, fleet: Fleet, client_id: str, clean: bool) -> None:
    client = _connect(directory, client_id, clean=clean)
    connection = fleet.look_up(client_id)
    assert connection is not None
    assert (connection.connected, connection.clean_session) == (True, clean)
    fleet.delete(client_id, clean_session=False)
    connection = fleet.look_up(client_id)
    assert connection is not None
    assert (connection.connected, connection.disconnect_reason) == (False, "API_INITIATED_DISCONNECT")
    _loop_until(client, connected=False)


def _session_present_after(directory: Path, fleet: Fleet, *, clean_session: bool) -> bool:
    """Have a client with a session disconnected; whether the broker has it when the client comes back."""
    client = _connect(directory, "client_01", clean=False)
    fleet.look_up("client_01")
    fleet.delete("client_01", clean_session=clean_session)
    _loop_until(client, connected=False)
    present = []
    client.on_connect = lambda _client, _data, flags, *_: present.append(flags.session_present)
    client.reconnect()
    _loop_until(client, connected=True)
    connection = fleet.look_up("client_01")
    assert connection is not None
    assert connection.connected
    assert len(present) == 1
    return bool(present[0])


def test_client_that_comes_back_is_connected_and_keeps_its_session(directory: Path, fleet: Fleet) -> None:
    assert _session_present_after(directory, fleet, clean_session=False) is True


def test_session_that_the_api_ends_is_not_there_any_more(directory: Path, fleet: Fleet) -> None:
    assert _session_present_after(directory, fleet, clean_session=True) is False


@pytest.mark.parametrize("ended", [False, True])
def test_command_of_the_old_region_comes_late_unless_the_session_was_ended(
    directory: Path, fleet: Fleet, ended: bool
) -> None:
    client, operator = (_connect(directory, name, clean=name == "operator") for name in ("client_01", "operator"))
    heard: list[str] = []
    client.on_subscribe = lambda *_: heard.append("subscribed")
    client.on_message = lambda _client, _data, message: heard.append(message.payload.decode())
    client.subscribe("commands/client_01", qos=1)
    _loop_for(client, lambda: heard == ["subscribed"])
    fleet.look_up("client_01")
    fleet.delete("client_01", clean_session=ended)
    _loop_until(client, connected=False)

    _publish(operator, "stale")
    client.reconnect()
    _loop_until(client, connected=True)
    client.subscribe("commands/client_01", qos=1)
    _loop_for(client, lambda: heard.count("subscribed") == 2)
    # The broker keeps the order: a command of before would have come earlier.
    _publish(operator, "fresh")
    _loop_for(client, lambda: heard[-1] == "fresh")

    assert ("stale" in heard) is not ended


def _publish(client: Client, command: str) -> None:
    sent = client.publish("commands/client_01", command, qos=1)
    _loop_for(client, sent.is_published)


def test_mqtt_5_client_is_told_that_it_was_an_administrative_action(directory: Path, fleet: Fleet) -> None:
    client = Client(
        CallbackAPIVersion.VERSION2, client_id="client_01", protocol=MQTTProtocolVersion.MQTTv5, transport="unix"
    )
    told = []
    client.on_disconnect = lambda _client, _data, flags, reason, _: told.append(
        (flags.is_disconnect_packet_from_server, reason.value)
    )
    client.connect(str(directory / "mosquitto.sock"))
    _loop_until(client, connected=True)
    fleet.look_up("client_01")
    fleet.delete("client_01", clean_session=False)
    _loop_for(client, lambda: bool(told))
    assert told == [(True, 0x98)]


@pytest.mark.parametrize("prevented", [True, False])
def test_will_is_published_unless_the_call_prevents_it(directory: Path, fleet: Fleet, prevented: bool) -> None:
    heard = []
    listener = _connect(directory, "listener", clean=True)
    listener.on_message = lambda _client, _data, message: heard.append(message.topic)
    listener.on_subscribe = lambda *_: heard.append("subscribed")
    listener.subscribe([("will/#", 1), ("after", 1)])
    _loop_for(listener, lambda: heard == ["subscribed"])
    client = Client(CallbackAPIVersion.VERSION2, client_id="client_01", transport="unix")
    client.will_set("will/client_01", b"gone", qos=1)
    client.connect(str(directory / "mosquitto.sock"))
    _loop_until(client, connected=True)
    fleet.look_up("client_01")
    fleet.delete("client_01", clean_session=False, prevent_will_message=prevented)
    # The broker keeps the order: a will would have come before it.
    listener.publish("after", b"", qos=1)
    _loop_for(listener, lambda: heard[-1] == "after")
    assert heard[1:-1] == ([] if prevented else ["will/client_01"])


def test_restarted_reader_knows_who_is_connected(directory: Path, fleet: Fleet) -> None:
    client = _connect(directory, "client_01", clean=True)
    assert client.is_connected()
    assert fleet.look_up("client_01")
    restarted = Fleet(Region("us-east-1", "", directory), _nowhere)
    connection = restarted.look_up("client_01")
    assert connection is not None
    assert connection.connected
