"""Programs on the devices that hand messages to the client, and what became of every message.

The truth comes from both ends: what the client's socket said it had taken, noted on the device, and what the monitor
saw arrive at the brokers.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from lab import device, monitor, topology
from lab.topology import Node
from region_switch.record import ledger

from .conftest import wait_for

SERVICE = "mqtt-client"
# On the devices: the program that produces, and its records.
FOLDER = "/var/lib/producer"
PROGRAM = Path(__file__).with_name("producer.py")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Device:
    """A device, and the client on it."""

    node: Node
    client_id: str
    library: str

    def ssh(self, command: str, timeout: float = 60.0) -> str:
        return device.ssh(self.node, command, timeout=timeout).strip()

    def path(self, path: str) -> Path:
        """Where this machine sees a file of the device."""
        return device.directory(self.node) / "merged" / path.lstrip("/")

    def service(self, attribute: str) -> str:
        """What systemd says of the client, such as its MainPID."""
        return self.ssh(f"systemctl show --property={attribute} --value {SERVICE}")


def devices() -> list[Device]:
    """The devices of the lab, in the inventory's order."""
    clients = zip(topology.DEVICES, monitor.devices(), strict=True)
    return [Device(node, client.client_id, client.library) for node, client in clients]


def on_each(ask: Callable[[Device], Result]) -> list[Result]:
    """Do the same on all devices at once."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(ask, devices()))


@dataclass(frozen=True)
class Record:
    """What a producer noted: sequence by its own number of what was accepted, and what was said of what was refused."""

    accepted: dict[int, int]
    refused: list[str]


def read_record(path: Path) -> Record:
    accepted, refused = {}, []
    # Without what follows the last end of a line: it may be half of one.
    for line in path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else ():
        number, result, *text = line.split(" ", 2)
        if result == "refused":
            refused.append(" ".join(text))
        else:
            accepted[int(number)] = int(result)
    return Record(accepted, refused)


@dataclass
class Producers:
    """Programs on all devices that hand over numbered messages."""

    names: list[str] = field(default_factory=list)

    def start(self, rate: float, size: int = 0) -> str:
        """Start one more on each device; return its name.

        Args:
            rate: messages per second and device.
            size: bytes that each has beside its number.
        """
        name = f"producer-{len(self.names) + 1}"
        self.names.append(name)
        on_each(
            lambda each: each.ssh(
                f"systemd-run --quiet --collect --unit={name} "
                f"python3 {FOLDER}/producer.py --rate {rate} --size {size} --record {FOLDER}/{name}"
            )
        )
        return name

    def stop(self, *names: str) -> None:
        """Let them end, each message answered."""
        on_each(lambda each: each.ssh(f"systemctl stop {' '.join(names or self.names)} 2>/dev/null || true", 120))

    def record(self, each: Device, name: str) -> Record:
        return read_record(each.path(f"{FOLDER}/{name}"))

    def accepted(self, each: Device) -> set[int]:
        """Sequences of every message that the client has said it keeps."""
        return {sequence for name in self.names for sequence in self.record(each, name).accepted.values()}

    def refused(self, each: Device) -> list[str]:
        return [text for name in self.names for text in self.record(each, name).refused]

    def wait_for_more(self, number: int) -> None:
        """Wait until each device's client has accepted so many more messages."""
        before = {each: len(self.accepted(each)) for each in devices()}
        for each, count in before.items():
            wait_for(
                f"{each.client_id}: {number} more messages accepted",
                lambda each=each, count=count: len(self.accepted(each)) >= count + number,  # type: ignore[misc]
            )


@contextmanager
def producers() -> Iterator[Producers]:
    """Room for producers on the devices; afterwards there are none, and the room is gone."""
    for each in devices():
        folder = each.path(FOLDER)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        shutil.copy(PROGRAM, folder)
    made = Producers()
    try:
        yield made
    finally:
        on_each(lambda each: each.ssh("systemctl kill -s KILL 'producer-*.service' 2>/dev/null || true"))
        for each in devices():
            shutil.rmtree(each.path(FOLDER))


