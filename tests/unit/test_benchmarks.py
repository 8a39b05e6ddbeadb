"""What the pages say of speed is what was measured, and is counted right."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench import analysis, page, plots, results, tables
from tests.bench.brokers import CONNECTED, ENDED, KICKED, Event, RegionLog

OLD, NEW = "us-east-1", "ap-northeast-1"
BEFORE, TARGETS = {"c1": OLD, "c2": NEW}, {"c1": NEW, "c2": NEW}


def figures() -> dict[str, Any]:
    """Figures of every section, small enough to be read."""
    move = analysis.Move(
        landed=5.0, command=8.0, offline={"c1": 0.05}, silent={"c1": 0.2}, not_landed=0, bounced=0, needless=0,
        sent=100, lost=0, duplicated=0, calls={"DeleteConnection": 1}, throttled=0,
        phases=[{"name": "plan", "seconds": 1.0}, {"name": "sweep", "seconds": 2.5}],
    )  # fmt: skip
    slow = analysis.Move(**{**vars(move), "landed": 10.0, "offline": {"c1": 8.0}, "silent": {"c1": 9.0}, "lost": 80})
    stuck = analysis.Move(**{**vars(slow), "landed": None, "silent": {}, "not_landed": 1})

    def cells(size: int) -> list[dict[str, Any]]:
        made = [("plain", "ours", [move]), ("plain", "article", [slow]), ("clamp", "ours", [move])]
        return [
            {"clients": size, "condition": condition, "method": method, **analysis.summarise(found),
             "each": [each.as_dict() for each in found]}
            for condition, method, found in [*made, ("clamp", "article", [stuck])]
        ]  # fmt: skip

    machine = results.machine()
    sweep = {"calls": 1000, "told": 1000, "throttled": 0, "seconds": 10.1, "told_per_second": 98.9, "clients": 1000}
    return {
        **{f"moves_{size}": {"machine": machine, "cells": cells(size)} for size in tables.SIZES},
        "sweeps": {"machine": machine, "quota": 100.0, "cells": [{"method": "ours", **sweep}]},
        "gap": {"machine": machine, "lost": 0,
                "cells": [{"client": "c1", "library": "paho", "n": 20, "median": 0.16, "p95": 0.19}]},
        "curve": {"machine": machine,
                  "simulated": [{"clients": 10**6, "seconds": 600.0, "cpu": 360.0, "peak_mib": 92.0}],
                  "real": [{"clients": 100, "seconds": 9.0, "peak_mib": 90.0, "phases": move.phases}]},
        "fleet": {"machine": machine, "cells": [
            {"clients": 10**6, "direct": True, "told_twice": 7, "runs": [
                {"run": "killed", "told": 500_000, "calls": 10**6, "seconds": 200.0, "cpu": 150.0, "peak_mib": 93.4},
                {"run": "resumed", "told": 500_007, "calls": 10**6, "seconds": 250.0, "cpu": 200.0, "peak_mib": 92.0},
            ]},
        ]},
        "engine": {"machine": machine, "ways": {"engine": {
            "cpu_us": 275.4, "calls_per_cpu_second": 3631, "calls_per_second": 633, "cpu_to_floor": 0.654,
        }}},
        "overhead": {"machine": machine, "playbooks": {
            "setup.yml": {"seconds": 13.59, "cpu": 17.06, "seconds_to_start": 17.11, "cpu_to_start": 21.33}}},
        "herd": {"machine": machine, "outage": 600.0, "herds": [
            {"policy": policy, "clients": 1000, "quota": 100.0, "busiest": busiest, "back": back, "floor": 10.0,
             "refused": 0, "curve": [busiest] * 70}
            for policy, busiest, back in [("spread", 98, 11.5), ("at once", 1000, 14.0)]
        ]},
        "client": {"machine": machine,
                   "stored": [{"unanswered": 1000, "sqlite": 52422, "client": 16867, "share": 0.32}],
                   "drained": {"paho": {"sqlite": 9909, "client": 7503, "share": 0.76}},
                   "at_10_per_second": {"paho": {"rss_mib": 30.9, "cpu_percent": 1.52}}},
        "costs": {"machine": machine,
                  "flash": [{"kind": "none", "interval": 0, "bytes": 0, "flushes": 0.0},
                            {"kind": "heartbeat", "interval": 10.0, "bytes": 20_000, "flushes": 1.5}],
                  "log": [{"title": "flapping", "lines": 99, "bytes": 12_345, "all_lines": 172_800,
                           "all_bytes": 28_000_000}]},
    }  # fmt: skip


@pytest.mark.parametrize("path", page.PAGES, ids=lambda path: path.name)
def test_a_page_says_what_the_committed_figures_say(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == page.rendered(path, results.read())


@pytest.mark.parametrize("name", plots.PLOTS)
def test_a_plot_is_of_the_committed_figures(name: str) -> None:
    path = page.IMAGES / f"{name}.svg"

    assert plots.digest(results.read(), plots.PLOTS[name][1]) in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", plots.PLOTS)
def test_a_plot_shows_its_figures_and_changes_with_them(name: str) -> None:
    found, sections = figures(), plots.PLOTS[name][1]
    drawn = plots.render(name, found)
    assert drawn is not None
    assert "<svg" in drawn

    other = copy.deepcopy(found)
    other[next(key for key in other if key.startswith(sections))]["machine"]["date"] = "2000-01-01"
    assert plots.digest(other, sections) not in drawn
    assert plots.render(name, {}) is None


def test_tables_show_each_cell_and_the_ratio_to_the_article() -> None:
    found = figures()

    assert "| 2 | 1 + 1 | 0.20 s | 9.00 s | 45 × | 5.0 s | 10.0 s | 0 | 80 |" in tables.summary(found)
    assert "| 1,000 | 1 + 1 | 0.05 s | 8.00 s | 160 × |" in tables.summary(found)
    assert "| 100, resolver keeps answers 30 s | article | 1 | 8.00 s | 8.00 s | 1 | never | 1 |" in tables.moves(found)
    # Nothing of it ever arrived where it was to.
    assert "| 2, resolver keeps answers 30 s | article | 1 | never | never | 0 | never | 1 |" in tables.moves(found)
    assert "| 1000 | 1000 | 0 | 0 | 10.10 s | 98.9 | +1.0% |" in tables.sweeps(found)
    assert "| c1 | paho | 20 | 0.16 s | 0.19 s |" in tables.gaps(found)
    assert "| 1,000,000 | simulated, without botocore and quotas | 600.0 s | – | 10000.0 s | 0.36 ms | 92 MiB |" in (
        tables.curve(found)
    )
    assert "| 1,000,000 | left out | killed | 500,000 | 5000 | 0.30 ms | 93 MiB |  |" in tables.fleet(found)
    assert "| 1,000,000 | left out | resumed | 500,007 | 4000 | 0.40 ms | 92 MiB | 7 |" in tables.fleet(found)
    assert "| engine | 275 µs | 3631 | 633 | 0.65 × |" in tables.engine(found)
    assert "| 100 | spread | 98 | 0.98 × | 0 | 12 s | 1.15 × |" in tables.herd(found)
    assert "| setup.yml | 13.6 s | 17.1 s | 17.1 × | 21.3 × |" in tables.overhead(found)
    assert "| 1,000 | 52,422 | 16,867 | 0.32 |" in tables.client(found)
    assert "| paho | 9,909 | 7,503 | 0.76 | 30.9 MiB | 1.5 % of a core |" in tables.client(found)
    assert "| heartbeat, every 60 s | 20 kB | 1.50 | 28.8 MB | 2,160 |" in tables.costs(found)
    assert "| `heartbeat_interval` 60 | 1,440 messages | 144.0 million | $144.00 |" in tables.costs(found)
    assert "| connected | 1,440 minutes | 144.0 million | $11.52 |" in tables.costs(found)
    assert "| flapping | 99 | 12 | 172,800 | 28,000 | 1.23 GB |" in tables.costs(found)


@pytest.mark.parametrize("name", sorted({name for sections in page.PAGES.values() for name in sections}))
def test_each_table_names_its_machine_and_says_where_nothing_was_measured(name: str) -> None:
    found = figures()
    for render in (sections[name] for sections in page.PAGES.values() if name in sections):
        assert found["gap"]["machine"]["cpu"] in render(found)
        assert render({}) == tables.MISSING


def test_only_what_stands_between_a_sections_markers_is_written() -> None:
    text = "before\n<!-- bench a: begin -->\nold\n<!-- bench a: end -->\nafter\n"

    assert page.fill(text, "a", "new") == text.replace("old", "new")
    for broken in ("no markers", text.replace("end", "fin"), text + text):
        with pytest.raises(page.MarkerError, match=r"section a: found [02] times"):
            page.fill(broken, "a", "new")


def test_a_section_is_written_with_its_machine_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    results.write("one", {"cells": [1]}, path)
    results.write("two", {"cells": [2]}, path)
    results.write("one", {"cells": [3]}, path)

    found = json.loads(path.read_text())
    assert {name: section["cells"] for name, section in found.items()} == {"one": [3], "two": [2]}
    assert found["one"]["machine"]["cores"] > 0


def test_all_interruptions_of_a_client_are_added_up() -> None:
    events = [
        Event(1.0, OLD, "c1", KICKED),
        Event(3.0, OLD, "c1", CONNECTED),
        Event(4.0, OLD, "c1", ENDED),
        Event(4.5, NEW, "c1", CONNECTED),
        # One of a session without a connection, and an interruption that has no end.
        Event(5.0, OLD, "c1", KICKED),
        Event(6.0, NEW, "c2", KICKED),
    ]

    assert analysis.offline(events, BEFORE) == {"c1": 2.5}


def test_clients_that_go_back_or_are_disconnected_where_they_belong_are_counted() -> None:
    events = [
        Event(1.0, OLD, "c1", KICKED),
        Event(2.0, OLD, "c1", CONNECTED),
        Event(3.0, OLD, "c1", KICKED),
        Event(4.0, NEW, "c2", KICKED),
        Event(5.0, NEW, "c2", CONNECTED),
        Event(6.0, NEW, "c1", CONNECTED),
        Event(7.0, NEW, "c1", KICKED),
        # Told again while it is connected nowhere.
        Event(7.5, NEW, "c1", KICKED),
        Event(9.0, NEW, "c1", CONNECTED),
    ]

    assert analysis.bounced(events, BEFORE, TARGETS) == 1
    assert analysis.needless(events, BEFORE, TARGETS) == 2
    assert analysis.landed(events, {"c1": NEW, "c2": NEW}, TARGETS, began=0.5) == (8.5, 0)
    assert analysis.landed(events, {"c1": OLD}, TARGETS, began=0.5) == (None, 2)


def test_requests_are_counted_by_operation() -> None:
    calls = [{"operation": "DeleteConnection", "status": status} for status in (200, 429, 404)]

    assert analysis.count_calls([{"operation": "ListThings", "status": 200}, *calls]) == (
        {"DeleteConnection": 3, "ListThings": 1},
        1,
    )


def test_a_spread_says_how_many_values_it_is_of() -> None:
    assert analysis.spread([]) == {"n": 0, "median": None, "p95": None}
    assert analysis.spread([2.0]) == {"n": 1, "median": 2.0, "p95": 2.0}
    assert analysis.spread([float(value) for value in range(101)]) == {"n": 101, "median": 50.0, "p95": 95.0}


def test_a_broker_tells_clients_from_the_api_that_disconnects_them() -> None:
    log = RegionLog(OLD)
    stamp = "2026-11-25T01:00:00+0000: "
    lines = [
        "New client connected from 198.18.83.201:1 as c1 (p2, c1, k30).",
        "New client connected from unix as $DeleteConnection-0 (p2, c1, k60, u'DeleteConnection').",
        "Client c1 been disconnected by administrative action.",
        "Client $DeleteConnection-0 disconnected.",
        "New client connected from 198.18.83.201:2 as c1 (p2, c1, k30).",
        "Client c1 closed its connection.",
        "mosquitto says what has nothing to do with it",
    ]

    found = [log.take(stamp + line, float(at)) for at, line in enumerate(lines)]

    assert [event and (event.at, event.kind) for event in found] == [
        (0.0, CONNECTED), None, (2.0, KICKED), None, (4.0, CONNECTED), (5.0, ENDED), None,
    ]  # fmt: skip
