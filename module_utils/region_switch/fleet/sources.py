"""The registry of sources, by the values of the option `discovery`."""

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
    """The source that `options.discovery` selects; arguments as for `FleetSource`."""
    return SOURCES[options.discovery](options, default_endpoint, endpoints)
