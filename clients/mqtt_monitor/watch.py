"""A live view of the fleet for a terminal: which messages arrive where, and how far the newest move is.

Reads the ledger that the monitor writes and the journals of a folder of reports; calls no API. Without a terminal
it prints a line whenever a client changes its region, and a summary every few seconds.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.live import Live

from mqtt_fleet.config import ConfigError, read_object
from mqtt_fleet.text import printable
from mqtt_monitor.config import MonitorConfig, load
from mqtt_monitor.watch_state import Change, Fleet, JournalFollower, LedgerFollower, Move, Region
from mqtt_monitor.watch_view import CONDITION_TEXT, View, change_text, clock

REFRESH_SECONDS = 0.25
SUMMARY_SECONDS = 5.0
CHANGES = 20
# Of the changes of one look, as many lines are printed without a terminal.
CHANGES_PRINTED = 10


class Watcher:
    """Reads the ledger and the journals on demand."""

    def __init__(self, config: MonitorConfig, reports: Path | None, described: Mapping[str, str]) -> None:
        self._fleet = Fleet({region.name: Region() for region in config.regions})
        self._ledger = LedgerFollower(config.ledger)
        self._journal = JournalFollower(reports)
        self._described = described
        self._changes: deque[Change] = deque(maxlen=CHANGES)
        self.fresh: list[Change] = []

    def look(self) -> View:
        """Read new entries and return the current view; `fresh` has the new changes."""
        now, problem = time.time(), ""
        self.fresh = []
        try:
            messages, live = self._ledger.read(now)
            self.fresh = self._fleet.take(messages)
            for name, subscribed in live.items():
                self._fleet.regions.setdefault(name, Region()).live = subscribed
        except OSError as error:
            problem = str(error)
        self._changes.extend(self.fresh)
        return View(self._fleet, self._journal.read(), self._described, problem, tuple(self._changes), now)


def show(watcher: Watcher, console: Console) -> None:
    """Draw until interrupted."""
    with Live(watcher.look(), console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(watcher.look(), refresh=True)
            time.sleep(REFRESH_SECONDS)


def print_lines(watcher: Watcher) -> None:
    """Print lines until interrupted."""
    summarised_at = 0.0
    while True:
        view = watcher.look()
        lines = [change_text(change).plain for change in watcher.fresh[:CHANGES_PRINTED]]
        if len(watcher.fresh) > CHANGES_PRINTED:
            lines.append(f"{len(watcher.fresh) - CHANGES_PRINTED:,} more clients changed their region")
        if time.monotonic() - summarised_at >= SUMMARY_SECONDS:
            lines.append(summary(view))
            summarised_at = time.monotonic()
        for line in lines:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()
        time.sleep(REFRESH_SECONDS)


def summary(view: View) -> str:
    """The fleet and the move in one line."""
    if view.problem:
        return f"{clock(view.now)} {printable(view.problem)}"
    counts = view.fleet.by_region()
    parts = [
        f"{printable(name)} {counts[name]:,} clients, {region.rate(view.now):,.1f} messages/s"
        + (" (monitor not subscribed)" if region.live is False else "")
        for name, region in view.fleet.regions.items()
    ]
    parts += [
        f"{len(found):,} {CONDITION_TEXT[name]}" for name, found in view.fleet.conditions(view.now).items() if found
    ]
    parts += [_move_summary(view.move)] if view.move else []
    return f"{clock(view.now)} {'; '.join(parts)}"


def _move_summary(move: Move) -> str:
    name = f"move to mode {printable(move.mode)}"
    if move.outcome:
        return f"{name}: {printable(move.outcome)}" + (f": {printable(move.error)}" if move.error else "")
    counted = f" {move.done:,} of {move.total:,}, {move.landed:,} landed" if move.stage in ("sweep", "landing") else ""
    return f"{name}: {move.stage}{counted}" + (f", {printable(move.note)}" if move.note else "")


def run(config: MonitorConfig, reports: Path | None = None, described: Mapping[str, str] | None = None) -> int:
    """Watch until Ctrl-C or SIGTERM; return the exit code, 0."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    watcher = Watcher(config, reports, described or {})
    for name in ("COLUMNS", "LINES"):
        # They may be outdated; the terminal itself has its size, also after it is resized.
        os.environ.pop(name, None)
    console = Console(highlight=False)
    try:
        if console.is_terminal and not console.is_dumb_terminal:
            show(watcher, console)
        else:
            print_lines(watcher)
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        # The reader of the lines has closed the pipe; the interpreter must not complain at its end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run the view; returns the exit code: 0 ended by the user, 2 configuration unusable."""
    parser = argparse.ArgumentParser(prog="mqtt_monitor.watch", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the monitor's JSON file")
    parser.add_argument("--reports", type=Path, help="folder of the moves' reports")
    parser.add_argument("--clients", type=Path, help="JSON file, client ID: what is shown of it beside its messages")
    options = parser.parse_args(arguments)
    try:
        config = load(options.config)
        described = {name: str(text) for name, text in read_object(options.clients).items()} if options.clients else {}
    except ConfigError as error:
        sys.stderr.write(f"mqtt_monitor.watch: {printable(str(error))}\n")
        return 2
    return run(config, options.reports, described)


if __name__ == "__main__":
    sys.exit(main())
