"""Watching over a sweep: the records stay as they were switched, and the regions clients are sent to answer."""

from __future__ import annotations

from collections.abc import Iterable

from ..checks import probe
from ..checks.probe import ProbeError
from ..dns.method import DnsMethod, differing
from ..model.errors import RecordsChangedError, SwitchError
from ..model.options import Options
from .runtime import MACHINE, Runtime
from .survey import Plan
from .sweep import Guard, Witness

# A region whose endpoint fails is given up when nobody was seen to land in it for so long.
LOST_SECONDS = 30.0
PAUSE = 1.0


class TargetLostError(SwitchError):
    """The region that clients are sent to does not answer any more."""


class OwnWayError(SwitchError):
    """This machine does not reach the MQTT endpoints, which says nothing about the devices' way."""


def look_at_records(dns: DnsMethod, plan: Plan, when: str) -> None:
    """Look whether the records are as the mode says.

    Args:
        when: as the error says it.

    Raises:
        RecordsChangedError: somebody else has changed them since they were read or switched.
    """
    expected = {name: plan.targets[region] for name, region in plan.desired.items()}
    if others := differing(dns, expected):
        shown = ", ".join(f"{name} = {value}" for name, value in others.wrong.items())
        raise RecordsChangedError(
            f"records changed by someone else {when}: found {shown}, expected them as the mode says; nobody "
            "else is disconnected: find out who moves them, then run again",
            others.found,
        )


class TableGuard(Guard):
    """Looks at the records alone.

    Args:
        when: as its error says it.
    """

    def __init__(self, dns: DnsMethod, plan: Plan, when: str) -> None:
        self._dns, self._plan, self._when = dns, plan, when

    def look(self, _witness: Witness) -> None:
        """Look once.

        Raises:
            RecordsChangedError: somebody else moves the records.
        """
        look_at_records(self._dns, self._plan, self._when)


class RecordsGuard(Guard):
    """Looks at the records and at the MQTT endpoint of each region that takes clients in.

    Args:
        targets: the regions that clients are sent to.
    """

    def __init__(
        self,
        dns: DnsMethod,
        options: Options,
        plan: Plan,
        targets: Iterable[str],
        runtime: Runtime = MACHINE,
    ) -> None:
        self._dns = dns
        self._checks = options.checks
        self._resolvers = options.dns.resolvers
        self._plan = plan
        self._targets = sorted(set(targets))
        self._runtime = runtime

    def look(self, witness: Witness) -> None:
        """Look once at everything.

        Raises:
            RecordsChangedError: somebody else moves the records.
            TargetLostError: a region that clients are sent to does not answer, and nobody lands there.
            OwnWayError: this machine reaches no endpoint, or none where clients are.
        """
        look_at_records(self._dns, self._plan, "during the sweep")
        for region in self._targets:
            self._look_at_target(region, witness)

    def _knock(self, region: str, endpoint: str) -> None:
        checks = self._checks
        host = probe.locate(self._plan.targets[region], self._resolvers)
        own = (checks.probe_certificate, checks.probe_private_key)
        problems = []
        for port in checks.mqtt_ports:
            try:
                probe.handshake(host, port, endpoint, checks.ca_file, *own)
            except ProbeError as error:
                problems.append(error)
        # A region that answers on one of them is not lost; who does not land is seen.
        if len(problems) == len(checks.mqtt_ports):
            raise problems[0]

    def _look_at_target(self, region: str, witness: Witness) -> None:
        """Ask a region's endpoint; while it does not answer and nobody lands there, nobody else is sent there."""
        endpoint = next(name for name, target in self._plan.desired.items() if target == region)
        arrived, since = witness.arrived(region), self._runtime.monotonic()
        try:
            while (problem := self._problem(region, endpoint)) is not None:
                # Whoever lands has found the way: it is this machine's that is broken.
                if witness.arrived(region) > arrived or self.over:
                    return
                self.holding = True
                if self._runtime.monotonic() - since >= LOST_SECONDS:
                    raise self._whose_way(region, endpoint, problem, witness)
                self._runtime.sleep(PAUSE)
        finally:
            self.holding = False

    def _problem(self, region: str, endpoint: str) -> ProbeError | None:
        try:
            self._knock(region, endpoint)
        except ProbeError as error:
            return error
        return None

    def _whose_way(self, region: str, endpoint: str, problem: ProbeError, witness: Witness) -> SwitchError:
        """What a region that did not answer for LOST_SECONDS is: lost, or out of this machine's reach alone."""
        found = f"found no answer of its MQTT endpoint for {LOST_SECONDS:.0f} s ({problem.problem})"
        if witness.still_there(region):
            return OwnWayError(
                f"region {region}: {found}, while AWS says that clients are connected there: see to this machine's "
                "way to it"
            )
        others = [other for other in self._plan.living if other != region]
        if others and all(self._problem(other, endpoint) for other in others):
            return OwnWayError(
                f"region {region}: {found}, nor of any other region's: see to this machine's way to port "
                f"{' and '.join(map(str, self._checks.mqtt_ports))}"
            )
        return TargetLostError(f"region {region}: {found} during the sweep, and nobody landed there meanwhile")
