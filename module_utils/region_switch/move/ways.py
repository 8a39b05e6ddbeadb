"""The ways of moving clients, by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..aws.clients import Aws
from ..aws.quotas import Quotas
from ..model.options import PaceOptions
from . import pace as paces
from .disconnect import Disconnector
from .landing import Looker
from .runtime import Runtime
from .way import Way

# Clients on their way at most, in seconds of the pace, unless the operator says otherwise.
FLIGHT_SECONDS = 30.0


def usual_in_flight(leaving: Mapping[str, float]) -> int:
    """How many clients are on their way at most, unless the operator says otherwise.

    Args:
        leaving: clients disconnected per second, by source region.
    """
    return int(FLIGHT_SECONDS * max(leaving.values()))


def disconnect(
    aws: Aws, options: PaceOptions, quotas: Mapping[str, Quotas], dead: Collection[str], runtime: Runtime
) -> Way:
    """DeleteConnection, after which a client connects to where its endpoint's record points; GetConnection proves it.

    Args:
        quotas: of the living regions.
        dead: regions whose API does not answer, which are not asked.
    """
    pace = paces.pace(quotas, options)
    mover = Disconnector(
        aws.data, pace.leaving, pace.arriving, options.clean_session, options.prevent_will_message, runtime
    )
    proof = Looker(aws.data, {region: quota.get_connection for region, quota in quotas.items()}, dead, runtime)
    return Way(mover, proof, usual_in_flight(pace.leaving))


WAYS = {"disconnect": disconnect}
DEFAULT = "disconnect"
