"""What is counted, as `systemctl status` and node_exporter show it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from mqtt_fleet.metrics import Metrics, write
from mqtt_fleet.notify import watchdog_interval
from mqtt_fleet.pace import Pace

LINE = re.compile(r'^mqtt_fleet_client_[a-z_]+\{client_id="[^"]*"(,reason="[a-z]+")?\} -?[0-9.e+]+$')


def filled() -> Metrics:
    return Metrics(
        connection="connected to 198.51.100.1:8883 since 2026-11-25T00:00:00Z",
        connected=True,
        acknowledged=7,
        last_acknowledged=1795569240.5,
        refused=Counter(full=2, topic=1),
        dropped=Counter(age=3),
        backlog=4,
    )


def test_status_is_one_line_that_begins_with_the_connection() -> None:
    assert filled().status() == (
        "connected to 198.51.100.1:8883 since 2026-11-25T00:00:00Z; backlog 4; acknowledged 7; "
        "last acknowledged 2026-11-25T01:14:00Z"
    )
    reason = Metrics(connection="not connected: two\nlines").status()
    assert reason == "not connected: two lines; backlog 0; acknowledged 0; last acknowledged never"


def test_every_metric_is_a_line_of_prometheus_with_help_and_type() -> None:
    lines = filled().render("client_01").splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    assert all(LINE.match(line) for line in samples)
    assert 'mqtt_fleet_client_refused_total{client_id="client_01",reason="full"} 2' in samples
    assert 'mqtt_fleet_client_last_acknowledged_timestamp_seconds{client_id="client_01"} 1795569240.5' in samples
    names = [re.split("[{ ]", line)[0] for line in samples]
    for name in set(names):
        kind = "counter" if name.endswith("_total") else "gauge"
        assert f"# TYPE {name} {kind}" in lines
        # Samples of one metric stand together.
        assert names.count(name) == len("".join("x" if each == name else " " for each in names).strip())


def test_file_is_replaced_whole_and_readable(tmp_path: Path) -> None:
    path = tmp_path / "client.prom"
    path.write_text("old")
    assert write(path, "new\n") is None
    assert path.read_text() == "new\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "client.prom"
    assert write(path, "x") == f"metrics_file: {path} cannot be written: No such file or directory"


def test_pace_spreads_what_may_leave_evenly() -> None:
    pace, left = Pace(100.0, now=0.0), 0
    for tick in range(1001):
        while pace.allowed(tick / 100):
            pace.take()
            left += 1
    # Ten seconds' worth, and what was there at first.
    assert left == 1000 + 10
    assert 10.0 < pace.next <= 10.01


def test_slow_pace_lets_one_leave_at_a_time() -> None:
    pace = Pace(1.0, now=0.0)
    assert pace.allowed(0.0) == 1
    pace.take()
    assert pace.allowed(0.5) == 0
    assert pace.next == 1.0
    assert pace.allowed(100.0) == 1


def test_pace_stands_still_while_its_clock_does() -> None:
    pace = Pace(100.0, now=50.0)
    for _ in range(pace.allowed(50.0)):
        pace.take()
    assert pace.allowed(10.0) == 0


def test_watchdog_is_told_twice_as_often_as_it_asks() -> None:
    assert watchdog_interval({"WATCHDOG_USEC": "30000000"}) == 15.0
    assert watchdog_interval({}) == float("inf")
    assert watchdog_interval({"WATCHDOG_USEC": "0"}) == float("inf")
    assert watchdog_interval({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}) == float("inf")
