"""Whether a region serves a custom domain already: AWS takes its time after a domain configuration was made.

Source: https://docs.aws.amazon.com/iot/latest/developerguide/iot-custom-endpoints-configurable-custom.html ("it might
take up to 60 minutes until AWS IoT Core serves your custom server certificates").
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..aws.clients import AwsClient, describe_data_endpoint
from ..model.names import plain
from ..setup.domain_configuration import configurations
from ..setup.server_certificate import covers
from . import probe
from .probe import ProbeError

# Seconds that AWS may take.
MAY_TAKE = 3600


@dataclass(frozen=True)
class Door:
    """How a region's MQTT endpoint is asked.

    Attributes:
        port: of MQTT.
        resolvers: who is asked for its address; none: the system's.
        certificate, private_key: PEM files of a client's, for an endpoint that ends a handshake without; None: none.
    """

    port: int
    resolvers: Sequence[str] = ()
    certificate: str | None = None
    private_key: str | None = None


@dataclass(frozen=True)
class Waiting:
    """What a region serves of the endpoints that were configured lately.

    Attributes:
        pending: endpoints that it does not serve yet.
        lines: about each of these, for people.
        warnings: endpoints that could not be looked at, and why.
    """

    pending: Sequence[str] = ()
    lines: Sequence[str] = ()
    warnings: Sequence[str] = ()


def age(described: Mapping[str, Any], now: float) -> float | None:
    """Seconds since the status of a domain configuration, as it is described, last changed; None where it is not said.

    Args:
        now: epoch seconds.
    """
    changed = described.get("lastStatusChangeDate")
    return max(0.0, now - changed.timestamp()) if isinstance(changed, dt.datetime) else None


def since(seconds: float) -> str:
    """As in `configured 12 minutes ago`."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return "configured less than a minute ago"
    return f"configured {minutes} minute{'s' if minutes > 1 else ''} ago"


def look(iot: AwsClient, endpoints: Sequence[str], within: float, door: Door, now: float) -> Waiting:
    """Ask a region's MQTT endpoint for each of these endpoints that was configured lately.

    Args:
        within: seconds; what was configured before is not asked for.
        now: epoch seconds.

    Raises:
        AwsError: AWS refuses, or does not answer.
    """
    wanted = {plain(endpoint) for endpoint in endpoints}
    recent: dict[str, float] = {}
    for described in configurations(iot):
        name, seconds = plain(described.get("domainName", "")), age(described, now)
        if name in wanted and described.get("domainConfigurationStatus") == "ENABLED" and seconds is not None:
            recent |= {name: seconds} if seconds < within else {}
    if not recent:
        return Waiting()
    return _look(describe_data_endpoint(iot), iot.region, recent, door)


def _look(host: str, region: str, recent: Mapping[str, float], door: Door) -> Waiting:
    pending, lines, warnings = [], [], []
    try:
        address = probe.locate(host, door.resolvers)
    except ProbeError as error:
        return Waiting(warnings=[_unseen(name, region, error) for name in sorted(recent)])
    for name, seconds in sorted(recent.items()):
        try:
            shown = probe.shown(address, door.port, name, door.certificate, door.private_key)
        except ProbeError as error:
            warnings.append(_unseen(name, region, error))
            continue
        if not covers(shown, name):
            pending.append(name)
            lines.append(
                f"{name} in {region}: {since(seconds)}, and another certificate is served ({shown.subject}): AWS may "
                f"take {MAY_TAKE // 60} minutes"
            )
    return Waiting(pending, lines, warnings)


def _unseen(name: str, region: str, error: ProbeError) -> str:
    return f"{name} in {region}: was not looked at, since there was {error.problem}"
