"""The client: messages from its sources into the outbox, and from the outbox to the broker, wherever that is."""

from __future__ import annotations

import argparse
import logging
import math
import os
import queue
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Union

from mqtt_fleet import configuration_check, log
from mqtt_fleet.attempt import MEMORY
from mqtt_fleet.clock import Clock
from mqtt_fleet.config import Config, ConfigError, load
from mqtt_fleet.connect import connect
from mqtt_fleet.delivery import MOST_SILENCE, Delivery
from mqtt_fleet.endpoint_watch import Lookups
from mqtt_fleet.link import Link, Open
from mqtt_fleet.metrics import Metrics, write
from mqtt_fleet.move import Mover, Probed, start_probe
from mqtt_fleet.notify import notify, watchdog_interval
from mqtt_fleet.only_process import InUseError, only_process
from mqtt_fleet.outbox import Message
from mqtt_fleet.reconnect import MOST_TAKEN_OVER_WINDOW
from mqtt_fleet.resolve import Lookup, is_address
from mqtt_fleet.sources.heartbeat import Heartbeat
from mqtt_fleet.sources.standard_input import StandardInput
from mqtt_fleet.sources.submission import Hand, Refused, Rejected, Source, Submission
from mqtt_fleet.sources.unix_socket import UnixSocket
from mqtt_fleet.spool import Spool
from mqtt_fleet.text import printable
from mqtt_fleet.transport import (
    Acknowledged,
    Cause,
    Connected,
    Disconnected,
    Event,
    PublishRefused,
    Subscribed,
)

LOGGER = logging.getLogger("mqtt_fleet.client")
CLOSE_TIMEOUT = 2.0
# Most messages stored in one transaction, which an answer has to wait for.
MOST_AT_ONCE = 1000
HOUSEKEEPING_SECONDS = 1.0
# The start may take so much longer, sd_notify(3), while another process has the outbox.
WAIT_MICROSECONDS = 30_000_000
PUBLISH_STATUS_SECONDS = 5.0
# Seconds that a move of the client's own waits for what is in flight.
DRAIN_SECONDS = 5.0
# Where nothing has changed the file is written all the same: its age says whether the client is alive.
METRICS_SECONDS = 60.0
# Passes on to the next process over how many seconds it backs off.
WINDOW_VARIABLE = "MQTT_FLEET_RECONNECT_WINDOW"


class Stop:
    """The client is asked to end."""


class FromConnection(NamedTuple):
    """What a connection says, with its number: what an abandoned one still says is ignored."""

    number: int
    event: Event


Item = Union[Stop, FromConnection, Submission, Rejected, Lookup, Probed]


