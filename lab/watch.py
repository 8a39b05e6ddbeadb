"""The lab's fleet as a live view: what `make watch` shows, beside a `make drill` in another terminal."""

from __future__ import annotations

import sys

from lab import monitor, supervisor, topology
from lab.errors import LabError
from mqtt_fleet.config import ConfigError
from mqtt_monitor import watch
from mqtt_monitor.config import MonitorConfig, load

REPORTS = topology.REPOSITORY / "reports"


def configuration() -> MonitorConfig:
    """Return the configuration of the lab's monitor.

    Raises:
        LabError: the lab is not up.
    """
    path = topology.state_directory() / "monitor.json"
    if not (path.exists() and supervisor.is_running()):
        raise LabError("the lab is not up: run 'make lab' here, or 'make drill' in another terminal, then this again")
    return load(path)


def described() -> dict[str, str]:
    """Per client ID, its library and its endpoint."""
    return {device.client_id: f"{device.library} {device.endpoint}" for device in monitor.devices()}


def main() -> int:
    """Watch until Ctrl-C; return the exit code."""
    try:
        return watch.run(configuration(), REPORTS, described())
    except (LabError, ConfigError) as error:
        sys.stderr.write(f"watch: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
