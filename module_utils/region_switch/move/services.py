"""What a move talks to: AWS, the endpoints' DNS, and where clients are found."""

from __future__ import annotations

from dataclasses import dataclass

from ..aws.clients import Aws
from ..dns import methods
from ..dns.method import DnsMethod
from ..fleet import sources
from ..fleet.source import FleetSource
from ..model.options import Options
from .runtime import Runtime


@dataclass
class Services:
    """Made once for a run, from its options."""

    options: Options
    runtime: Runtime
    aws: Aws
    dns: DnsMethod
    source: FleetSource


def connect(options: Options, runtime: Runtime) -> Services:
    """The services that a run's options name; asks none of them yet."""
    aws = Aws(options.inventory.regions)
    dns = methods.method(aws, options.inventory.hosted_zone_id, runtime.monotonic, runtime.sleep)
    unmapped = options.scope.unmapped_clients
    default = "" if unmapped in ("ignore", "refuse") else unmapped
    # To count clients without an endpoint, all have to be read.
    endpoints = [] if unmapped == "refuse" else options.inventory.endpoints
    return Services(options, runtime, aws, dns, sources.chosen(options.fleet, default, endpoints))
