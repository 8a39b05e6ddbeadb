"""Checks a run's own records while it waits for DNS: if somebody else changes them, no name server is to blame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import cycle

from ..dns.method import Differing, DnsMethod, UnusableRecordError, differing
from ..model.errors import RecordsChangedError
from ..model.names import plain
from .runtime import MACHINE, Runtime

# Route 53 takes five requests a second from an account, whoever sends them, and GetChange has two of them
# (https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DNSLimitations.html#limits-api-requests).
PAUSE = 2.0


def _changed(found: str) -> str:
    return (
        f"records changed by someone else while this run waited for DNS: found {found}; nothing was overwritten and "
        "nobody was disconnected since: find out who moves them and which mode is meant; to run this one again would "
        "undo it"
    )


class RecordsWatch:
    """Reads one record at a time, every PAUSE seconds.

    Args:
        expected: `{name: host name}`, as this run has switched or found them.
    """

    def __init__(self, dns: DnsMethod, expected: Mapping[str, str], runtime: Runtime = MACHINE) -> None:
        self._dns = dns
        self._expected = {name: plain(value) for name, value in expected.items()}
        self._names = cycle(self._expected)
        self._runtime = runtime
        self._due = runtime.monotonic() + PAUSE

    def look(self) -> None:
        """Read one record if it is due.

        Raises:
            RecordsChangedError: it is wrong; names all records that are.
            AwsError: Route 53 refuses to be read.
        """
        if self._runtime.monotonic() < self._due:
            return
        self._due = self._runtime.monotonic() + PAUSE
        name = next(self._names, None)
        if name is not None and self._differing([name]):
            self.look_at_all()

    def look_at_all(self) -> None:
        """Read every record.

        Raises:
            RecordsChangedError, AwsError: as `look`.
        """
        if not (others := self._differing(self._expected)):
            return
        shown = ", ".join(f"{name} = {value}" for name, value in others.wrong.items())
        targets = ", ".join(sorted({self._expected[name] for name in others.wrong}))
        raise RecordsChangedError(_changed(f"{shown}, expected {targets}"), others.found)

    def _differing(self, names: Iterable[str]) -> Differing | None:
        expected = {name: self._expected[name] for name in names}
        try:
            return differing(self._dns, expected)
        except UnusableRecordError as error:
            raise RecordsChangedError(_changed(str(error).partition(": replace")[0])) from error
