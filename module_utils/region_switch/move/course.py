"""What a move talks to, and a run: its tools, and what it has done so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ..aws.clients import Aws
from ..dns import methods
from ..dns.method import DnsMethod
from ..fleet import sources
from ..fleet.roster import Roster
from ..fleet.source import FleetSource
from ..model.errors import RecordsChangedError
from ..model.findings import Finding
from ..model.options import Options
from ..record.journal import Journal, no_room
from ..record.summary import Summary
from .runtime import Runtime


@dataclass
class Services:
    """AWS, the endpoints' DNS, and where clients are found: made once for a run, from its options."""

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


@dataclass
class Course(Services):
    """The state of a run; each step of the move adds to it.

    Attributes:
        directory: the run's folder; earlier: that of the killed run which it resumes.
        make_room: frees the disk space reserved for the end of the run.
        wrote: whether anything was changed at AWS, or may have been.
        switched: whether records were; restored: whether they were put back.
        moved: whether every wave has landed; counted: whether the messages are.
        before: the records that were switched, as they were: `{endpoint: Record.raw}`.
        ttl: seconds for which resolvers may keep an old answer.
        homes: where the records point, as far as this run has read or changed them: `{endpoint: region}`.
        hosts: `{region: host name}`.
        notes: lines for the operator; findings: of the plan.
        gaps: `{client ID: seconds without messages}`; page: the page that was written.
    """

    journal: Journal
    roster: Roster
    summary: Summary
    directory: Path
    earlier: Path | None = None
    make_room: Callable[[], None] = no_room
    wrote: bool = False
    switched: bool = False
    restored: bool = False
    moved: bool = False
    paused: bool = False
    interrupted: bool = False
    counted: bool = False
    ttl: float = 0.0
    before: dict[str, Any] = field(default_factory=dict)
    homes: dict[str, str] = field(default_factory=dict)
    hosts: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    gaps: dict[str, float] = field(default_factory=dict)
    page: str = ""

    @property
    def started(self) -> float:
        """Epoch seconds; a run that resumes began before this process did."""
        return datetime.fromisoformat(self.summary.started_at).timestamp()

    def records_are_found(self, error: RecordsChangedError) -> None:
        """Count against the records as somebody else has left them."""
        hosts = {host: region for region, host in self.hosts.items()}
        self.homes |= {name: hosts.get(host or "", "") for name, host in error.found.items()}
