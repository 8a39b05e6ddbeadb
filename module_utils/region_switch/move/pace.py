"""The pace of a move: how fast clients leave one region and arrive in the other, by the quotas of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..aws.quotas import Quotas
from ..model.options import PaceOptions

# Of the CONNECT and SUBSCRIBE quotas: devices that come back by themselves need some, too.
ARRIVAL_HEADROOM = 0.9


@dataclass(frozen=True)
class Pace:
    """Clients per second, by source region and by target region."""

    leaving: dict[str, float]
    arriving: dict[str, float]

    def seconds(self, routes: Mapping[tuple[str, str], int]) -> float:
        """How long disconnecting everyone takes at least.

        Args:
            routes: `{(region, target): clients}`.
        """
        out: dict[str, int] = {}
        into: dict[str, int] = {}
        for (region, target), count in routes.items():
            out[region] = out.get(region, 0) + count
            into[target] = into.get(target, 0) + count
        busy = [count / self.leaving[region] for region, count in out.items()]
        busy += [count / self.arriving[region] for region, count in into.items()]
        return max(busy, default=0.0)


def pace(found: Mapping[str, Quotas], options: PaceOptions) -> Pace:
    """The pace that both regions' quotas allow, or less if the operator wants less."""
    leaving = {region: options.delete_connection_rate or quota.delete_connection for region, quota in found.items()}
    per_client = options.subscriptions_per_client
    arriving = {
        region: ARRIVAL_HEADROOM * min(quota.connect, quota.subscribe / per_client if per_client else quota.connect)
        for region, quota in found.items()
    }
    return Pace(leaving, arriving)
