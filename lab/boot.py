"""Boot a device and stay until it is off: `python -m lab.boot DEVICE`.

Killing systemd-nspawn does not end the system it booted, so this process does: when it is told to
end, when systemd-nspawn ends, and before booting, for what an earlier one left. All three are
power cuts: nothing in the device is shut down properly.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from types import FrameType

from lab import cgroup, device, topology
from lab.errors import LabError


def main(name: str) -> int:
    """Run one device; return systemd-nspawn's exit code."""
    node = next((node for node in topology.DEVICES if node.name == name), None)
    if node is None:
        raise LabError(f"device {name}: not in the lab")

    signal.signal(signal.SIGTERM, _end)
    cgroup.end_processes(node.name)
    machine = subprocess.Popen(device.boot_command(node))
    try:
        return machine.wait()
    finally:
        # It may not have joined the group yet.
        machine.kill()
        cgroup.end_processes(node.name)
        machine.wait()


def _end(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except LabError as error:
        sys.exit(f"lab: {error}")