class Client:
    """One client's life. All state belongs to the thread in `run`; others only put items in the queue.

    Attributes:
        metrics: what has been counted so far.
    """

    def __init__(self, config: Config, open_connection: Open, clock: Clock | None = None, window: float = 0.0) -> None:
        self._config = config
        self._clock = clock or Clock()
        now = self._clock.monotonic()
        self._items: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self.metrics = Metrics()
        self._spool = Spool(config, self.metrics, self._clock)
        self._delivery = Delivery(config, self._spool, self.metrics, now)
        self._link = Link(config, self.metrics, self._clock, open_connection, self._report, window)
        self._heartbeat = Heartbeat(config.heartbeat_interval, now)
        self._mover = Mover(config)
        self._sources = sources(config, self._items.put)
        self._lookups = self._make_lookups()
        self._next_housekeeping = now
        self._next_status = now
        self._watchdog = watchdog_interval()
        self._next_watchdog = now
        self._file_problem = ""
        self._written = ""
        self._written_at = -math.inf
        self._leave_by = math.inf
        self._delivered_at: float | None = None

    def _make_lookups(self) -> Lookups | None:
        config = self._config
        # Where a proxy looks the name up, the answers here say nothing about the connection.
        if config.endpoint_watch == "off" or config.proxy or is_address(config.endpoint):
            return None
        return Lookups(config.endpoint, config.port, config.resolvers, config.endpoint_watch_interval, self._items.put)

    def stop(self) -> None:
        """Make `run` return; from any thread or signal handler."""
        self._items.put(Stop())

    def run(self) -> float | None:
        """Work until stopped; return None, or, when a new process is wanted, the seconds that it backs off over."""
        # First, so that programs find the socket at once: what they hand over waits until the outbox is open.
        for source in self._sources:
            source.start()
        notify(f"READY=1\nSTATUS={self.metrics.status()}")
        self._spool.open()
        log.event(
            LOGGER,
            "started",
            client_id=self._config.client_id,
            library=self._config.library,
            stream=self._spool.stream,
            backlog=self._spool.backlog,
        )
        if self._lookups:
            self._lookups.start()
        while self._work():
            pass
        self._end()
        return self._link.window if self._link.restart_due else None

    def _work(self) -> bool:
        """Wait for the next thing to do and do it; False once that is to end."""
        running, submissions, acknowledged = self._collect()
        now = self._clock.monotonic()
        if self._heartbeat.due(now):
            submissions.append(Submission(durable=False))
        if submissions or acknowledged:
            self._spool.commit(submissions, acknowledged)
            for source in self._sources:
                source.flush()
            self._delivery.stored()
        self._keep_connection(now)
        self._delivery.send(now)
        if now >= self._next_housekeeping:
            self._keep_house(now)
        return running and not self._link.restart_due

    def _next_thing(self) -> float:
        mover = self._mover.next() if self._link.up else math.inf
        silence = self._delivery.silent_since() + MOST_SILENCE
        own = (self._heartbeat.next, self._next_housekeeping, self._leave_by, mover, silence)
        return min(*own, self._link.next(), self._delivery.next())

    def _collect(self) -> tuple[bool, list[Submission], list[Message]]:
        """Wait for something to do and take what there is in the queue: (running, to store, to remove)."""
        running = True
        submissions: list[Submission] = []
        acknowledged: list[Message] = []
        timeout = max(0.0, self._next_thing() - self._clock.monotonic())
        while len(submissions) < MOST_AT_ONCE:
            try:
                item = self._items.get(timeout=timeout) if timeout else self._items.get_nowait()
            except queue.Empty:
                break
            timeout = 0.0
            if isinstance(item, Stop):
                running = False
            elif isinstance(item, Submission):
                submissions.append(item)
            elif not isinstance(item, FromConnection):
                self._take(item)
            elif item.number == self._link.number:
                self._hear(item.event, acknowledged)
        return running, submissions, acknowledged

    def _take(self, item: Rejected | Lookup | Probed) -> None:
        if isinstance(item, Rejected):
            self._spool.refused(Refused(item.reason, item.text), source=item.source)
        elif isinstance(item, Probed):
            if self._mover.probed(item, self._clock.monotonic()):
                log.event(LOGGER, "endpoint_unusable", logging.WARNING, reason=item.problem)
        elif self._mover.looked(item, self._clock.monotonic()):
            self.metrics.endpoint_moves += 1
            log.event(
                LOGGER,
                "endpoint_moved",
                logging.WARNING,
                endpoint=self._config.endpoint,
                addresses=item.addresses,
                canonical=item.canonical,
                connection=self.metrics.connection,
            )

    def _hear(self, event: Event, acknowledged: list[Message]) -> None:
        if isinstance(event, Acknowledged):
            if message := self._delivery.acknowledged(event.token, self._clock.monotonic()):
                acknowledged.append(message)
                self._on_acknowledged(message)
        elif isinstance(event, Connected):
            self._on_connected(event)
        elif isinstance(event, Disconnected):
            self._disconnect(event.reason, event.cause)
        elif isinstance(event, Subscribed):
            self._link.subscribed(event)
        elif isinstance(event, PublishRefused):
            self._delivery.refused(event, self._clock.monotonic())
        else:
            log.event(LOGGER, "command", topic=event.topic, bytes=len(event.payload))

    def _on_acknowledged(self, message: Message) -> None:
        now = self._clock.monotonic()
        if self._link.delivered():
            gap = None if self._delivered_at is None else round(now - self._delivered_at, 3)
            numbered = self._spool.published(message, ()).message
            log.event(LOGGER, "delivering", gap_seconds=gap, sequence=numbered.sequence)
        self._delivered_at = now
        self.metrics.last_acknowledged = self._clock.wall()

    def _on_connected(self, event: Connected) -> None:
        self._link.connected(event)
        if self._link.connection:
            self._delivery.begin(self._link.connection, self._clock.monotonic())
        self._mover.connected(event.address)
        if self._lookups:
            self._lookups.look_now()
        if not self._spool.backlog:
            # A message proves where the client has landed; the next one may be far off otherwise.
            self._heartbeat.hurry(self._clock.monotonic())
        self._say_status()

    def _disconnect(self, reason: str, cause: Cause = Cause.LOST, wait: float = 0.0, wanted: bool = False) -> None:
        self._link.close(reason, cause, wait, wanted)
        self._delivery.end(self._clock.monotonic(), None if wanted else cause)
        self._mover.connected(None)
        self._leave_by = math.inf
        self._say_status()

    def _keep_connection(self, now: float) -> None:
        if problem := self._link.keep(now):
            self._disconnect(problem)
        elif now - self._delivery.silent_since() >= MOST_SILENCE:
            self._disconnect(f"no PUBACK, and nothing sent, within {MOST_SILENCE:g} s")
        elif self._link.up:
            self._move(now)

    def _move(self, now: float) -> None:
        """Move to what the name resolves to, once that is usable and what is in flight is acknowledged."""
        if to_probe := self._mover.to_probe(now):
            start_probe(self._config, *to_probe, self._items.put)
        if self._leave_by == math.inf and self._mover.leaves(now):
            self._mover.moved(now)
            self._delivery.holding = True
            self._leave_by = now + DRAIN_SECONDS
        if self._leave_by < math.inf and (self._delivery.idle or now >= self._leave_by):
            self._disconnect("the endpoint's name resolves elsewhere", wait=CLOSE_TIMEOUT, wanted=True)

    def _report(self, number: int, event: Event) -> None:
        self._items.put(FromConnection(number, event))

    def _keep_house(self, now: float) -> None:
        self._next_housekeeping = now + HOUSEKEEPING_SECONDS
        self._spool.keep_house()
        self._delivery.stored()
        self._delivery.look(now)
        if now >= self._next_status:
            self._say_status()
            self._write_metrics()
        # This line is reached while the loop turns; the outbox has just answered.
        if now >= self._next_watchdog and all(source.is_alive() for source in self._sources):
            self._next_watchdog = now + self._watchdog
            notify("WATCHDOG=1")

    def _say_status(self) -> None:
        self._next_status = self._clock.monotonic() + PUBLISH_STATUS_SECONDS
        self.metrics.backlog = self._spool.backlog
        notify(f"STATUS={self.metrics.status()}")

    def _write_metrics(self) -> None:
        if self._config.metrics_file is None:
            return
        text, now = self.metrics.render(self._config.client_id), self._clock.monotonic()
        if text == self._written and now - self._written_at < METRICS_SECONDS:
            return
        problem = write(self._config.metrics_file, text)
        self._written, self._written_at = ("" if problem else text), now
        if problem and problem != self._file_problem:
            log.event(LOGGER, "metrics_failed", logging.WARNING, reason=problem)
        self._file_problem = problem or ""

    def _end(self) -> None:
        """Store what was submitted, answer its senders, and disconnect from the broker properly."""
        restarting = self._link.restart_due
        if not restarting:
            notify("STOPPING=1")
        for last in (False, True):
            submissions, acknowledged = self._drain()
            self._spool.commit(submissions, acknowledged)
            if not last:
                for source in self._sources:
                    source.stop()
        if self._lookups:
            self._lookups.stop()
        if self._link.connection:
            self._link.connection.close(CLOSE_TIMEOUT)
        log.event(LOGGER, "restarting" if restarting else "stopped", backlog=self._spool.backlog)
        self._spool.close()

    def _drain(self) -> tuple[list[Submission], list[Message]]:
        submissions: list[Submission] = []
        acknowledged: list[Message] = []
        while not self._items.empty():
            item = self._items.get()
            if isinstance(item, Submission):
                submissions.append(item)
            elif isinstance(item, FromConnection) and item.number == self._link.number:
                self._hear(item.event, acknowledged)
        return submissions, acknowledged


