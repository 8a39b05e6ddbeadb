"""What a DNS method is: how the endpoints' names are read, pointed elsewhere and put back, whatever answers for them.

A method object stands for names that are changed together, with one set of credentials, such as those of one hosted
zone. Endpoints of several zones, or of several methods, have an object each: a change of one object is all or none, and
what it means to stop between two of them is for the caller to plan.

What a move does with records is made of these few calls, for every method alike:

- Switch: `swap` with the records that move, each from what was read to `record` of its new host, and with those that
  stay, each to itself: two controllers that move different names of a table at the same time would otherwise leave a
  table that neither asked for.
- Undo: `swap` from what is now to what was read before the switch.
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
    """A record that becomes another one where it still is exactly what was read.

    Attributes:
        before: as it was read; None where there was none, and none may have come since.
        after: as it shall be; the same as `before` of a record that stays.
    """

    before: Record | None
    after: Record


@dataclass(frozen=True)
class Zone:
    """A zone as the service has it.

    Attributes:
        id: what the service knows it by.
        name: lower case, no trailing dot; empty where the service did not say.
        private: whether only some networks ask it.
        name_servers: those that answer for it; a private zone has none.
        delegations: `{endpoint: name below the zone whose records are other name servers'}`.
        obstacles: what in the zone itself refuses, or may refuse, that the endpoints' records are replaced.
    """

    id: str
    name: str
    private: bool = False
    name_servers: Sequence[str] = ()
    delegations: Mapping[str, str] = field(default_factory=dict)
    obstacles: Sequence[Finding] = field(default_factory=list)


class UnusableRecordError(RefusedError):
    """A name that has other records than the method can point elsewhere.

    Attributes:
        what, expected, advice: what it has, what it should have, and what to do.
    """

    def __init__(self, name: str, what: str, expected: str, advice: str) -> None:
        self.what, self.expected, self.advice = what, expected, advice
        super().__init__(f"record {name}: found {what}, expected {expected}: {advice}")


class DnsMethod(Protocol):
    """The contract. `dns/methods.py` has the methods that keep it, by the names that an inventory has for them."""

    @property
    def needs(self) -> Sequence[str]:
        """What has to be alive for a change, as a plan says it."""

    @property
    def room(self) -> int:
        """How many records one `swap` takes, those that stay included."""

    def read(self, names: Iterable[str], patiently: bool = False) -> dict[str, Record | None]:
        """Return where each name points, None where there is no record of any type.

        `Record.raw` is all that a `swap` has to compare, as data that JSON keeps: it goes into journals and tokens.

        Args:
            patiently: whether to try again while the service fails for a moment, since a switch depends on it.

        Raises:
            UnusableRecordError: a name that has other records.
            AwsError: the service refuses to be read, or does not answer.
            SwitchError: an answer that is none.
        """

    def kept(self, raw: Mapping[str, Any]) -> Record | None:
        """The record of a `Record.raw` that a journal has kept; None where it is none of this method."""

    def record(self, name: str, value: str, ttl: int, read: Record | None = None) -> Record:
        """The record that points a name at a host.

        Args:
            ttl: in seconds.
            read: the record that it takes the place of, of which it keeps the rest.

        Raises:
            RefusedError: the method cannot point the name there.
        """

    def swap(self, changes: Sequence[Change], comment: str, or_others: bool = False) -> str | None:
        """Make all of the changes, or none of them where one record is not what was read.

        An answer that got lost is settled by reading again. A service that is busy is waited for.

        Args:
            changes: of `room` records at most.
            comment: what they are for, where the service keeps that.
            or_others: whether it is as good that somebody else has written the very same meanwhile. Who may have to put
                the records back has to know that the change is theirs.

        Returns:
            What `wait` knows the change by; None when it proved to be made although no answer said so.

        Raises:
            RecordsChangedError: a record is not what it was read as; nothing was overwritten.
            AwsError: the service refuses the changes for another reason, or whether they were made is not known.
            SwitchError: an answer that is none.
        """

    def wait(self, change: str, timeout: float, look: Callable[[], None] = lambda: None) -> None:
        """Return when every server of the service has the change. Servers that are asked themselves are `gate`'s.

        Args:
            timeout: in seconds.
            look: called again and again meanwhile; what it raises ends the wait.

        Raises:
            NotConvergedError: it is still under way then.
            AwsError: the service refuses to be asked, or still fails then.
        """

    def zone(self, names: Iterable[str]) -> Zone:
        """Read the zone that the names are in, and which servers answer for it.

        Raises:
            AwsError: the service refuses to be read, or does not answer.
            SwitchError: an answer that is none.
        """

    def checks(self, records: Sequence[Record]) -> Mapping[str, Callable[[], list[Finding]]]:
        """What can be known before a `swap` of whether it would be refused: `{name of the check: the check}`.

        Checks change nothing, and may run side by side. They raise AwsError where they are not answered.
        """


@dataclass(frozen=True)
class Differing:
    """Records that are not as somebody left them.

    Attributes:
        wrong: `{name: host name, or "no record"}`, of those alone.
        found: `{name: host name}` of all, None where there is no record.
    """

    wrong: Mapping[str, str]
    found: Mapping[str, str | None]


def differing(dns: DnsMethod, expected: Mapping[str, str]) -> Differing | None:
    """Compare records with `{name: host name}`; None where all are so, or the service does not answer for now.

    A service that does not answer says nothing against the records.

    Raises:
        UnusableRecordError: a name has other records.
        AwsError: the service refuses to be read.
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
