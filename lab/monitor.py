"""The fleet's monitor in the lab: starting it, and reading its ledger."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab import programs, supervisor, topology
from lab.errors import LabError
from region_switch.record import ledger

READY_TIMEOUT = 60.0
INVENTORY = topology.REPOSITORY / "inventory" / "lab"


# Messages per client ID and region.
Arrivals = dict[str, dict[str, int]]


def ledger_path() -> Path:
    return topology.state_directory() / "ledger.sqlite"


def start() -> None:
    """Start the monitor and wait until it is subscribed in every region.

    Raises:
        LabError: it did not get that far within a minute.
    """
    supervisor.start_program(programs.MONITOR)
    deadline = time.monotonic() + READY_TIMEOUT
    wanted = {region.name for region in topology.REGIONS}
    while (found := subscribed_regions()) != wanted:
        if time.monotonic() > deadline:
            raise LabError(
                f"the monitor is subscribed in {sorted(found)}, expected {sorted(wanted)}: "
                f"see {topology.state_directory() / 'log' / 'monitor.log'}"
            )
        time.sleep(0.2)


def _rows(query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Return a query's rows; none while the ledger does not exist yet."""
    try:
        with closing(sqlite3.connect(f"file:{ledger_path()}?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(query, parameters).fetchall()
    except sqlite3.OperationalError:
        return []


def subscribed_regions() -> set[str]:
    """Regions in which the monitor's subscription is live."""
    return {region for (region,) in _rows("SELECT region FROM subscription WHERE since IS NOT NULL")}


def recent_arrivals(seconds: float) -> Arrivals:
    """The messages of the last seconds."""
    rows = _rows(
        "SELECT client_id, region, count(*) FROM message WHERE arrived_at > ? GROUP BY client_id, region",
        time.time() - seconds,
    )
    arrivals: Arrivals = {}
    for client_id, region, count in rows:
        arrivals.setdefault(client_id, {})[region] = count
    return arrivals


def latest_regions() -> dict[str, str]:
    """Per client ID, the region that its newest message arrived in."""
    rows = _rows(
        "SELECT client_id, region, max(arrived_at) FROM message WHERE arrived_at > ? GROUP BY client_id",
        time.time() - 30.0,
    )
    return {client_id: region for client_id, region, _ in rows}


@dataclass(frozen=True)
class Device:
    """A device of the lab's inventory, as its host variables describe it."""

    client_id: str
    library: str
    endpoint: str


def devices() -> list[Device]:
    """The devices of the lab's inventory."""
    hosts = yaml.safe_load((INVENTORY / "hosts.yml").read_text(encoding="utf-8"))
    edge = hosts["all"]["children"]["edge"]["hosts"].values()
    return [Device(host["mqtt_client_id"], host["mqtt_client_library"], host["mqtt_endpoint"]) for host in edge]


def gaps(before: str, after: str, since: float) -> dict[str, float]:
    """Per client ID, the seconds from its last message in the region of one mode to its first in another's.

    Args:
        since: epoch seconds; when the move began.
    """
    old, new = expected_regions(before), expected_regions(after)
    moved = {client_id: (old[client_id], new[client_id]) for client_id in old if old[client_id] != new[client_id]}
    tally = ledger.Tally(ledger_path(), since, moved)
    tally.update()
    return tally.gaps()


def expected_regions(mode: str) -> dict[str, str]:
    """Per client ID of the lab's inventory, the region that a mode sends it to."""
    fleet = yaml.safe_load((INVENTORY / "group_vars" / "all" / "fleet.yml").read_text(encoding="utf-8"))
    targets = fleet["failover_modes"][mode]
    return {device.client_id: targets[device.endpoint] for device in devices()}
