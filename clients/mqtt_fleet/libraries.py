"""The MQTT libraries that a client can use: what each is called, needs and brings. Loaded only where it is used."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Library:
    """An MQTT library, by the modules of this package that know it.

    Attributes:
        imports: its modules, all of which have to be there.
        transport: class that is a `transport.Connection`, called with the configuration and what takes its events;
            as "module:name", and so is what follows.
        credentials_problem: function that returns, for a configuration, why the library cannot use certificate and
            key, or None.
        port: where it connects to by default; AWS IoT Core wants ALPN on 443.
    """

    imports: tuple[str, ...]
    transport: str
    credentials_problem: str
    port: int


LIBRARIES = {
    "awsiotsdk": Library(
        imports=("awscrt", "awsiot"),
        transport="mqtt_fleet.awsiotsdk_transport:AwsIotSdkConnection",
        credentials_problem="mqtt_fleet.awsiotsdk_credentials:problem",
        port=443,
    ),
    "paho": Library(
        imports=("paho.mqtt.client",),
        transport="mqtt_fleet.paho_transport:PahoConnection",
        credentials_problem="mqtt_fleet.credentials:pair_problem",
        port=8883,
    ),
}


def load(name: str) -> Any:
    """What "module:name" stands for; a device has only one of the libraries, so nothing is imported before."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
