"""A connection through the configured library."""

from __future__ import annotations

from mqtt_fleet.attempt import ConnectError
from mqtt_fleet.config import Config
from mqtt_fleet.libraries import LIBRARIES, load
from mqtt_fleet.transport import Connection, Report


def connect(config: Config, report: Report) -> Connection:
    """Start connecting with the configured library; returns at once.

    The endpoint's name is resolved again each time, without any cache.

    Raises:
        ConnectError: the library cannot even begin.
    """
    try:
        connection: Connection = load(LIBRARIES[config.library].transport)(config, report)
        return connection
    # What a library raises has no common class, and must not end the client.
    except Exception as error:
        text = f"{config.endpoint}: {config.library}: {type(error).__name__}: {error}"
        raise ConnectError(text) from error
