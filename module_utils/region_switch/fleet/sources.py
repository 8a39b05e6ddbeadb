"""The sources of clients by the name that the option `discovery` has for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..model.options import FleetOptions
from .client_list import ClientListSource
from .index import IndexSource
from .source import FleetSource
from .things import ThingsSource

SOURCES: Mapping[str, type[FleetSource]] = {
    "index": IndexSource,
    "things": ThingsSource,
    "clients": ClientListSource,
}


def chosen(options: FleetOptions, default_endpoint: str = "", endpoints: Collection[str] = ()) -> FleetSource:
    """The source that is chosen; arguments as of `FleetSource`."""
    return SOURCES[options.discovery](options, default_endpoint, endpoints)
