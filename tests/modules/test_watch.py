"""The live view as a program: at a terminal of its own, and where there is none."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from mqtt_monitor.ledger import Arrival, Ledger
from tests.terminal import Terminal

CLIENTS = Path(__file__).parent.parent.parent / "clients"
OLD, NEW = "us-east-1", "ap-northeast-1"
TIMEOUT = 30.0
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def configure(folder: Path) -> list[str]:
    """Write what the view needs and return its command."""
    regions = {region: {"host": f"{region}.example.com", "port": 8883} for region in (OLD, NEW)}
    paths = {name: str(folder / name) for name in ("ledger", "certificate", "private_key", "ca")}
    (folder / "monitor.json").write_text(json.dumps({**paths, "client_id": "fleet-monitor", "regions": regions}))
    (folder / "clients.json").write_text(json.dumps({"client_01": "paho mqtt1.example.com"}))
    arguments = ["--config", str(folder / "monitor.json"), "--reports", str(folder / "reports")]
    code = f"import sys; sys.path.insert(0, {str(CLIENTS)!r}); from mqtt_monitor.watch import main; sys.exit(main())"
    return [sys.executable, "-c", code, *arguments, "--clients", str(folder / "clients.json")]


def arrive(folder: Path, sequence: int, region: str) -> None:
    ledger = Ledger(folder / "ledger")
    now = time.time()
    ledger.add([Arrival("client_01", "ab12", sequence, region, now, now)])
    ledger.close()


def journal(folder: Path, *entries: dict[str, object]) -> None:
    run = folder / "reports" / "20261123T220000Z-mode3-aaaa"
    run.mkdir(parents=True, exist_ok=True)
    with (run / "journal.jsonl").open("a") as lines:
        lines.writelines(json.dumps({"at": "2026-11-23T22:00:00.000Z", **entry}) + "\n" for entry in entries)


def resize(terminal: Terminal, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def test_view_at_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    terminal = Terminal(configure(tmp_path), tmp_path)
    resize(terminal, 24, 80)

    def shows(text: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not (terminal.shows("") and text in (plain := ESCAPE.sub("", terminal.shown))):
            assert time.monotonic() < deadline, plain[-4000:]
            time.sleep(0.02)

    shows("there is no ledger")
    arrive(tmp_path, 1, OLD)
    shows("client_01 #1")
    shows("paho mqtt1.example.com")
    journal(tmp_path, {"step": "start", "mode": "3"}, {"step": "sweep", "clients": 1})
    shows("move to mode 3")
    arrive(tmp_path, 2, NEW)
    shows("client_01: us-east-1 → ap-northeast-1, gap")
    journal(tmp_path, {"step": "end", "outcome": "moved", "error": None})
    shows("moved, ")
    resize(terminal, 40, 140)
    shows("client_01  paho mqtt1.example.com")
    # The ledger is taken away and another one comes.
    for name in ("ledger", "ledger-wal", "ledger-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    terminal.shown = ""
    shows("there is no ledger")
    terminal.press(b"\x03")

    assert terminal.end() == 0
    # The screen as it was before, and its cursor.
    assert terminal.shown.rstrip().endswith("\x1b[?25h\x1b[?1049l")
    assert "Traceback" not in terminal.shown


def test_lines_without_a_terminal(tmp_path: Path) -> None:
    arrive(tmp_path, 1, OLD)
    process = subprocess.Popen(configure(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert "us-east-1 1 clients" in process.stdout.readline()
    arrive(tmp_path, 2, NEW)
    assert "client_01: us-east-1 → ap-northeast-1, gap" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    rest, complaints = process.communicate(timeout=TIMEOUT)

    assert (process.returncode, complaints) == (0, "")
    assert "\x1b" not in rest


def test_reader_that_has_had_enough_ends_it(tmp_path: Path) -> None:
    arrive(tmp_path, 1, OLD)
    process = subprocess.Popen(configure(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    process.stdout.readline()
    process.stdout.close()
    arrive(tmp_path, 2, NEW)
    process.wait(TIMEOUT)

    assert process.returncode == 0
    assert process.stderr
    assert process.stderr.read() == ""


@pytest.mark.parametrize("missing", ["monitor.json", "clients.json"])
def test_configuration_that_cannot_be_used_is_one_line(tmp_path: Path, missing: str) -> None:
    command = configure(tmp_path)
    (tmp_path / missing).unlink()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)

    assert done.returncode == 2
    assert done.stderr.startswith(f"mqtt_monitor.watch: {tmp_path / missing}: ")
    assert done.stderr.count("\n") == 1


def test_monitor_starts_the_view(tmp_path: Path) -> None:
    configure(tmp_path)
    command = [sys.executable, "-m", "mqtt_monitor.monitor", "--watch", "--config", str(tmp_path / "monitor.json")]
    environment = {**os.environ, "PYTHONPATH": str(CLIENTS)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout
    assert "there is no ledger" in process.stdout.readline()
    process.send_signal(signal.SIGINT)

    assert process.wait(TIMEOUT) == 0