def sources(config: Config, hand: Hand) -> list[Source]:
    """The sources that the configuration asks for, not yet started."""
    found: list[Source] = []
    if config.standard_input:
        found.append(StandardInput(sys.stdin.buffer, hand))
    if config.socket:
        found.append(UnixSocket(config.socket, config.socket_mode, config.message_topic, hand))
    return found


def main(arguments: list[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Run the client; returns the exit code: 0 stopped, 1 another process uses its outbox, 2 configuration unusable."""
    parser = argparse.ArgumentParser(prog="mqtt_fleet.client", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="JSON file")
    parser.add_argument("--check-config", action="store_true", help="validate the file and those it names, and end")
    options = parser.parse_args(arguments)
    try:
        config = load(options.config)
        if options.check_config:
            for doubt in configuration_check.doubts(config, time.time()):
                say(f"warning: {doubt}")
            if problems := configuration_check.problems(config):
                raise ConfigError(*problems)
            return 0
    except ConfigError as error:
        for problem in error.args:
            say(problem)
        return 2
    try:
        # A service manager would restart it again and again: it gets a status instead, until the other process ends.
        waiting = _tell_waiting if "NOTIFY_SOCKET" in environment else None
        with only_process(config.outbox, waiting):
            ended = _run(config, environment)
    except InUseError as error:
        say(str(error))
        return 1
    if ended is not None:
        # Python's own clean-up is not reached: lines that are held back would be lost.
        logging.shutdown()
        execute_again(options.config, ended)
    return 0


def say(line: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"mqtt_fleet.client: {printable(line)}\n")


def _tell_waiting(problem: str) -> None:
    notify(f"EXTEND_TIMEOUT_USEC={WAIT_MICROSECONDS}\nSTATUS=waiting: {printable(problem)}")


def _run(config: Config, environment: Mapping[str, str]) -> float | None:
    """Run until the client is stopped (None), or wants a new process (the window that it backs off over)."""
    log.configure()
    client = Client(config, connect, window=_seconds(environment.get(WINDOW_VARIABLE, "")))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: client.stop())
    return client.run()


def _seconds(text: str) -> float:
    with suppress(ValueError):
        return min(MOST_TAKEN_OVER_WINDOW, max(0.0, float(text)))
    return 0.0


def execute_again(configuration: Path, window: float, execute: Callable[..., object] = os.execve) -> None:
    """Replace this process by a new one; only what is on disk is kept."""
    command = [sys.executable, "-m", "mqtt_fleet.client", "--config", str(configuration)]
    execute(sys.executable, command, {**os.environ, WINDOW_VARIABLE: str(window), **MEMORY.variables()})


if __name__ == "__main__":
    sys.exit(main())
