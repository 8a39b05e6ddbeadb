"""DeleteConnection with a real broker: the client is cut off when the call returns."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

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
    configuration.write_text(
        f"user root\nlistener 0 {tmp_path}/mosquitto.sock\nallow_anonymous true\n"
        f"log_dest file {tmp_path}/mosquitto.log\n"
        "log_type error\nlog_type notice\nlog_type information\nconnection_messages true\n"
        "log_timestamp true\nlog_timestamp_format %Y-%m-%dT%H:%M:%S%z\n"
    )
    process = subprocess.Popen([str(MOSQUITTO), "-c", str(configuration)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + TIMEOUT
    while not (tmp_path / "mosquitto.sock").exists():
        assert process.poll() is None and time.monotonic() < deadline, "mosquitto does not start"
        time.sleep(0.02)
    yield tmp_path
    process.terminate()
    process.wait(timeout=TIMEOUT)


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


def test_client_that_comes_back_is_connected_and_keeps_its_session(directory: Path, fleet: Fleet) -> None:
    client = _connect(directory, "client_01", clean=False)
    fleet.look_up("client_01")
    fleet.delete("client_01", clean_session=False)
    _loop_until(client, connected=False)
    present = []
    client.on_connect = lambda _client, _data, flags, *_: present.append(flags.session_present)
    client.reconnect()
    _loop_until(client, connected=True)
    connection = fleet.look_up("client_01")
    assert connection is not None
    assert connection.connected
    assert present == [True]


def test_restarted_reader_knows_who_is_connected(directory: Path, fleet: Fleet) -> None:
    client = _connect(directory, "client_01", clean=True)
    assert client.is_connected()
    assert fleet.look_up("client_01")
    restarted = Fleet(Region("us-east-1", "", directory), _nowhere)
    connection = restarted.look_up("client_01")
    assert connection is not None
    assert connection.connected
