"""Faults of devices, struck while programs on them hand messages to the client; each ends with the proof of no loss.

Both devices, and so both libraries, are under the same fault at the same time.
"""

from __future__ import annotations

import json
import random
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from lab import device, network, topology

from .conftest import wait_for
from .device_messages import SERVICE, Device, Producers, Proof, arrived, devices, most_behind, on_each, producers, prove

STATE_DIRECTORY = "/var/lib/private/mqtt-client"
# On the devices: how far the client's clock is set back, and what makes it so.
CLOCK = "/var/lib/clock"
CLOCK_PROGRAM = Path(__file__).with_name("settable_clock.py")
BOOT_TIMEOUT = 120.0
# Messages on their way while everything is well.
FEW = 100


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
            with dead_regions():
                # So that not everything is at a broker that was accepted.
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


# Stays in the way of network-online.target: what waits for that does not start.
OFFLINE = "never-online.service"
OFFLINE_UNIT = """
[Unit]
Before=network-online.target
[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/bin/sleep infinity
"""


def boots_without_network() -> None:
    """Devices boot where there is no network: programs hand over messages at once, which arrive when there is one."""
    since = time.time()
    for each in devices():
        units = each.path("etc/systemd/system")
        (units / OFFLINE).write_text(OFFLINE_UNIT, encoding="ascii")
        wants = units / "network-online.target.wants"
        wants.mkdir(exist_ok=True)
        (wants / OFFLINE).symlink_to(f"../{OFFLINE}")
    try:
        for each in devices():
            network.set_link(each.node, up=False)
            device.cut_power(each.node)
        taken = {
            each.client_id: wait_for(f"{each.client_id}: an answer", partial(_hand_over, each)) for each in devices()
        }
    finally:
        for each in devices():
            network.set_link(each.node, up=True)
            units = each.path("etc/systemd/system")
            (units / "network-online.target.wants" / OFFLINE).unlink()
            (units / OFFLINE).unlink()
    for client_id, sequence in taken.items():
        wait_for(f"{client_id}: arrival", lambda c=client_id, n=sequence: n in arrived(c, since))  # type: ignore[misc]
    on_each(_wait_until_booted)
    on_each(lambda each: each.ssh("systemctl daemon-reload"))


def _hand_over(each: Device) -> int | None:
    """Hand a message to the client as a program on the device does, past the network; return its number."""
    for pid in network.processes(each.node):
        place = Path(f"/proc/{pid}/root/run/mqtt-client/messages.sock")
        with suppress(OSError), socket.socket(socket.AF_UNIX) as program:
            program.settimeout(5)
            program.connect(str(place))
            program.sendall(b'{"data": "without network"}\n')
            return int(json.loads(program.recv(4096))["sequence"])
    return None


@contextmanager
def dead_regions() -> Iterator[None]:
    """No region can be reached: packets vanish."""
    for node in topology.REGIONS:
        network.set_link(node, up=False)
    try:
        yield
    finally:
        for node in topology.REGIONS:
            network.set_link(node, up=True)


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


@contextmanager
def settable_clocks() -> Iterator[Callable[[float], None]]:
    """Yields what sets the clients' clocks: so many seconds before the devices', which is this machine's.

    It is Python's `time.time` that the service's processes see changed; the TLS libraries have the kernel's clock.
    """

    def restart_with(drop_in: str) -> None:
        on_each(lambda each: each.ssh(f"{drop_in} && systemctl daemon-reload && systemctl restart {SERVICE}"))

    def set_back(seconds: float) -> None:
        for each in devices():
            each.path(f"{CLOCK}/seconds.new").write_text(str(seconds), encoding="ascii")
            each.path(f"{CLOCK}/seconds.new").rename(each.path(f"{CLOCK}/seconds"))

    for each in devices():
        each.path(CLOCK).mkdir(exist_ok=True)
        shutil.copy(CLOCK_PROGRAM, each.path(f"{CLOCK}/sitecustomize.py"))
    set_back(0)
    folder = f"/run/systemd/system/{SERVICE}.service.d"
    # Beside the folder that the unit's own line names.
    path = f"$(systemctl show --property=Environment --value {SERVICE} | grep -o 'PYTHONPATH=[^ ]*'):{CLOCK}"
    restart_with(f"mkdir -p {folder} && printf '[Service]\\nEnvironment=%s\\n' {path} > {folder}/clock.conf")
    try:
        yield set_back
    finally:
        restart_with(f"rm {folder}/clock.conf")
        for each in devices():
            shutil.rmtree(each.path(CLOCK))


def clocks_set_back(seconds: float, rate: float) -> list[Proof]:
    """The clients' clocks are set back while messages come; one start is on that time, and they are set again."""
    with settable_clocks() as set_back, producers() as made:
        since = time.time()
        made.start(rate)
        made.wait_for_more(int(rate))
        set_back(seconds)
        made.wait_for_more(int(rate))
        _wait_for_heartbeats(made, since)
        on_each(lambda each: each.ssh(f"systemctl kill --signal=KILL {SERVICE}"))
        made.wait_for_more(int(rate))
        set_back(0)
        made.wait_for_more(int(rate))
        proofs = prove(made, since)
        for each in devices():
            assert most_behind(each.client_id, since) >= seconds
        return proofs


def _wait_for_heartbeats(made: Producers, since: float) -> None:
    """Wait until twenty messages of each client's own have arrived, which come by its clock."""

    def own(each: Device) -> int:
        return len(arrived(each.client_id, since) - made.accepted(each))

    before = {each: own(each) for each in devices()}
    for each, count in before.items():
        wait_for(f"{each.client_id}: heartbeats", lambda each=each, count=count: own(each) >= count + 20)  # type: ignore[misc]
