"""The source `clients`: clients that the operator lists, with or without a thing, each looked up by GetConnection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import chain

from ..aws import quotas
from ..aws.clients import Aws
from ..aws.paced import Paced
from ..aws.quotas import Quotas
from ..model.device_names import CLIENT_ID
from ..model.errors import RefusedError
from . import client_ids
from .source import Connection, FleetSource
from .stream import asking, one_by_one


class ClientListSource(FleetSource):
    """The options `client_ids` and `client_ids_file` (see `client_ids.read`)."""

    def check(self) -> None:
        """Read the whole list once.

        Raises:
            RefusedError: a client ID that is not valid, or an empty list.
        """
        if not sum(1 for _ in self.listed()):
            where = self.options.client_ids_file or "client_ids"
            raise RefusedError(f"{where}: found no client ID: name the clients")

    def listed(self) -> Iterator[tuple[str, str]]:
        file = self.options.client_ids_file
        named = client_ids.read(file, self.attribute) if file else ()
        return chain(client_ids.check(self.options.client_ids), named)

    def connected(self, aws: Aws, region: str, limit: Quotas, stop: threading.Event) -> Iterator[Connection]:
        describing = asking(aws.iot[region], limit.get_connection, stop)

        def endpoint_of(thing: str, endpoint: str) -> str:
            return endpoint or self._endpoint_of(describing, thing)

        return one_by_one(aws, region, limit, stop, self.listed(), endpoint_of)

    def known(self, aws: Aws, region: str) -> Iterator[tuple[str, str]]:
        describing = asking(aws.iot[region], quotas.defaults(region).get_connection)
        for client_id, endpoint in self.listed():
            yield client_id, endpoint or self._endpoint_of(describing, client_id)

    def _endpoint_of(self, describing: Paced, thing: str) -> str:
        found = describing.find("DescribeThing", thingName=thing) if CLIENT_ID.fullmatch(thing) else None
        return self.endpoint(found or {})

    @property
    def unmapped(self) -> str:
        return f"neither the list nor their things' attribute {self.attribute} names one of the endpoints"
