"""Messages that were set aside because the broker never takes them: shown, sent again, or deleted; on the device."""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from mqtt_fleet import dead_letter_table
from mqtt_fleet.clock import Clock, iso
from mqtt_fleet.config import Config, ConfigError, load
from mqtt_fleet.dead_letter_table import Entry
from mqtt_fleet.outbox import SIZE
from mqtt_fleet.text import printable, shortened

# The client's transactions are short; it may be at one now.
BUSY_SECONDS = 10.0
# Of a message's data, and of any other text in a line.
MOST_SHOWN = 60
NO_FOLDER = "$STATE_DIRECTORY names the folder of a relative path"


class DeadLettersError(Exception):
    """It cannot be done, and nothing was changed; one line."""


@contextmanager
def opened(config: Config) -> Iterator[sqlite3.Connection]:
    """The outbox's database, beside a client that may be running.

    Raises:
        DeadLettersError: it is not there, is no outbox, or cannot be used now.
    """
    path = config.outbox
    if not path.is_file():
        raise DeadLettersError(f"outbox: {path} is not there; {NO_FOLDER}")
    try:
        # Never created here: that is for the client to do.
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", BUSY_SECONDS, isolation_level=None, uri=True)
        with closing(database):
            # Committed to the outbox before it is deleted here.
            database.execute("PRAGMA synchronous=FULL")
            dead_letter_table.prepare(database)
            yield database
    except sqlite3.Error as error:
        busy = "locked" in str(error)
        hint = ": the client uses it alone: stop its service, and start it again afterwards" if busy else ""
        raise DeadLettersError(f"outbox: {path} cannot be used: {error}{hint}") from error


def show(config: Config, sequences: Sequence[int]) -> list[str]:
    """A line for each message set aside, or for those that are named.

    Raises:
        DeadLettersError: see `opened`; or one that is named is not there.
    """
    with opened(config) as database:
        found = dead_letter_table.entries(database, MOST_SHOWN + 1)
    wanted = _named(found, sequences)
    return [line(entry) for entry in found if entry.sequence in wanted] or ["no message was set aside"]


def line(entry: Entry) -> str:
    """An entry in one line without control characters."""
    topic = "no topic of its own" if entry.topic is None else f"topic {_shown(entry.topic)}"
    code = "" if entry.code is None else f" (0x{entry.code:02X})"
    data = "no data" if entry.data is None else f"data {_shown(entry.data)}"
    why = printable(shortened(entry.reason, 4 * MOST_SHOWN))
    times = f"stored {iso(entry.sent_at)}, set aside {iso(entry.at)}"
    return f"{entry.sequence}: {topic}, {entry.size} bytes, {times}, {why}{code}, {data}"


def _shown(value: str | bytes) -> str:
    return printable(shortened(repr(value), MOST_SHOWN))


def send(config: Config, sequences: Sequence[int]) -> list[str]:
    """Put messages into the outbox again, under new numbers; all those that are named, or none.

    Raises:
        DeadLettersError: see `show`; or the outbox has no room.
    """
    lines = []
    with opened(config) as database, _transaction(database):
        for sequence in sorted(_named(dead_letter_table.entries(database, 0), sequences)):
            number = dead_letter_table.send_again(database, sequence, _stored_at(database))
            lines.append(f"{sequence}: is sent again as {number}")
        (size,) = database.execute(f"SELECT coalesce(sum({SIZE}), 0) FROM message").fetchone()  # noqa: S608
        if size > config.outbox_max_bytes:
            raise DeadLettersError(
                f"outbox: it would hold {size} bytes, expected at most {config.outbox_max_bytes}: send fewer at once, "
                "or wait until others have left"
            )
    return lines


def _stored_at(database: sqlite3.Connection) -> float:
    """Now, on the outbox's own clock: see `Outbox.offset`."""
    clock = Clock()
    row = database.execute("SELECT offset FROM clock WHERE boot_id = ?", (clock.boot_id,)).fetchone()
    if row:
        return clock.since_boot() + float(row[0])
    (newest,) = database.execute("SELECT coalesce(max(stored_at), 0) FROM message").fetchone()
    return float(newest)


def delete(config: Config, sequences: Sequence[int]) -> list[str]:
    """Delete messages; all those that are named, or none.

    Raises:
        DeadLettersError: see `show`.
    """
    lines = []
    with opened(config) as database, _transaction(database):
        for sequence in sorted(_named(dead_letter_table.entries(database, 0), sequences)):
            dead_letter_table.delete(database, sequence)
            lines.append(f"{sequence}: is deleted")
    return lines


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _named(found: Sequence[Entry], sequences: Sequence[int]) -> set[int]:
    """The numbers asked for, which are all where none is named."""
    known = {entry.sequence for entry in found}
    if missing := sorted(set(sequences) - known):
        raise DeadLettersError(f"{missing[0]}: no message with this number was set aside; list shows those that were")
    return set(sequences) or known


DO: Mapping[str, Callable[[Config, Sequence[int]], list[str]]] = {"list": show, "send": send, "delete": delete}


def main(arguments: list[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Do what is asked; returns the exit code: 0 done, 1 nothing was changed, 2 wrong arguments or configuration."""
    parser = argparse.ArgumentParser(prog="mqtt_fleet.dead_letters", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the client's JSON file")
    parser.add_argument("--all", action="store_true", help="send or delete all of them")
    parser.add_argument("action", choices=DO)
    parser.add_argument("sequence", nargs="*", type=int, help="numbers, as list shows them")
    options = parser.parse_intermixed_args(arguments)
    if options.action != "list" and options.all == bool(options.sequence):
        parser.error(f"{options.action}: expected numbers, or --all")
    try:
        lines = DO[options.action](load(options.config, environment), options.sequence)
    except (ConfigError, DeadLettersError) as error:
        sys.stderr.write(f"mqtt_fleet.dead_letters: {printable(str(error))}\n")
        return 2 if isinstance(error, ConfigError) else 1
    sys.stdout.write("".join(f"{text}\n" for text in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
