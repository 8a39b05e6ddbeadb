"""Watching over a sweep: the records stay as they were switched, and the regions clients are sent to answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from . import probe, route53
from .aws import Aws
from .errors import AwsError, RecordsChangedError, SwitchError
from .evacuation import Guard
from .preflight import Settings
from .probe import ProbeError
from .survey import Plan

# A region is given up when its endpoint fails so often in a row.
TRIES = 3
PAUSE = 1.0


class TargetLostError(SwitchError):
    """The region that clients are sent to does not answer any more."""


class RecordsGuard(Guard):
    """Looks at Route 53 and at the MQTT endpoint of each region that takes clients in.

    Args:
        targets: the regions that clients are sent to.
    """

    def __init__(
        self,
        aws: Aws,
        settings: Settings,
        plan: Plan,
        targets: Iterable[str],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._aws = aws
        self._settings = settings
        self._plan = plan
        self._targets = sorted(set(targets))
        self._sleep = sleep

    def look(self) -> None:
        """Look once at everything.

        Raises:
            RecordsChangedError: somebody else moves the records.
            TargetLostError: a region that clients are sent to does not answer.
        """
        self._look_at_records()
        for region in self._targets:
            self._look_at_target(region)

    def _look_at_records(self) -> None:
        try:
            found = route53.read_records(self._aws.route53, self._settings.hosted_zone_id, list(self._plan.desired))
        except AwsError as error:
            # Route 53 that does not answer changes no record either.
            if error.temporary:
                return
            raise
        wrong = [
            f"{name} = {record.value if (record := found[name]) else 'no record'}"
            for name, region in self._plan.desired.items()
            if (record := found[name]) is None or record.value != self._plan.targets[region]
        ]
        if wrong:
            raise RecordsChangedError(
                f"records changed by someone else during the sweep: found {', '.join(wrong)}, expected them as they "
                "were switched; nobody else is disconnected: find out who moves them, then run again"
            )

    def _knock(self, region: str, endpoint: str) -> None:
        settings = self._settings
        host = probe.locate(self._plan.targets[region], settings.resolvers)
        own = (settings.probe_certificate, settings.probe_private_key)
        probe.handshake(host, settings.port, endpoint, settings.ca_file, *own)

    def _look_at_target(self, region: str) -> None:
        """Ask a region's endpoint; while it does not answer, nobody else is sent there."""
        endpoint = next(name for name, target in self._plan.desired.items() if target == region)
        try:
            for tries_left in reversed(range(TRIES)):
                try:
                    self._knock(region, endpoint)
                except ProbeError as error:
                    self.holding = True
                    if not tries_left:
                        raise TargetLostError(
                            f"region {region}: found no answer of its MQTT endpoint during the sweep ({error})"
                        ) from error
                    self._sleep(PAUSE)
                else:
                    return
        finally:
            self.holding = False
