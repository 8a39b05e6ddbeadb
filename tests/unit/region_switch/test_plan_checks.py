"""What is said of a plan, by the clock of its run."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from ansible.module_utils.region_switch.fleet.roster import Roster
from ansible.module_utils.region_switch.fleet.source import Connection
from ansible.module_utils.region_switch.model.options import Options
from ansible.module_utils.region_switch.model.plan import Move
from ansible.module_utils.region_switch.move import plan_checks
from ansible.module_utils.region_switch.move.course import Services
from ansible.module_utils.region_switch.move.runtime import Runtime
from ansible.module_utils.region_switch.move.survey import Plan

NAME, OLD, NEW = "mqtt1.example.com", "us-east-1", "ap-northeast-1"
ARRIVED = 1000.0


def test_how_long_nothing_arrived_goes_by_the_clock_of_the_run(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "ledger")) as ledger, ledger:
        ledger.execute("CREATE TABLE message (arrived_at REAL)")
        ledger.execute("CREATE TABLE subscription (region TEXT, since REAL)")
        ledger.execute("INSERT INTO message VALUES (?)", (ARRIVED,))
    options = Options.of({
        "modes": {}, "endpoints": [NAME], "regions": [OLD, NEW], "hosted_zone_id": "Z1", "preflight": False,
        "reports_directory": str(tmp_path), "ledger": str(tmp_path / "ledger"),
    })  # fmt: skip
    plan = Plan({NAME: NEW}, {}, {}, [Move(NAME, OLD, NEW)], {}, {}, 0, [])
    unused: Any = None

    def said(now: float) -> list[str]:
        services = Services(options, Runtime(now=lambda: now), unused, unused, unused)
        return [finding.found for finding in plan_checks.check(services, plan, roster)]

    with Roster(tmp_path / "clients.sqlite") as roster:
        roster.add([Connection("a", NAME, OLD, 1.0)], {NAME: NEW})
        assert said(ARRIVED + 60.0) == []
        assert said(ARRIVED + 600.0) == [f"nothing arrived in {tmp_path / 'ledger'} for 10 min"]
