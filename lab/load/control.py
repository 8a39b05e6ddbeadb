"""Starting and stopping the load, and asking for its status."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from lab import programs, supervisor, topology
from lab.errors import LabError
from lab.load import configuration
from lab.load.configuration import Status

# Beside the seconds that the first connections are spread over.
READY_TIMEOUT = 30.0

Say = Callable[[str], None]


def start(clients: int, publish_interval: float, say: Say) -> None:
    """Register the load's clients, connect them, and wait until all are connected.

    Raises:
        LabError: the lab is not up, AWS's stand-in refused, or they are not connected in time.
    """
    # The engine's package need not be installed for asking for the status.
    from lab.load import registry

    config = configuration.make(clients, publish_interval)
    if not (topology.REPOSITORY / "certs" / "ca.crt").exists():
        raise LabError("certs/ca.crt: no such file: run setup.yml first")
    _stop_program()
    os.environ.update(topology.aws_environment())
    began = time.monotonic()
    registry.register(clients, [region.name for region in topology.REGIONS], configuration.directory())
    say(f"{clients} clients registered after {time.monotonic() - began:.1f} s")
    configuration.write(config)
    supervisor.start_program(programs.LOAD)
    wait_until_connected(clients, READY_TIMEOUT + clients / config.connect_rate)
    if status := configuration.status():
        say(f"{describe(status)} after {time.monotonic() - began:.1f} s")


def stop(say: Say) -> None:
    """End the load and take its clients from the account; what is absent is ignored.

    Raises:
        LabError: the lab is not up, or AWS's stand-in refused.
    """
    from lab.load import registry

    _stop_program()
    os.environ.update(topology.aws_environment())
    registry.remove([region.name for region in topology.REGIONS], configuration.directory())
    say("load: stopped, and its clients removed from the account")


def _stop_program() -> None:
    supervisor.stop_program(programs.LOAD)
    (configuration.directory() / "status.json").unlink(missing_ok=True)


def wait_until_connected(clients: int, timeout: float) -> None:
    """Wait until so many clients are connected.

    Raises:
        LabError: they are not in time.
    """
    deadline = time.monotonic() + timeout
    while (found := sum(regions().values())) < clients:
        if supervisor.has_given_up(programs.LOAD) or time.monotonic() > deadline:
            log = topology.state_directory() / "log" / f"{programs.LOAD}.log"
            status = configuration.status()
            reasons = f" ({', '.join(sorted(status.failures))})" if status and status.failures else ""
            raise LabError(f"load: found {found} clients connected{reasons}, expected {clients}: see {log}")
        time.sleep(0.2)


def regions() -> dict[str, int]:
    """Return the connected clients by region, as they know it themselves."""
    names = {str(region.address): region.name for region in topology.REGIONS}
    status = configuration.status()
    return {names.get(address, address): number for address, number in status.connected.items()} if status else {}


def describe(status: Status) -> str:
    """Return the load's state in one line."""
    where = ", ".join(f"{number} in {region}" for region, number in sorted(regions().items())) or "none"
    line = f"load: {status.clients} clients, connected: {where}; {status.connects} connects"
    if status.sent:
        line += f"; {status.sent} messages sent, {status.sent - status.acknowledged} not acknowledged yet"
    if status.failures:
        line += f"; ended: {', '.join(f'{number} {reason}' for reason, number in sorted(status.failures.items()))}"
    return line


def show(say: Say) -> int:
    """Print the load's status; return 0 when all its clients are connected, else 1."""
    status = configuration.status()
    if status is None:
        say("load: does not run")
        return 1
    say(describe(status))
    return 0 if sum(regions().values()) == status.clients else 1
