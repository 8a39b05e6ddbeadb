"""How long each client is silent when it is moved: moves between modes 1 and 3 in the lab.

Run by `make bench-gap`. The gap is from the client's last message stored in the old region to its first
in the new one, so it includes the 100 ms between two messages. Writes the section "gap" of docs/benchmarks.json.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict

from rich.console import Console

from lab import drill, monitor
from lab.errors import LabError

from . import analysis, page, results

MOVES = 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.gap", description=__doc__.splitlines()[0])
    parser.add_argument("--moves", type=int, default=MOVES, help=f"how many (default: {MOVES})")
    moves = parser.parse_args().moves
    console = Console(highlight=False, soft_wrap=True)
    try:
        drill.prepare(console)
        drill.move(console, drill.BEFORE)
        gaps, lost = _measure(console, moves)
    except LabError as error:
        console.print(f"bench: {error}", style="red", markup=False)
        return 1
    libraries = {device.client_id: device.library for device in monitor.devices()}
    cells = [
        {"client": client, "library": libraries[client], **analysis.spread(values), "each": values}
        for client, values in sorted(gaps.items())
    ]
    for cell in cells:
        console.print("{client} ({library}): {n} moves, gap median {median} s, p95 {p95} s".format(**cell))
    console.print(f"lost: {lost} messages")
    results.write("gap", {"lost": lost, "cells": cells})
    page.show_written()
    return 0 if lost == 0 else 1


def _measure(console: Console, moves: int) -> tuple[dict[str, list[float]], int]:
    """Move there and back; return each client's gaps and the lost messages."""
    gaps: dict[str, list[float]] = defaultdict(list)
    lost, before, after = 0, drill.BEFORE, drill.AFTER
    for _ in range(moves):
        began = time.time()
        lost += drill.move(console, after)["messages"]["lost"]
        for client_id, gap in monitor.gaps(before, after, began).items():
            gaps[client_id].append(round(gap, 3))
        before, after = after, before
    return gaps, lost


if __name__ == "__main__":
    sys.exit(main())
