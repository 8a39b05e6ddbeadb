"""The contract of a source of clients: how those that are connected in a region are found."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from ..aws.clients import Aws, AwsClient
from ..aws.quotas import Quotas
from ..model.findings import Finding
from ..model.names import plain
from ..model.options import FleetOptions

Check = Callable[[], list[Finding]]


@dataclass(frozen=True, slots=True)
class Connection:
    """An MQTT client that is connected in a region.

    Attributes:
        endpoint: the endpoint it uses, lower case, empty where nothing says so.
        connected_since: epoch seconds by AWS's clock, 0 where unknown.
    """

    client_id: str
    endpoint: str
    region: str
    connected_since: float


class FleetSource(Protocol):
    """A way of finding the connected clients; its name is a key of `sources.SOURCES` and a value of the option
    `discovery`.

    A source is a subclass that has `connected` and `known`; the rest is here as it is for one that needs nothing of a
    region but the clients' own requests, and nothing of the operator.

    Args:
        options: what the operator has chosen.
        default_endpoint: endpoint of clients of which nothing names one, empty for none.
        endpoints: a source may leave out clients of other endpoints; empty: of none.

    Attributes:
        lags: whether what it says may be some seconds old: that nobody is connected counts when it is read twice.
    """

    lags: ClassVar[bool] = False
    attribute: str
    default_endpoint: str
    endpoints: Collection[str]
    options: FleetOptions

    def __init__(self, options: FleetOptions, default_endpoint: str = "", endpoints: Collection[str] = ()) -> None:
        self.attribute = options.endpoint_attribute
        self.default_endpoint = plain(default_endpoint)
        self.endpoints = frozenset(plain(each) for each in endpoints)
        self.options = options

    def check(self) -> None:
        """Read what the operator has configured, before AWS is asked for anything.

        Raises:
            RefusedError: no client can be found with it.
        """
        return

    def connected(self, aws: Aws, region: str, limit: Quotas, stop: threading.Event) -> Iterator[Connection]:
        """Yield who is connected in a region, within its quotas and without ever holding the whole fleet.

        A client may come twice. The iterator is read by a thread of its own.

        Args:
            stop: is set when nobody reads on.

        Raises:
            AwsError: the region refuses, or does not answer.
            SwitchError: it answers what cannot be read.
            StoppedError: nobody reads on.
        """
        ...

    def known(self, aws: Aws, region: str) -> Iterator[tuple[str, str]]:
        """Yield `(client ID, endpoint or "")` of every device that could be connected in a region that does not
        answer, as far as another region, which is asked, and the operator know them.

        Raises:
            AwsError: the region refuses, or does not answer.
        """
        ...

    def listed(self) -> Iterator[tuple[str, str]]:
        """Yield `(client ID, endpoint or "")` of those whom the operator has named.

        Raises:
            RefusedError: names the first that is no client ID.
        """
        return iter(())

    def count(self, iot: AwsClient) -> int | None:
        """How many clients are connected in a region; None where one request does not tell.

        Raises:
            AwsError: the region refuses, or does not answer.
        """
        del iot
        return None

    def checks(self, iot: AwsClient, nobody: str, target: bool) -> Mapping[str, Check]:
        """What it needs of a region, and of the caller there, beside GetConnection: `{name of the check: the check}`.

        Checks change nothing, and may run side by side. They raise AwsError where they are not answered.

        Args:
            nobody: a client ID that no client has.
            target: whether clients are moved to this region.
        """
        del iot, nobody, target
        return {}

    def endpoint(self, thing: Mapping[str, Any]) -> str:
        """The endpoint that a thing names, or that of those which name none."""
        attributes = thing.get("attributes")
        found = attributes.get(self.attribute) if isinstance(attributes, Mapping) else None
        return (plain(found) if isinstance(found, str) else "") or self.default_endpoint

    @property
    def unmapped(self) -> str:
        """Why a connected client belongs to no endpoint."""
        return f"their things' attribute {self.attribute} names none of the endpoints"
