"""How long each client is silent when it is moved: ten moves between modes 1 and 3 in the lab.

Run by `make bench`. The gap is from the client's last message stored in the old region to its first
in the new one, so it includes the 100 ms between two messages.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections import defaultdict

from rich.console import Console
from rich.table import Table

from lab import drill, monitor, topology
from lab.errors import LabError

MOVES = 10


def main() -> int:
    console = Console(highlight=False, soft_wrap=True)
    try:
        drill.prepare(console)
        drill.move(console, drill.BEFORE)
        gaps, lost, seconds = _measure(console)
    except LabError as error:
        console.print(f"bench: {error}", style="red", markup=False)
        return 1
    libraries = {device.client_id: device.library for device in monitor.devices()}
    table = Table("client", "library", "moves", "gap p50", "gap max", title="seconds of silence per move")
    for client_id, values in sorted(gaps.items()):
        figures = (f"{statistics.median(values):.3f}", f"{max(values):.3f}")
        table.add_row(client_id, libraries[client_id], str(len(values)), *figures)
    console.print(table)
    console.print(f"lost: {lost} messages; command to proof: median {statistics.median(seconds):.1f} s")
    results = topology.REPOSITORY / "reports" / "bench-gap.json"
    figures_by_client = {client: {"library": libraries[client], "gaps": values} for client, values in gaps.items()}
    results.write_text(json.dumps({"clients": figures_by_client, "lost": lost, "seconds": seconds}, indent=2) + "\n")
    console.print(f"results: {results.relative_to(topology.REPOSITORY)}")
    return 0 if lost == 0 else 1


def _measure(console: Console) -> tuple[dict[str, list[float]], int, list[float]]:
    """Move there and back; return each client's gaps, the lost messages and each command's seconds."""
    gaps: dict[str, list[float]] = defaultdict(list)
    lost, seconds = 0, []
    before, after = drill.BEFORE, drill.AFTER
    for _ in range(MOVES):
        began = time.time()
        summary = drill.move(console, after)
        seconds.append(round(time.time() - began, 1))
        lost += summary["messages"]["lost"]
        for client_id, gap in monitor.gaps(before, after, began).items():
            gaps[client_id].append(round(gap, 3))
        before, after = after, before
    return gaps, lost, seconds


if __name__ == "__main__":
    sys.exit(main())
