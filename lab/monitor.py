"""The fleet's monitor in the lab: starting it, and reading its ledger."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lab import topology

READY_TIMEOUT = 60.0


class MonitorError(Exception):
    """The monitor does not run or does not see a region."""


@dataclass
class Arrivals:
    """How many messages of one client arrived in each region."""

    per_region: dict[str, int] = field(default_factory=dict)


def ledger_path() -> Path:
    return topology.state_directory() / "ledger.sqlite"


@contextmanager
def _ledger() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"file:{ledger_path()}?mode=ro", uri=True, timeout=10)
    try:
        yield connection
    finally:
        connection.close()


def start() -> None:
    """Start the monitor and wait until it is subscribed in every region.

    Raises:
        MonitorError: it did not get that far within a minute.
    """
    configuration = topology.state_directory() / "supervisord.conf"
    control = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(configuration)]
    subprocess.run([*control, "start", "monitor"], check=False, capture_output=True)
    deadline = time.monotonic() + READY_TIMEOUT
    wanted = {region.name for region in topology.REGIONS}
    while (found := subscribed_regions()) != wanted:
        if time.monotonic() > deadline:
            raise MonitorError(
                f"the monitor is subscribed in {sorted(found)}, expected {sorted(wanted)}: "
                f"see {topology.state_directory() / 'log' / 'monitor.log'}"
            )
        time.sleep(0.2)


def _rows(query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Return a query's rows; none while the ledger does not exist yet."""
    try:
        with _ledger() as ledger:
            return ledger.execute(query, parameters).fetchall()
    except sqlite3.OperationalError:
        return []


def subscribed_regions() -> set[str]:
    """Regions in which the monitor's subscription is live."""
    return {region for (region,) in _rows("SELECT region FROM subscription WHERE since IS NOT NULL")}


def recent_arrivals(seconds: float) -> dict[str, Arrivals]:
    """Per client ID, the messages of the last seconds by region."""
    rows = _rows(
        "SELECT client_id, region, count(*) FROM message WHERE arrived_at > ? GROUP BY client_id, region",
        time.time() - seconds,
    )
    arrivals: dict[str, Arrivals] = {}
    for client_id, region, count in rows:
        arrivals.setdefault(client_id, Arrivals()).per_region[region] = count
    return arrivals


def latest_regions() -> dict[str, str]:
    """Per client ID, the region that its newest message arrived in."""
    rows = _rows(
        "SELECT client_id, region, max(arrived_at) FROM message WHERE arrived_at > ? GROUP BY client_id",
        time.time() - 30.0,
    )
    return {client_id: region for client_id, region, _ in rows}


def expected_regions(mode: str) -> dict[str, str]:
    """Per client ID of the lab's inventory, the region that a mode sends it to."""
    inventory = topology.REPOSITORY / "inventory" / "lab"
    fleet = yaml.safe_load((inventory / "group_vars" / "all" / "fleet.yml").read_text(encoding="utf-8"))
    hosts = yaml.safe_load((inventory / "hosts.yml").read_text(encoding="utf-8"))
    targets = fleet["failover_modes"][mode]
    edge = hosts["all"]["children"]["edge"]["hosts"].values()
    return {host["mqtt_client_id"]: targets[host["mqtt_endpoint"]] for host in edge}
