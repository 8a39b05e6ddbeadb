"""Whether a region already serves a custom domain: AWS takes a while after a domain configuration is created.

Source: https://docs.aws.amazon.com/iot/latest/developerguide/iot-custom-endpoints-configurable-custom.html ("it might
take up to 60 minutes until AWS IoT Core serves your custom server certificates").
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..aws.clients import AwsClient, describe_data_endpoint
from ..model.errors import many
from ..model.names import plain
from ..setup.domain_configuration import configurations
from ..setup.server_certificate import covers
from . import probe
from .probe import ProbeError

# Seconds that AWS may take.
MAY_TAKE = 3600


@dataclass(frozen=True)
class ProbeOptions:
    """How a region's MQTT endpoint is probed.

    Attributes:
        port: of MQTT.
        resolvers: those that resolve its host name; none: the system's.
        certificate, private_key: PEM files of a client, for an endpoint that aborts a handshake without.
    """

    port: int
    resolvers: Sequence[str] = ()
    certificate: str | None = None
    private_key: str | None = None


@dataclass(frozen=True)
class Waiting:
    """The recently configured endpoints that a region does not serve yet.

    Attributes:
        pending: endpoints that it does not serve yet.
        lines: one line about each of these, for people.
        warnings: endpoints that could not be probed, and why.
    """

    pending: Sequence[str] = ()
    lines: Sequence[str] = ()
    warnings: Sequence[str] = ()


def age(described: Mapping[str, Any], now: float) -> float | None:
    """Seconds since the status of a domain configuration last changed; None where its description does not say.

    Args:
        now: epoch seconds.
    """
    changed = described.get("lastStatusChangeDate")
    return max(0.0, now - changed.timestamp()) if isinstance(changed, dt.datetime) else None


def since(seconds: float) -> str:
    """As in `configured 12 minutes ago`."""
    minutes = int(seconds // 60)
    return f"configured {many(minutes, 'minute') if minutes else 'less than a minute'} ago"


def look(iot: AwsClient, endpoints: Sequence[str], within: float, options: ProbeOptions, now: float) -> Waiting:
    """Probe a region's MQTT endpoint for each of these endpoints that was configured recently.

    Args:
        within: seconds; endpoints that were configured earlier are not probed.
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
    return _look(describe_data_endpoint(iot), iot.region, recent, options)


def _look(host: str, region: str, recent: Mapping[str, float], options: ProbeOptions) -> Waiting:
    pending, lines, warnings = [], [], []
    try:
        address = probe.locate(host, options.resolvers)
    except ProbeError as error:
        return Waiting(warnings=[_unseen(name, region, error) for name in sorted(recent)])
    for name, seconds in sorted(recent.items()):
        try:
            shown = probe.shown(address, options.port, name, options.certificate, options.private_key)
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
    return f"{name} in {region}: could not be checked ({error.problem})"
