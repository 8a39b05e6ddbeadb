"""The source `things`: the registry's things, whose names are client IDs, each looked up by GetConnection."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..aws import quotas
from ..aws.clients import Aws
from ..aws.paced import Paced
from ..aws.quotas import Quotas
from ..model.errors import SwitchError, one_line
from . import client_ids
from .source import Connection, FleetSource
from .stream import asking, one_by_one

# https://docs.aws.amazon.com/iot/latest/apireference/API_ListThings.html: results per page.
PAGE_SIZE = 250


class ThingsSource(FleetSource):
    """Every thing of the registry with one of the endpoints in its attribute."""

    def connected(self, aws: Aws, region: str, limit: Quotas, stop: threading.Event) -> Iterator[Connection]:
        listing = asking(aws.iot[region], limit.list_things, stop)
        candidates = (each for each in _things(self, listing) if not self.endpoints or each[1] in self.endpoints)
        return one_by_one(aws, region, limit, stop, candidates)

    def known(self, aws: Aws, region: str) -> Iterator[tuple[str, str]]:
        return registered(self, aws, region)


def registered(source: FleetSource, aws: Aws, region: str) -> Iterator[tuple[str, str]]:
    """Yield `(client ID, endpoint or "")` of every thing of a region.

    All things are listed, because ListThings compares attributes case-sensitively.
    """
    return _things(source, asking(aws.iot[region], quotas.defaults(region).list_things))


def _things(source: FleetSource, listing: Paced) -> Iterator[tuple[str, str]]:
    pages: Iterable[list[Any]] = listing.pages("ListThings", "things", maxResults=PAGE_SIZE)
    for thing in (mapping(each) for page in pages for each in page):
        yield client_id_of(thing.get("thingName"), listing.region), source.endpoint(thing)


def client_id_of(found: object, region: str) -> str:
    """The client ID in an answer of AWS.

    Raises:
        SwitchError: it is not valid.
    """
    if isinstance(found, str) and client_ids.fault(found) is None:
        return found
    raise SwitchError(
        f"AWS IoT in {region}: found a client named {one_line(found)}, expected {client_ids.EXPECTED}: "
        "check the thing of this name, then run again"
    )


def mapping(found: object) -> Mapping[str, Any]:
    """An object in an answer of AWS, empty where it is not an object."""
    return found if isinstance(found, Mapping) else {}
