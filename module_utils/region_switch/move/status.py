"""The current state of records, regions and runs. Reads only; a region that does not answer is shown as such."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..aws.clients import Aws, AwsClient, describe_data_endpoint
from ..dns.method import DnsMethod
from ..fleet import sources
from ..fleet.stream import stream
from ..model.cname import Record
from ..model.errors import AwsError, RefusedError, SwitchError, many
from ..model.modes import Modes
from ..model.names import region_of
from ..model.options import FleetOptions
from ..record import folder
from ..record.summary import SUMMARY
from . import lock


@dataclass(frozen=True)
class Place:
    """Where an endpoint's record points.

    Attributes:
        region: AWS Region, None where the record points at no region of the inventory.
        host: what the CNAME points at, None where there is no record.
    """

    region: str | None
    host: str | None


@dataclass(frozen=True)
class Region:
    """An AWS Region.

    Attributes:
        reachable: whether its API answers.
        error: why its host name or its clients are not known, None where both are.
        clients: `{endpoint: connected clients}`, the endpoint empty where a thing names none; None where not known.
    """

    reachable: bool
    error: str | None
    clients: dict[str, int] | None


@dataclass(frozen=True)
class Last:
    """The newest run that has ended; `outcome` and `mode` as in its summary.json."""

    run_id: str
    mode: str
    outcome: str
    finished_at: str
    report: str


@dataclass(frozen=True)
class Status:
    """What is.

    Attributes:
        mode: the mode that the records are as, None where they are as none.
        misplaced: connected clients of the endpoints in another region than their record's; only of regions that say
            who is connected there.
        running: the run in progress, in words; also if that is not known.
        odd: why it is not known where an endpoint's record points, by the endpoint: it is no simple CNAME, or Route 53
            does not answer. Such an endpoint has a place without region and host.
        notes: what is ignored in the folder of reports, and why.
    """

    mode: str | None
    endpoints: dict[str, Place]
    odd: dict[str, str]
    regions: dict[str, Region]
    misplaced: int
    running: str | None
    last: Last | None
    notes: list[str]


def read(aws: Aws, dns: DnsMethod, table: Modes, attribute: str, reports: Path) -> Status:
    """Read everything, each region for itself.

    Args:
        table: the normalised mode table.
        attribute: thing attribute that names a client's endpoint.
        reports: the folder of all runs; need not exist.

    Raises:
        SwitchError: the records cannot be read.
    """
    endpoints = list(next(iter(table.values())))
    # Made once, before the threads ask for them.
    probing, _ = aws.probing, aws.iot
    with ThreadPoolExecutor(max_workers=len(aws.regions) + 1) as pool:
        reading = pool.submit(_records, dns, endpoints)
        asked = pool.map(lambda region: _region(aws, probing[region], attribute), aws.regions)
        answers = dict(zip(aws.regions, asked, strict=True))
        records, odd = reading.result()
    regions = {region: found for region, (_, found) in answers.items()}
    hosts = {host: region for region, (host, _) in answers.items() if host}
    places = {name: _place(record, hosts, aws.regions) for name, record in records.items()}
    now = {name: place.region for name, place in places.items()}
    mode = next((name for name, targets in table.items() if targets == now), None)
    running, last, notes = _runs(reports)
    clear = {name: region for name, region in now.items() if name not in odd}
    return Status(mode, places, odd, regions, misplaced(regions, clear), running, last, notes)


def _records(dns: DnsMethod, names: Sequence[str]) -> tuple[dict[str, Record | None], dict[str, str]]:
    """The record of each name, and what those are that are no simple CNAME."""
    records: dict[str, Record | None] = {}
    odd: dict[str, str] = {}
    for name in names:
        try:
            records |= dns.read([name])
        except RefusedError as error:
            records[name], odd[name] = None, str(error)
        except AwsError as error:
            if not error.temporary:
                raise
            # It will not answer for the others either.
            return dict.fromkeys(names), dict.fromkeys(names, str(error))
    return records, odd


def _region(aws: Aws, probing: AwsClient, attribute: str) -> tuple[str | None, Region]:
    """The region's host name, and what it says of itself."""
    try:
        host = describe_data_endpoint(probing)
    except AwsError as error:
        return None, Region(reachable=error.throttled or not error.temporary, error=str(error), clients=None)
    counts: Counter[str] = Counter()
    try:
        for batch in stream(aws, [probing.region], sources.chosen(FleetOptions(endpoint_attribute=attribute))):
            counts.update(client.endpoint for client in batch)
    except SwitchError as error:
        return host, Region(reachable=True, error=str(error), clients=None)
    return host, Region(reachable=True, error=None, clients=dict(sorted(counts.items())))


