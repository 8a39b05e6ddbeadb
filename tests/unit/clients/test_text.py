"""Text from outside leaves without what a terminal would obey, and not at any length."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from mqtt_fleet import client, log
from mqtt_fleet.metrics import Metrics
from mqtt_fleet.text import printable, shortened
from mqtt_monitor import monitor, watch

OBEYED = "\x1b[2J\x07\x08\x7f\r\n\x9b2J\u202e\u2066\u2028\ud800"


def test_text_is_printable_and_what_can_be_read_stays() -> None:
    assert printable("client_01 é 中 [red]") == "client_01 é 中 [red]"
    assert printable(OBEYED).isprintable()
    assert len(printable(OBEYED)) == len(OBEYED)


def test_text_is_shortened_at_its_end() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "ab…"


def test_line_of_the_log_is_ascii_and_bounded() -> None:
    record = logging.LogRecord("", logging.INFO, "", 0, "event", None, None)
    record.fields = {"reason": OBEYED + "é", "topic": "x" * 100_000, "bytes": 7}
    line = log.JsonFormatter().format(record)
    assert line.isprintable()
    assert line.isascii()
    assert len(line) < 2000
    assert json.loads(line)["reason"] == OBEYED + "é"


def test_status_for_the_service_manager_is_one_printable_line() -> None:
    # systemd takes the lines of a notification for assignments of their own.
    status = Metrics(connection=f"not connected: {OBEYED} STOPPING=1\nWATCHDOG=1").status()
    assert status.isprintable()


@pytest.mark.parametrize("main", [client.main, monitor.main, watch.main])
def test_key_of_a_configuration_is_told_as_text(
    main: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "configuration.json"
    names = ("ledger", "client_id", "certificate", "private_key", "ca")
    regions = {"regions": {"\x1b[2J\n": 7}, **dict.fromkeys(names, "x")}
    path.write_text(json.dumps({"\x1b[2J\n": 1} if main is client.main else regions))
    assert callable(main)
    before = logging.getLogger().handlers[:]
    assert main(["--config", str(path)]) == 2
    # What logs later in this process is not written to a stream that is closed by then.
    assert logging.getLogger().handlers == before
    told = capsys.readouterr().err
    assert told.endswith("\n")
    # A line for each problem.
    assert all(
        line.isprintable() and line.startswith(("mqtt_fleet.", "mqtt_monitor.")) for line in told[:-1].split("\n")
    )
