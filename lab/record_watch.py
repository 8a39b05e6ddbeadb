"""Record a picture of the live view in the middle of a move from mode 1 to mode 3: docs/images/watch.svg.

Brings the lab up with CLIENTS light clients beside the devices, moves the fleet as `make drill` does, and keeps the
frame at which the regions shared it most evenly. Nothing in it is made up.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import threading
from pathlib import Path

from rich.console import Console
from rich.screen import Screen
from rich.terminal_theme import MONOKAI

from lab import drill, monitor, topology, watch
from lab.errors import LabError
from lab.load import control as load
from mqtt_monitor.watch import REFRESH_SECONDS, Watcher

PICTURE = topology.REPOSITORY / "docs" / "images" / "watch.svg"
WIDTH, HEIGHT = 110, 30
PUBLISH_INTERVAL = 1.0
CLIENTS = 150


class Recorder:
    """Looks at the fleet as the live view does, and keeps the best frame."""

    def __init__(self) -> None:
        self._watcher = Watcher(watch.configuration(), watch.REPORTS, watch.described())
        self._over = threading.Event()
        self._best = 0
        self.picture = ""
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(REFRESH_SECONDS):
            view = self._watcher.look()
            # The middle: as many clients here as there.
            worth = min(view.fleet.by_region().values())
            going_on = view.move is not None and not view.move.outcome and view.move.stage in ("sweep", "landing")
            if going_on and worth > self._best:
                self._best = worth
                console = Console(record=True, width=WIDTH, height=HEIGHT, file=io.StringIO(), force_terminal=True)
                console.print(Screen(view), end="")
                # Without the fonts that it would fetch from elsewhere.
                picture = console.export_svg(title="make watch", theme=MONOKAI)
                self.picture = re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL)


def record(picture: Path, clients: int, console: Console) -> None:
    """Make the picture.

    Raises:
        LabError: the lab did not come up, the move failed, or no frame showed it.
    """
    drill.prepare(console)
    load.start(clients, PUBLISH_INTERVAL, console.print)
    try:
        drill.move(console, drill.BEFORE)
        recorder = Recorder()
        try:
            drill.move(console, drill.AFTER)
        finally:
            recorder.stop()
    finally:
        load.stop(console.print)
    if not recorder.picture:
        raise LabError(f"picture: no client moved in {monitor.ledger_path()}: run it again")
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_text(recorder.picture, encoding="utf-8")
    console.print(f"{picture}: {len(recorder.picture) // 1024} KiB")


def main() -> int:
    """Record; return the exit code."""
    parser = argparse.ArgumentParser(prog="lab.record_watch", description=__doc__)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    options = parser.parse_args()
    try:
        record(options.picture, options.clients, Console(highlight=False, soft_wrap=True, markup=False))
    except LabError as error:
        sys.stderr.write(f"record_watch: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
