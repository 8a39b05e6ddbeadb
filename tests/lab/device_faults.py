"""Faults of devices, struck while programs on them hand messages to the client, and what became of every message.

The truth comes from both ends: what the client's socket said it had taken, noted on the device, and what the monitor
saw arrive at the brokers. Both devices, and so both libraries, are under the same fault at the same time.
"""

from __future__ import annotations

import random
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

from lab import device, monitor, region, topology
from lab.topology import Node
from region_switch import ledger

from .conftest import StandIn, failover, wait_for
from .moves import move_and_prove

SERVICE = "mqtt-client"
STATE_DIRECTORY = "/var/lib/private/mqtt-client"
# On the devices: the program that produces, and its records.
FOLDER = "/var/lib/producer"
PROGRAM = Path(__file__).with_name("producer.py")
BOOT_TIMEOUT = 120.0
# Every client changes its region between them.
BEFORE, AFTER = "1", "3"
# Messages on their way while everything is well.
FEW = 100
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
    with closing(sqlite3.connect(f"file:{monitor.ledger_path()}?mode=ro", uri=True, timeout=10)) as connection:
        return {value for (value,) in connection.execute(query, (client_id, since))}


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


def tell(title: str, proofs: Sequence[Proof], capsys: pytest.CaptureFixture[str]) -> None:
    """Show the one who runs the tests what was counted."""
    lines = [
        f"{title}: {proof.client_id} ({proof.library}): {proof.accepted} accepted and {proof.refused} refused at the "
        f"socket; {proof.sent} numbers, 0 lost, {proof.duplicated} duplicates"
        for proof in proofs
    ]
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")


def kill_clients(times: int) -> None:
    """SIGKILL at random moments: while a client starts, connects, or publishes; systemd starts it again."""

    def kill(each: Device) -> int:
        delays = " ".join(f"{random.uniform(0, 3):.2f}" for _ in range(times))
        before = int(each.service("NRestarts"))
        each.ssh(
            f"set -e; last=0; for delay in {delays}; do "
            f"until pid=$(systemctl show --property=MainPID --value {SERVICE}) && "
            '[ "$pid" != 0 ] && [ "$pid" != "$last" ]; do sleep 0.1; done; '
            'sleep "$delay"; kill -9 "$pid"; last=$pid; done',
            timeout=60 + 20 * times,
        )
        return wait_for(f"{each.client_id}: restart", lambda: each.service("ActiveState") == "active") and (
            int(each.service("NRestarts")) - before
        )

    assert on_each(kill) == [times] * len(devices())


def kills(times: int, rate: float) -> list[Proof]:
    """Clients are killed again and again while messages are handed over."""
    since = time.time()
    with producers() as made:
        made.start(rate)
        made.wait_for_more(1)
        kill_clients(times)
        made.wait_for_more(1)
        return prove(made, since, timeout=120)


def power_cuts(times: int, rate: float) -> list[Proof]:
    """Devices lose their power while they publish, and boot again."""
    since = time.time()
    with producers() as made:
        for _ in range(times):
            made.start(rate)
            made.wait_for_more(int(rate))
            on_each(lambda each: device.cut_power(each.node))
            on_each(_wait_until_booted)
        made.start(rate)
        made.wait_for_more(1)
        return prove(made, since, timeout=120)


def _wait_until_booted(each: Device) -> None:
    wait_for(
        f"{each.node.name}: boot",
        lambda: device.system_state(each.node) in ("running", "degraded"),
        BOOT_TIMEOUT,
    )


@contextmanager
def dead_regions() -> Iterator[None]:
    """No region can be reached: packets vanish."""
    for node in topology.REGIONS:
        region.kill(node.name)
    try:
        yield
    finally:
        for node in topology.REGIONS:
            region.revive(node.name)


def dead_regions_for(seconds: float, rate: float) -> list[Proof]:
    """Both regions are dead while messages are handed over; the backlog drains while others still are."""
    since = time.time()
    with producers() as made:
        steady = made.start(rate / 10)
        burst = made.start(rate - rate / 10)
        made.wait_for_more(1)
        with dead_regions():
            began = time.monotonic()
            wait_for("the outage to end", lambda: time.monotonic() - began >= seconds, seconds + 60)
            behind = [len(made.accepted(each) - arrived(each.client_id, since)) for each in devices()]
        # Every message was accepted all the while.
        assert min(behind) > 0.5 * seconds * rate, behind
        made.stop(burst)
        for each in devices():
            wait_for(
                f"{each.client_id}: backlog of {max(behind)} drained while new messages come",
                lambda each=each: len(made.accepted(each) - arrived(each.client_id, since)) < FEW,  # type: ignore[misc]
                timeout=120 + max(behind) / 20,
            )
        made.stop(steady)
        return prove(made, since, timeout=120)


@contextmanager
def small_disk(mebibytes: int) -> Iterator[None]:
    """The clients keep their outbox on a disk of their own, so small that it can be filled."""
    swap = f"systemctl stop {SERVICE} && {{}} && systemctl start {SERVICE}"
    mount = f"mount -t tmpfs -o size={mebibytes}m,mode=0700 tmpfs {STATE_DIRECTORY}"
    on_each(lambda each: each.ssh(swap.format(mount)))
    try:
        yield
    finally:
        on_each(lambda each: each.ssh(swap.format(f"umount {STATE_DIRECTORY}")))


def full_disk(seconds: float, rate: float) -> list[Proof]:
    """The disk is full, and the regions are dead, so that the outbox would have to grow."""
    with small_disk(mebibytes=8), producers() as made:
        since = time.time()
        made.start(rate, size=2000)
        made.wait_for_more(int(rate))
        pids = on_each(lambda each: each.service("MainPID"))
        with dead_regions():
            # Ends when nothing more fits.
            on_each(lambda each: each.ssh(f"cat /dev/zero > {STATE_DIRECTORY}/filler 2>/dev/null || true"))
            for each in devices():
                wait_for(
                    f"{each.client_id}: {seconds * rate:g} messages refused",
                    lambda each=each: len(made.refused(each)) >= seconds * rate,  # type: ignore[misc]
                    timeout=60 + 2 * seconds,
                )
        # Those that are kept leave all the same.
        for each in devices():
            kept = made.accepted(each)
            wait_for(
                f"{each.client_id}: arrival of what was accepted while the disk is full",
                lambda each=each, kept=kept: kept <= arrived(each.client_id, since),  # type: ignore[misc]
            )
        on_each(lambda each: each.ssh(f"rm {STATE_DIRECTORY}/filler"))
        made.wait_for_more(int(rate))
        proofs = prove(made, since, timeout=120)
        for each in devices():
            assert all(text.startswith("not stored: ") for text in made.refused(each))
        assert on_each(lambda each: each.service("MainPID")) == pids
        return proofs


def moves(
    fleet: dict[str, str], stand_in: StandIn, times: int, rate: float
) -> tuple[list[Proof], dict[str, list[float]]]:
    """The fleet moves to and fro while messages are handed over; returns also each client's gaps in seconds."""
    failover(BEFORE)
    since = time.time()
    gaps: dict[str, list[float]] = {client_id: [] for client_id in fleet}
    before, after = BEFORE, AFTER
    with producers() as made:
        made.start(rate)
        made.wait_for_more(1)
        for _ in range(times):
            began = time.time()
            move_and_prove(fleet, stand_in, after)
            for client_id, gap in monitor.gaps(before, after, began).items():
                gaps[client_id].append(gap)
            before, after = after, before
        # What is on its way to one region may arrive after what was sent to the other.
        return prove(made, since, in_order=False), gaps
