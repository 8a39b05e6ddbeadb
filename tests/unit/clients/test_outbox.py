"""The outbox: nothing stored is lost, numbers have no hole, order is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mqtt_fleet.outbox import Message, Outbox, OutboxError, payload

CLIENTS = Path(__file__).parent.parent.parent.parent / "clients"

# Prints each number once it is stored, until it is killed.
WRITER = """
import sys, time
from pathlib import Path
from mqtt_fleet.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]))
while True:
    sys.stdout.write(f"{outbox.put(time.time()).sequence}\\n")
    sys.stdout.flush()
"""


def sequences(outbox: Outbox, after: int = 0, limit: int = 1000) -> list[int]:
    return [message.sequence for message in outbox.after(after, limit)]


def test_messages_come_in_order_after_a_number(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    stored = [outbox.put(100.0 + number) for number in range(5)]
    assert [message.sequence for message in stored] == [1, 2, 3, 4, 5]
    assert outbox.after(0, 10) == stored
    assert sequences(outbox, after=2, limit=2) == [3, 4]


def test_acknowledged_message_leaves_in_any_order(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    for _ in range(4):
        outbox.put(0.0)
    outbox.remove([3, 1, 99])
    assert sequences(outbox) == [2, 4]
    assert len(outbox) == 2


def test_numbers_go_on_after_emptied_and_reopened(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    outbox.put(0.0)
    outbox.put(0.0)
    outbox.remove([1, 2])
    stream = outbox.stream
    outbox.close()
    reopened = Outbox(tmp_path / "outbox")
    assert reopened.stream == stream
    assert reopened.put(0.0).sequence == 3


def test_each_file_is_a_stream_of_its_own(tmp_path: Path) -> None:
    assert Outbox(tmp_path / "one").stream != Outbox(tmp_path / "two").stream


def test_killed_writer_loses_nothing_it_stored(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    said = []
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            env={**os.environ, "PYTHONPATH": str(CLIENTS)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout
        said += [int(writer.stdout.readline()) for _ in range(20)]
        writer.send_signal(signal.SIGKILL)
        said += [int(line) for line in writer.stdout.read().splitlines() if line]
        writer.wait()
        writer.stdout.close()
    kept = sequences(Outbox(path), limit=1_000_000)
    assert kept == list(range(1, len(kept) + 1))
    assert set(said) <= set(kept)


@pytest.mark.parametrize("content", [b"this is no database at all, but longer than a header" * 4])
def test_file_that_is_no_outbox_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "outbox"
    path.write_bytes(content)
    with pytest.raises(OutboxError, match=r"^outbox: "):
        Outbox(path)
    assert path.read_bytes() == content


def test_payload_names_client_stream_number_and_time() -> None:
    assert json.loads(payload("client_01", "ab12", Message(7, 1.5))) == {
        "client_id": "client_01",
        "stream": "ab12",
        "sequence": 7,
        "sent_at": 1.5,
    }
