"""The trap this product exists for: the stock SDK goes back to the region it was disconnected from.

Its resolver keeps an address for 30 s whatever the record's TTL. Ours makes a new resolver for each connection.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest

from lab import device, topology

from ..lab.conftest import StandIn, failover, wait_for

DEVICE = topology.DEVICES[0]
CLIENT_ID = "client_01"
ENDPOINT = "mqtt1.example.com"
OLD, NEW = "us-east-1", "ap-northeast-1"
CREDENTIALS = "/etc/mqtt-client"
UNIT = "mqtt-client.service"
STOCK_UNIT = "stock-sdk-client.service"
REMOTE_SCRIPT = "/root/stock_sdk_client.py"
SCRIPT = Path(__file__).parent.parent / "lab" / "stock_sdk_client.py"


def on_device(*command: str, text: str | None = None) -> str:
    done = subprocess.run(device.ssh_command(DEVICE, *command), input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def stock_client() -> Iterator[list[dict[str, str]]]:
    """The stock client in the place of ours on the device; yields the events it printed so far."""
    interpreter = on_device(f"systemctl show --property=ExecStart --value {UNIT} | grep -o 'path=[^ ]*'")
    on_device("systemctl", "stop", UNIT)
    on_device(f"cat > {REMOTE_SCRIPT}", text=SCRIPT.read_text(encoding="utf-8"))
    files = [f"{CREDENTIALS}/{name}" for name in ("client.crt", "client.key", "ca.crt")]
    stock = [interpreter.strip().removeprefix("path="), REMOTE_SCRIPT, ENDPOINT, CLIENT_ID, *files]
    transient = ["systemd-run", "--quiet", "--collect", "--pipe", f"--unit={STOCK_UNIT}", *stock]
    events: list[dict[str, str]] = []
    process = subprocess.Popen(device.ssh_command(DEVICE, *transient), stdout=subprocess.PIPE, text=True)

    def read_lines() -> None:
        assert process.stdout
        for line in process.stdout:
            events.append(json.loads(line))

    threading.Thread(target=read_lines, daemon=True).start()
    try:
        yield events
    finally:
        on_device("systemctl", "stop", STOCK_UNIT)
        process.wait(timeout=30)
        on_device("rm", "-f", REMOTE_SCRIPT)
        on_device("systemctl", "start", UNIT)


def disconnect(stand_in: StandIn) -> None:
    client = boto3.client(
        "iot-data",
        region_name=OLD,
        endpoint_url=stand_in.url,
        aws_access_key_id="lab",
        aws_secret_access_key="lab",
    )
    client.delete_connection(clientId=CLIENT_ID)


def region_after_kick(stand_in: StandIn) -> str:
    """Switch DNS, disconnect the client in the old region at once, and say where it comes back."""
    failover("3", "-e", "failover_sweep=none")
    last = stand_in.get("connections")[OLD][CLIENT_ID]["connected_since"]
    disconnect(stand_in)

    def new_connection() -> str | None:
        connections = stand_in.get("connections")
        if connections[NEW].get(CLIENT_ID, {}).get("connected"):
            return NEW
        old = connections[OLD][CLIENT_ID]
        return OLD if old["connected"] and old["connected_since"] > last else None

    return wait_for("the client connecting again", new_connection)


def test_stock_client_goes_back_to_the_old_region(fleet: dict[str, str], stand_in: StandIn) -> None:
    failover("1")
    with stock_client() as events:
        wait_for("the stock client connecting", lambda: {"event": "connected"} in events)

        assert region_after_kick(stand_in) == OLD


@pytest.mark.parametrize("client_id", [CLIENT_ID])
def test_ours_goes_to_the_new_region(fleet: dict[str, str], stand_in: StandIn, client_id: str) -> None:
    failover("1")
    # As young a connection as the stock client's was: its address is still in any cache there may be.
    on_device("systemctl", "restart", UNIT)
    wait_for("our client connecting", lambda: stand_in.connected_regions(client_id) == [OLD])

    assert region_after_kick(stand_in) == NEW
