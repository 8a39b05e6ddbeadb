"""The contract of a source: how the clients that are connected in a region are found."""

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
        endpoint: the endpoint it uses, lower case, empty where unknown.
        connected_since: epoch seconds by AWS's clock, 0 where unknown.
    """

    client_id: str
    endpoint: str
    region: str
    connected_since: float


class FleetSource(Protocol):
    """A way of finding the connected clients; its name is a key of `sources.SOURCES` and a value of the option
    `discovery`.

    A source is a subclass that implements `connected` and `known`; the defaults of the rest suit one that needs nothing
    in a region but GetConnection, and no input from the operator.

    Args:
        options: the operator's choice.
        default_endpoint: endpoint of clients without one, empty for none.
        endpoints: a source may skip clients of other endpoints; empty: skip none.

    Attributes:
        lags: whether its answers may be some seconds old: an empty region is then read twice.
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
        """Check the operator's input before any request to AWS.

        Raises:
            RefusedError: no client can be found with it.
        """
        return

    def connected(self, aws: Aws, region: str, limit: Quotas, stop: threading.Event) -> Iterator[Connection]:
        """Yield the clients that are connected in a region, within its quotas and without loading the whole fleet.

        A client may come twice. The iterator is read by its own thread.

        Args:
            stop: is set when the result is no longer needed.

        Raises:
            AwsError: the region refuses, or does not answer.
            SwitchError: an answer that cannot be read.
            StoppedError: `stop` was set.
        """
        ...

    def known(self, aws: Aws, region: str) -> Iterator[tuple[str, str]]:
        """Yield `(client ID, endpoint or "")` of every client that could be connected in a region that does not answer,
        as known to the operator or to this other region.

        Raises:
            AwsError: the region refuses, or does not answer.
        """
        ...

    def listed(self) -> Iterator[tuple[str, str]]:
        """Yield `(client ID, endpoint or "")` of the clients that the operator has listed.

        Raises:
            RefusedError: names the first that is not a valid client ID.
        """
        return iter(())

    def count(self, iot: AwsClient) -> int | None:
        """How many clients are connected in a region; None where this takes more than one request.

        Raises:
            AwsError: the region refuses, or does not answer.
        """
        del iot
        return None

    def checks(self, iot: AwsClient, unused_id: str, target: bool) -> Mapping[str, Check]:
        """Checks of what it needs in a region in addition to GetConnection: `{name of the check: the check}`.

        Checks change nothing, and may run in parallel. They raise AwsError where AWS does not answer.

        Args:
            unused_id: a client ID that no client has.
            target: whether clients are moved to this region.
        """
        del iot, unused_id, target
        return {}

    def endpoint(self, thing: Mapping[str, Any]) -> str:
        """The endpoint in a thing's attribute, or the default."""
        attributes = thing.get("attributes")
        found = attributes.get(self.attribute) if isinstance(attributes, Mapping) else None
        return (plain(found) if isinstance(found, str) else "") or self.default_endpoint

    @property
    def unmapped(self) -> str:
        """Why a connected client belongs to no endpoint."""
        return f"their things' attribute {self.attribute} names none of the endpoints"
