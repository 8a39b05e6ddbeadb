"""The command for messages that were set aside: shown, sent again, deleted; beside a client or without one."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mqtt_fleet import dead_letters
from mqtt_fleet.clock import Clock
from mqtt_fleet.dead_letter_table import DeadLetter
from mqtt_fleet.outbox import Message, Outbox

CLIENTS = Path(__file__).parent.parent.parent.parent / "clients"
BAD = "\x1b]0;title\x07" + "x" * 500


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """Of a client whose outbox holds 4 messages, and three dead letters: 1, 2 and 3."""
    outbox = Outbox(tmp_path / "outbox")
    for data, topic in ((BAD, "secret"), (b"\x00\xff", None), (None, None), *[("good", None)] * 4):
        outbox.put(1.8e9, data, topic)
    for message in outbox.after(0, 3):
        with outbox.transaction():
            outbox.set_aside(message, DeadLetter(message.sequence, 0x87, "PUBACK: denied\n", 1.8e9), 1 << 20)
    outbox.close()
    files = {"ca": "ca", "certificate": "crt", "private_key": "key", "outbox": "outbox"}
    path = tmp_path / "client.json"
    path.write_text(json.dumps({"client_id": "c", "endpoint": "e", "library": "paho", **files}))
    return path


def run(configuration: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mqtt_fleet.dead_letters", "--config", str(configuration), *arguments]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CLIENTS)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def stored(configuration: Path) -> list[Message]:
    outbox = Outbox(configuration.parent / "outbox")
    try:
        return outbox.after(0, 100)
    finally:
        outbox.close()


def test_list_shows_each_in_a_line_that_a_terminal_obeys_nothing_of(configuration: Path) -> None:
    ended = run(configuration, "list")
    assert (ended.returncode, ended.stderr) == (0, "")
    first, second, third = ended.stdout.splitlines()
    assert first.startswith(
        "1: topic 'secret', 516 bytes, stored 2027-01-15T08:00:00Z, set aside 2027-01-15T08:00:00Z, "
    )
    assert all(line.isprintable() and len(line) < 300 for line in (first, second, third))
    assert "(0x87)" in first
    assert second.endswith(r"data b'\x00\xff'")
    assert third.endswith("no data")
    assert run(configuration, "list", "2").stdout == second + "\n"


def test_send_puts_a_message_into_the_outbox_under_a_new_number(configuration: Path) -> None:
    ended = run(configuration, "send", "1", "2")
    assert (ended.returncode, ended.stdout) == (0, "1: is sent again as 8\n2: is sent again as 9\n")
    again = stored(configuration)[-2:]
    assert again == [Message(8, 1.8e9, BAD, "secret"), Message(9, 1.8e9, b"\x00\xff", None)]
    assert [line.split(":")[0] for line in run(configuration, "list").stdout.splitlines()] == ["3"]


def test_age_of_what_is_sent_again_begins_anew(configuration: Path) -> None:
    outbox = Outbox(configuration.parent / "outbox")
    clock = Clock()
    outbox.put(0.0, stored_at=1000.0)
    outbox.offset(clock.boot_id, clock.since_boot())
    assert run(configuration, "send", "1").returncode == 0
    assert outbox.drop_stored_before(999.9) == 4
    assert [message.sequence for message in outbox.after(0, 10)] == [8, 9]
    outbox.close()


def test_delete_takes_what_is_named_or_all(configuration: Path) -> None:
    assert run(configuration, "delete", "2").stdout == "2: is deleted\n"
    assert run(configuration, "delete", "--all").stdout == "1: is deleted\n3: is deleted\n"
    assert run(configuration, "list").stdout == "no message was set aside\n"
    assert len(stored(configuration)) == 4


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["send", "1", "99"], 1, "99: no message with this number was set aside"),
        (["delete", "99"], 1, "99: no message"),
        (["send"], 2, "send: expected numbers, or --all"),
        (["delete", "--all", "1"], 2, "delete: expected numbers, or --all"),
        (["send", "one"], 2, "invalid int value"),
    ],
)
def test_wrong_arguments_change_nothing(configuration: Path, arguments: list[str], code: int, text: str) -> None:
    ended = run(configuration, *arguments)
    assert ended.returncode == code
    assert text in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(run(configuration, "list").stdout.splitlines()) == 3
    assert len(stored(configuration)) == 4


def test_outbox_without_room_takes_none_of_them(configuration: Path) -> None:
    content = json.loads(configuration.read_text())
    configuration.write_text(json.dumps({**content, "outbox_max_bytes": 1 << 20}))
    outbox = Outbox(configuration.parent / "outbox")
    outbox.put(0.0, "x" * (1 << 20))
    outbox.close()
    ended = run(configuration, "send", "--all")
    assert ended.returncode == 1
    assert "expected at most 1048576" in ended.stderr
    assert len(run(configuration, "list").stdout.splitlines()) == 3


def test_missing_outbox_is_named_and_not_made(configuration: Path) -> None:
    (configuration.parent / "outbox").unlink()
    ended = run(configuration, "list")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.count("\n") == 1
    assert "outbox is not there; $STATE_DIRECTORY" in ended.stderr
    assert not (configuration.parent / "outbox").exists()


def test_outbox_that_a_client_uses_alone_is_told_in_a_line(
    configuration: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dead_letters, "BUSY_SECONDS", 0.1)
    with closing(sqlite3.connect(configuration.parent / "outbox", isolation_level=None)) as client:
        client.execute("PRAGMA locking_mode=EXCLUSIVE")
        client.execute("BEGIN EXCLUSIVE")
        assert dead_letters.main(["--config", str(configuration), "send", "--all"], {}) == 1
    assert "the client uses it alone: stop its service" in capsys.readouterr().err


def test_file_that_is_no_outbox_is_told_in_a_line(configuration: Path) -> None:
    (configuration.parent / "outbox").write_text("nothing of the kind, and long enough to be looked at" * 100)
    ended = run(configuration, "list")
    assert ended.returncode == 1
    assert "cannot be used: file is not a database" in ended.stderr