def arrived(client_id: str, since: float) -> set[int]:
    """Sequences of a client's messages that a broker has had."""
    return _distinct("sequence", client_id, since)


def streams(client_id: str, since: float) -> set[str]:
    """Outboxes that a client's messages were from."""
    return _distinct("stream", client_id, since)


def _distinct(column: str, client_id: str, since: float) -> set[Any]:
    query = f"SELECT DISTINCT {column} FROM message WHERE client_id = ? AND arrived_at >= ?"  # noqa: S608
    return {value for (value,) in _ask_ledger(query, client_id, since)}


def _ask_ledger(query: str, *parameters: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{monitor.ledger_path()}?mode=ro", uri=True, timeout=10)) as connection:
        return connection.execute(query, parameters).fetchall()


@dataclass(frozen=True)
class Proof:
    """What became of one client's messages: none was lost.

    Attributes:
        accepted: of those that programs on the device handed over.
        refused: of those, with an answer that said so.
        sent: numbers of the stream, the client's own messages included.
        duplicated: arrivals beyond the first of a number.
    """

    client_id: str
    library: str
    accepted: int
    refused: int
    sent: int
    duplicated: int


def prove(made: Producers, since: float, timeout: float = 60.0, in_order: bool = True) -> list[Proof]:
    """Wait until everything that was accepted has arrived; fail the test where something is lost or out of order.

    Args:
        since: epoch seconds; before the first producer was started.
        in_order: whether one broker saw it all, so that arrivals can be out of order only by the client's fault.
    """
    made.stop()
    return [_prove(each, made, since, timeout, in_order) for each in devices()]


def _prove(each: Device, made: Producers, since: float, timeout: float, in_order: bool) -> Proof:
    accepted = made.accepted(each)
    assert accepted
    for name in made.names:
        in_turn = sorted(made.record(each, name).accepted.items())
        assert in_turn == sorted(in_turn, key=lambda pair: pair[1]), f"{each.client_id}: numbered in another order"
    # A message that was forgotten leaves its number to another.
    records = [made.record(each, name).accepted for name in made.names]
    assert sum(map(len, records)) == len(accepted), f"{each.client_id}: a number was given twice"
    wait_for(
        f"{each.client_id} ({each.library}): arrival of all {len(accepted)} accepted messages",
        lambda: accepted <= arrived(each.client_id, since),
        timeout,
    )
    counts = wait_for(f"{each.client_id}: no hole in its numbers", lambda: _without_hole(each, since), timeout)
    assert not (in_order and counts.reordered), f"{each.client_id}: {counts.reordered} out of order"
    assert len(streams(each.client_id, since)) == 1, f"{each.client_id}: not the outbox it had"
    return Proof(each.client_id, each.library, len(accepted), len(made.refused(each)), counts.sent, counts.duplicated)


def _without_hole(each: Device, since: float) -> ledger.ClientMessages | None:
    counts = ledger.by_client(monitor.ledger_path(), since, time.time()).get(each.client_id)
    return counts if counts and not counts.lost else None


def most_behind(client_id: str, since: float) -> float:
    """The most seconds by which a message's own time was before that of its arrival."""
    query = "SELECT max(arrived_at - sent_at) FROM message WHERE client_id = ? AND arrived_at >= ?"
    return float(_ask_ledger(query, client_id, since)[0][0])


def tell(title: str, proofs: Sequence[Proof], capsys: pytest.CaptureFixture[str]) -> None:
    """Show the one who runs the tests what was counted."""
    lines = [
        f"{title}: {proof.client_id} ({proof.library}): {proof.accepted} accepted and {proof.refused} refused at the "
        f"socket; {proof.sent} numbers, 0 lost, {proof.duplicated} duplicates"
        for proof in proofs
    ]
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")