def _place(record: Record | None, hosts: Mapping[str, str], regions: Sequence[str]) -> Place:
    if record is None:
        return Place(None, None)
    region = hosts.get(record.value) or region_of(record.value)
    return Place(region if region in regions else None, record.value)


def misplaced(regions: Mapping[str, Region], now: Mapping[str, str | None]) -> int:
    """How many clients of the endpoints are connected in another region than their record's."""
    return sum(
        count
        for region, found in regions.items()
        for endpoint, count in (found.clients or {}).items()
        if endpoint in now and now[endpoint] != region
    )


def _runs(reports: Path) -> tuple[str | None, Last | None, list[str]]:
    """The run in progress, the last one that ended, and what is ignored."""
    try:
        folder.check(reports)
        notes = folder.foreign(reports)
    except SwitchError as error:
        return "not known, see below", None, [str(error)]
    try:
        last = _last(reports)
    except SwitchError as error:
        return lock.current(reports / ".lock"), None, [*notes, str(error)]
    return lock.current(reports / ".lock"), last, notes


def _last(reports: Path) -> Last | None:
    """The run that reports/latest names; None where none has ended, or its summary cannot be read.

    Raises:
        UntrustedError: somebody else has made the link, the run's folder or its summary, or may write to it.
    """
    run = folder.latest(reports)
    if run is None:
        return None
    try:
        found = json.loads(folder.read_text(run / SUMMARY))
        run_id, mode, outcome, finished = (str(found[key]) for key in ("run_id", "mode", "outcome", "finished_at"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return Last(run_id, mode, outcome, finished, str(run.resolve()))


def lines(status: Status) -> list[str]:
    """The status as text: a table of endpoints and regions, then the run in progress and the last one."""
    rows = [("endpoint", "record points at", *status.regions)]
    for name, place in status.endpoints.items():
        where = place.region or (f"{place.host} (no region)" if place.host else "no record")
        where = "not clear, see below" if name in status.odd else where
        rows.append((name, where, *(_cell(found, name) for found in status.regions.values())))
    others = [_others(found, status.endpoints) for found in status.regions.values()]
    if any(others):
        rows.append(("no endpoint", "", *(str(count) for count in others)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    shown = [f"mode: {status.mode if status.mode is not None else 'none of the table'}"]
    shown += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    shown += dict.fromkeys(status.odd.values())
    shown += [f"{region}: {_trouble(found)}" for region, found in status.regions.items() if found.error]
    shown.append(f"misplaced: {many(status.misplaced, 'client')}{_unknown(status)}")
    shown.append(f"running: {status.running or 'no run'}")
    last = status.last
    shown.append(
        f"last run: {last.run_id}, mode {last.mode}: {last.outcome}, {last.finished_at}, report: {last.report}"
        if last
        else "last run: none has ended here"
    )
    return shown + status.notes


def _cell(region: Region, endpoint: str) -> str:
    if region.clients is None:
        return "unknown" if region.reachable else "no answer"
    return str(region.clients.get(endpoint, 0))


def _others(region: Region, endpoints: Mapping[str, Place]) -> int:
    return sum(count for name, count in (region.clients or {}).items() if name not in endpoints)


def _trouble(region: Region) -> str:
    return f"{'clients not known' if region.reachable else 'not reachable'}: {region.error}"


def _unknown(status: Status) -> str:
    unknown = [*status.odd, *(name for name, region in status.regions.items() if region.clients is None)]
    return f", not counting {', '.join(unknown)}" if unknown else ""
