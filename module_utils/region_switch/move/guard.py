"""Checks during a sweep: the records stay as switched, and the target regions answer."""

from __future__ import annotations

from collections.abc import Iterable

from ..checks import probe
from ..checks.probe import ProbeError
from ..dns.method import DnsMethod, differing
from ..model.errors import RecordsChangedError, SwitchError
from .course import Services
from .survey import Plan
from .sweep import Guard, Witness

# A region whose endpoint fails is given up when no client has landed there for so long.
LOST_SECONDS = 30.0
PAUSE = 1.0


class TargetLostError(SwitchError):
    """A target region no longer answers."""


class LocalNetworkError(SwitchError):
    """This machine cannot reach the MQTT endpoints, which says nothing about the devices."""


def look_at_records(dns: DnsMethod, plan: Plan, when: str) -> None:
    """Check that the records are as the mode says.

    Args:
        when: for the error's text.

    Raises:
        RecordsChangedError: somebody else has changed them since they were read or switched.
    """
    if others := differing(dns, plan.expected):
        shown = ", ".join(f"{name} = {value}" for name, value in others.wrong.items())
        raise RecordsChangedError(
            f"records changed by someone else {when}: found {shown}, expected them as the mode says; nobody "
            "else is disconnected: find out who moves them, then run again",
            others.found,
        )


class RecordsGuard(Guard):
    """Checks the records, and the MQTT endpoints of target regions.

    Args:
        when: for the error's text.
        targets: the target regions; none where only the records are checked.
    """

    def __init__(self, services: Services, plan: Plan, when: str, targets: Iterable[str] = ()) -> None:
        self._dns = services.dns
        self._checks = services.options.checks
        self._resolvers = services.options.dns.resolvers
        self._runtime = services.runtime
        self._plan = plan
        self._when = when
        self._targets = sorted(set(targets))

    def look(self, witness: Witness) -> None:
        """Check everything once.

        Raises:
            RecordsChangedError: somebody else moves the records.
            TargetLostError: a target region does not answer, and no client lands there.
            LocalNetworkError: this machine reaches no endpoint, or not one that clients are connected to.
        """
        look_at_records(self._dns, self._plan, self._when)
        for region in self._targets:
            self._look_at_target(region, witness)

    def _look_at_target(self, region: str, witness: Witness) -> None:
        """Probe a region's endpoint; hold the sweep while it does not answer and no client lands there."""
        endpoint = next(name for name, target in self._plan.desired.items() if target == region)
        arrived, since = witness.arrived(region), self._runtime.monotonic()
        try:
            while (problem := self._problem(region, endpoint)) is not None:
                # Clients land, so it is this machine's route that is broken.
                if witness.arrived(region) > arrived or self.over:
                    return
                self.holding = True
                if self._runtime.monotonic() - since >= LOST_SECONDS:
                    raise self._lost_or_unreachable(region, endpoint, problem, witness)
                self._runtime.sleep(PAUSE)
        finally:
            self.holding = False

    def _problem(self, region: str, endpoint: str) -> ProbeError | None:
        """Why a region's endpoint answers on none of the ports; None where it answers on one.

        One that does is not lost; clients that do not land are seen anyway.
        """
        checks, first = self._checks, None
        own = (checks.probe_certificate, checks.probe_private_key)
        try:
            host = probe.locate(self._plan.targets[region], self._resolvers)
        except ProbeError as error:
            return error
        for port in checks.mqtt_ports:
            try:
                probe.handshake(host, port, endpoint, checks.ca_file, *own)
            except ProbeError as error:
                first = first or error
            else:
                return None
        return first

    def _lost_or_unreachable(self, region: str, endpoint: str, problem: ProbeError, witness: Witness) -> SwitchError:
        """Decide whether a region that did not answer for LOST_SECONDS is lost, or only unreachable from this
        machine."""
        found = f"its MQTT endpoint has not answered for {LOST_SECONDS:.0f} s ({problem.problem})"
        if witness.still_there(region):
            return LocalNetworkError(
                f"region {region}: {found}, while AWS says that clients are connected there: check this machine's "
                "route to it"
            )
        others = [other for other in self._plan.living if other != region]
        if others and all(self._problem(other, endpoint) for other in others):
            return LocalNetworkError(
                f"region {region}: {found}, nor has any other region's: check this machine's route to port "
                f"{' and '.join(map(str, self._checks.mqtt_ports))}"
            )
        return TargetLostError(f"region {region}: {found} during the sweep, and no client landed there meanwhile")
