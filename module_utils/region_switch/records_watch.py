"""Looking at one's own records while a move waits for DNS: who else changes them is to blame, and no name server."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

from . import route53
from .aws import Aws
from .errors import AwsError, RecordsChangedError, RefusedError
from .route53 import Record, plain
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
    """Reads one record after the other, seldom.

    Args:
        expected: `{name: host name}`, what this run has switched them to, or found.
    """

    def __init__(self, aws: Aws, zone: str, expected: Mapping[str, str], runtime: Runtime = MACHINE) -> None:
        self._aws = aws
        self._zone = zone
        self._expected = {name: plain(value) for name, value in expected.items()}
        self._names = cycle(self._expected)
        self._runtime = runtime
        self._due = runtime.monotonic() + PAUSE

    def look(self) -> None:
        """Read one record where it is time for that.

        Raises:
            RecordsChangedError: it is not what it should be; names all that are not.
            AwsError: Route 53 refuses to be read.
        """
        if self._runtime.monotonic() < self._due:
            return
        self._due = self._runtime.monotonic() + PAUSE
        name = next(self._names, None)
        if name is not None and self._wrong(self._read([name])):
            self.look_at_all()

    def look_at_all(self) -> None:
        """Read every record.

        Raises:
            RecordsChangedError, AwsError: as `look`.
        """
        found = self._read(list(self._expected))
        if not (wrong := self._wrong(found)):
            return
        shown = ", ".join(f"{name} = {record.value if (record := found[name]) else 'no record'}" for name in wrong)
        targets = ", ".join(sorted({self._expected[name] for name in wrong}))
        values = {name: record.value if record else None for name, record in found.items()}
        raise RecordsChangedError(_changed(f"{shown}, expected {targets}"), values)

    def _read(self, names: list[str]) -> dict[str, Record | None]:
        try:
            return route53.read_records(self._aws.route53, self._zone, names)
        except AwsError as error:
            # Route 53 that does not answer says nothing against the records.
            if error.temporary:
                return {}
            raise
        except RefusedError as error:
            raise RecordsChangedError(_changed(str(error).partition(": replace")[0])) from error

    def _wrong(self, found: Mapping[str, Record | None]) -> list[str]:
        return [name for name, record in found.items() if record is None or record.value != self._expected[name]]
