"""What each library tells of the end of a connection, and of a SUBACK: when to connect again follows from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mqtt_fleet.transport import Cause, Connected, Disconnected, Subscribed

from .chosen_broker import Answer, Disconnect, chosen_broker
from .device_broker import ENDPOINT, LIBRARIES, Device, device, free_port

__all__ = ["device"]
TOPIC = "fleet/client/messages"
CLOSED, TAKEN_OVER, REFUSED, LOST = Cause.CLOSED, Cause.TAKEN_OVER, Cause.REFUSED, Cause.LOST


@contextmanager
def broker(device: Device, answer: Answer = None, **manners: Any) -> Iterator[int]:
    """A broker that answers each message so; yield its port."""
    folder = device.config.outbox.parent
    device.authority.issue(ENDPOINT, file="server")
    shutil.copy(device.config.ca, folder / "ca.crt")
    port = free_port()
    with chosen_broker(folder, port, lambda _: answer, **manners):
        yield port


def end_of(device: Device, library: str, answer: Answer) -> Cause:
    """Publish to a broker that ends the connection for it."""
    with broker(device, answer) as port:
        device.connected(library=library, port=port)
        device.connections[-1].publish(TOPIC, json.dumps({"sequence": 1}).encode())
        return device.wait(Disconnected).cause


@pytest.mark.parametrize(
    ("code", "cause"),
    [(0x00, CLOSED), (0x98, CLOSED), (0x9C, CLOSED), (0x9D, CLOSED), (0x8E, TAKEN_OVER), (0x8B, LOST), (0x97, LOST)],
)
def test_disconnect_of_mqtt_5_tells_what_it_is_for(device: Device, code: int, cause: Cause) -> None:
    assert end_of(device, "awsiotsdk", Disconnect(code)) is cause


def test_mqtt_5_connection_that_ends_without_a_disconnect_is_lost(device: Device) -> None:
    assert end_of(device, "awsiotsdk", Disconnect()) is LOST


def test_mqtt_3_connection_that_the_broker_closes_in_order_was_closed_on_purpose(device: Device) -> None:
    assert end_of(device, "paho", Disconnect()) is CLOSED


@LIBRARIES
def test_connection_that_is_reset_is_lost(device: Device, library: str) -> None:
    assert end_of(device, library, Disconnect(reset=True)) is LOST


@LIBRARIES
def test_connack_that_refuses_is_told_as_one(device: Device, library: str) -> None:
    with broker(device, connack=5 if library == "paho" else 0x87) as port:
        device.connect(library=library, port=port)
        ended = device.wait(Disconnected)
    assert ended.cause is REFUSED
    assert "not authorized" in ended.reason.lower()


@LIBRARIES
@pytest.mark.parametrize("code", [1, 0x80])
def test_suback_is_told(device: Device, library: str, code: int) -> None:
    with broker(device, suback=code) as port:
        device.connected(library=library, port=port)
        device.connections[-1].subscribe("fleet/client/commands")
        answer = device.wait(Subscribed)
    assert answer.topic == "fleet/client/commands"
    assert bool(answer.reason) is (code >= 0x80)


@LIBRARIES
def test_publish_never_raises(device: Device, library: str) -> None:
    with broker(device) as port:
        assert isinstance(device.connected(library=library, port=port), Connected)
        for topic in ("a/#", "", "\0", "x" * 70_000):
            device.connections[-1].publish(TOPIC + topic if topic else "", b"{}")
