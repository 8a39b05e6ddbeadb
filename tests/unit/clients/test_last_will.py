"""What each library is told to leave with the broker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from awscrt import mqtt5

from mqtt_fleet import last_will
from mqtt_fleet.config import parse

from .test_config import FOLDERS, content

WILL = {"will_topic": "status", "will_payload": "öffline", "will_qos": 0, "will_retain": True}


def test_both_libraries_are_given_the_same_will() -> None:
    config = parse(content(**WILL), *FOLDERS)
    payload = "öffline".encode()
    assert last_will.paho_options(config) == {
        "topic": "fleet/client_01/status",
        "payload": payload,
        "qos": 0,
        "retain": True,
    }
    options = last_will.awsiotsdk_options(replace(config, will_delay=60))
    packet = options["will"]
    assert (packet.topic, packet.payload, packet.qos, packet.retain) == (
        "fleet/client_01/status",
        payload,
        mqtt5.QoS.AT_MOST_ONCE,
        True,
    )
    assert options["will_delay_interval_sec"] == 60


def test_nothing_is_left_where_no_will_is_asked_for() -> None:
    assert last_will.awsiotsdk_options(parse(content(), Path("/c"), Path("/s"), Path("/r"))) == {}
