"""What runs in the lab, and where."""

from __future__ import annotations

import sys
import time

from lab import programs, supervisor, topology


def show() -> int:
    """Print one line per program; return 0 when all that belong to the lab run, else 1."""
    known = {program.name: program for program in programs.all_programs(topology.state_directory())}
    healthy = True
    sys.stdout.write(f"{'PROGRAM':<26}{'STATE':<10}{'PID':>8}  {'UPTIME':>8}  ADDRESS\n")
    for status in supervisor.statuses():
        program = known.get(status.name)
        node = program.node if program else None
        runs = status.state == "RUNNING"
        healthy = healthy and (runs or program is None or not program.autostart)
        uptime = f"{time.time() - status.started_at:.0f} s" if runs else "-"
        address = str(node.address) if node else "controller"
        sys.stdout.write(f"{status.name:<26}{status.state:<10}{status.pid or '-':>8}  {uptime:>8}  {address}\n")
    return 0 if healthy else 1
