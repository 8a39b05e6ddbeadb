"""The contract of a DNS method: how the endpoints' records are read, switched and restored.

A method object covers names that are changed together, with one set of credentials, such as those of one hosted zone.
Endpoints of several zones, or of several methods, have an object each: a change of one object is all or nothing, and
the caller has to plan for a stop between two of them.

A move uses these calls, the same for every method:

- Switch: `swap` with the records that move, each from what was read to `record` of its new host, and with those that
  stay, each to itself: two controllers that move different names of a table at the same time would otherwise leave a
  table that neither wanted.
- Undo: `swap` from the current records to what was read before the switch.
- Guard and watch: `differing`.
- Set-up: `swap` from nothing to `record`, and from a record to the same one with another TTL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..model.cname import Record
from ..model.errors import AwsError, RefusedError
from ..model.findings import Finding
from ..model.names import plain

Clock = Callable[[], float]
Sleep = Callable[[float], None]


@dataclass(frozen=True)
class Change:
    """The replacement of a record, if it is still exactly what was read.

    Attributes:
        before: the record as read; None where there was none, and still has to be none.
        after: the new record; the same as `before` for a record that stays.
    """

    before: Record | None
    after: Record


@dataclass(frozen=True)
class Zone:
    """A zone as the service describes it.

    Attributes:
        id: its ID at the service.
        name: lower case, no trailing dot; empty where the service did not say.
        private: whether only some networks query it.
        name_servers: those that answer for it; a private zone has none.
        delegations: `{endpoint: name below the zone that is delegated to other name servers}`.
        obstacles: settings of the zone that refuse, or may refuse, to replace the endpoints' records.
    """

    id: str
    name: str
    private: bool = False
    name_servers: Sequence[str] = ()
    delegations: Mapping[str, str] = field(default_factory=dict)
    obstacles: Sequence[Finding] = field(default_factory=list)


class UnusableRecordError(RefusedError):
    """A name has records that the method cannot switch.

    Attributes:
        what, expected, advice: the records found, those expected, and the remedy.
    """

    def __init__(self, name: str, what: str, expected: str, advice: str) -> None:
        self.what, self.expected, self.advice = what, expected, advice
        super().__init__(f"record {name}: found {what}, expected {expected}: {advice}")


class DnsMethod(Protocol):
    """The contract. `dns/methods.py` lists the implementations."""

    @property
    def needs(self) -> Sequence[str]:
        """The services that a change depends on, for the text of a plan."""

    @property
    def max_records(self) -> int:
        """How many records one `swap` may contain, including those that stay."""

    def read(self, names: Iterable[str], patiently: bool = False) -> dict[str, Record | None]:
        """Return each name's record, None where there is no record of any type.

        `Record.raw` is all that a `swap` has to compare, serialisable as JSON: it is stored in journals and tokens.

        Args:
            patiently: whether to retry while the service fails temporarily, because a switch depends on it.

        Raises:
            UnusableRecordError: a name that has other records.
            AwsError: the service refuses the read, or does not answer.
            SwitchError: an answer that cannot be read.
        """

    def kept(self, raw: Mapping[str, Any]) -> Record | None:
        """The record of a `Record.raw` from a journal; None where it is not of this method."""

    def record(self, name: str, value: str, ttl: int, read: Record | None = None) -> Record:
        """The record that points a name at a host.

        Args:
            ttl: in seconds.
            read: the record that it replaces, whose other settings it keeps.

        Raises:
            RefusedError: the method cannot point the name there.
        """

    def swap(self, changes: Sequence[Change], comment: str, or_others: bool = False) -> str | None:
        """Make all of the changes, or none if one record is no longer what was read.

        After a lost answer the records are read again. While the service is busy, the request is repeated.

        Args:
            changes: at most `max_records`.
            comment: their purpose, where the service stores one.
            or_others: whether the same records written by somebody else count as success. A caller that may have to
                restore the records needs to know that the change is its own.

        Returns:
            The ID of the change for `wait`; None when the records are as wanted although the answer was lost.

        Raises:
            RecordsChangedError: a record is no longer what was read; nothing was overwritten.
            AwsError: the service refuses the changes for another reason, or it is unknown whether they were made.
            SwitchError: an answer that cannot be read.
        """

    def wait(self, change: str, timeout: float, look: Callable[[], None] = lambda: None) -> None:
        """Return when the service reports the change on all its servers; `gate` queries the servers themselves.

        Args:
            timeout: in seconds.
            look: called at every poll; an exception of it ends the wait.

        Raises:
            NotConvergedError: the change is still pending at the timeout.
            AwsError: the service refuses the request, or still fails at the timeout.
        """

    def zone(self, names: Iterable[str]) -> Zone:
        """Read the zone that the names are in, and its name servers.

        Raises:
            AwsError: the service refuses the read, or does not answer.
            SwitchError: an answer that cannot be read.
        """

    def checks(self, records: Sequence[Record]) -> Mapping[str, Callable[[], list[Finding]]]:
        """Checks before a `swap` for reasons to refuse it: `{name of the check: the check}`.

        Checks change nothing, and may run in parallel. They raise AwsError where the service does not answer.
        """


@dataclass(frozen=True)
class Differing:
    """Records that differ from the expected ones.

    Attributes:
        wrong: `{name: host name, or "no record"}` of the records that differ.
        found: `{name: host name}` of all records, None where there is none.
    """

    wrong: Mapping[str, str]
    found: Mapping[str, str | None]


def differing(dns: DnsMethod, expected: Mapping[str, str]) -> Differing | None:
    """Compare records with `{name: host name}`; None where all are equal, or the service does not answer at present.

    Raises:
        UnusableRecordError: a name has other records.
        AwsError: the service refuses the read.
    """
    try:
        records = dns.read(expected)
    except AwsError as error:
        if error.temporary:
            return None
        raise
    found = {name: record.value if record else None for name, record in records.items()}
    wrong = {name: value or "no record" for name, value in found.items() if value != plain(expected[name])}
    return Differing(wrong, found) if wrong else None
