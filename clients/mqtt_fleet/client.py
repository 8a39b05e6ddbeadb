"""The client: a heartbeat into the outbox, the outbox into the broker, and a new connection when one ends."""

from __future__ import annotations

import argparse
import logging
import math
import queue
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mqtt_fleet import log
from mqtt_fleet.config import Config, ConfigError, load
from mqtt_fleet.notify import notify
from mqtt_fleet.outbox import Outbox, OutboxError, payload
from mqtt_fleet.reconnect import ReconnectPolicy
from mqtt_fleet.transport import (
    Acknowledged,
    Connected,
    Connection,
    Disconnected,
    Event,
    Received,
    Report,
    connect,
)

LOGGER = logging.getLogger("mqtt_fleet.client")
CLOSE_TIMEOUT = 2.0


class Stop:
    """The client is asked to end."""


class Client:
    """One client's life. All state belongs to the thread in `run`; others only put events in the queue."""

    def __init__(self, config: Config, outbox: Outbox, open_connection: Callable[[Config, Report], Connection]) -> None:
        self._config = config
        self._outbox = outbox
        self._open = open_connection
        self._policy = ReconnectPolicy(config.reconnect_delay_cap)
        # (number of the connection, event): what an abandoned connection still says is ignored.
        self._events: queue.SimpleQueue[tuple[int, Event | Stop]] = queue.SimpleQueue()
        self._connection: Connection | None = None
        self._generation = 0
        self._connected = False
        self._failures = 0
        self._last_connect = -math.inf
        self._next_connect = 0.0
        self._next_heartbeat = time.monotonic()
        self._in_flight: dict[int, int] = {}
        self._sent_up_to = 0
        self._last_acknowledged: float | None = None
        self._recovering = False

    def stop(self) -> None:
        """Make `run` return; from any thread or signal handler."""
        self._events.put((0, Stop()))

    def run(self) -> None:
        """Work until stopped."""
        log.event(
            LOGGER,
            "started",
            client_id=self._config.client_id,
            library=self._config.library,
            stream=self._outbox.stream,
            backlog=len(self._outbox),
        )
        notify("READY=1\nSTATUS=connecting")
        while self._handle_events():
            now = time.monotonic()
            self._beat(now)
            self._keep_connecting(now)
            self._send()
        notify("STOPPING=1")
        if self._connection:
            self._connection.close(CLOSE_TIMEOUT)
        log.event(LOGGER, "stopped", backlog=len(self._outbox))

    def _handle_events(self) -> bool:
        """Wait for the next thing to do and handle every event there is; False once asked to stop."""
        acknowledged: list[int] = []
        timeout: float | None = max(0.0, self._next_thing() - time.monotonic())
        running = True
        while True:
            try:
                generation, event = self._events.get(timeout=timeout) if timeout else self._events.get_nowait()
            except queue.Empty:
                break
            timeout = None
            if isinstance(event, Stop):
                running = False
            elif generation == self._generation:
                if isinstance(event, Acknowledged):
                    self._acknowledge(event, acknowledged)
                else:
                    self._handle(event)
        if acknowledged:
            self._outbox.remove(acknowledged)
        return running

    def _next_thing(self) -> float:
        if self._connected:
            return self._next_heartbeat
        return min(self._next_heartbeat, self._deadline() if self._connection else self._next_connect)

    def _deadline(self) -> float:
        return self._last_connect + self._config.connect_timeout

    def _handle(self, event: Connected | Disconnected | Received) -> None:
        if isinstance(event, Connected):
            self._on_connected(event)
        elif isinstance(event, Disconnected):
            self._on_disconnected(event.reason)
        else:
            log.event(LOGGER, "command", topic=event.topic, bytes=len(event.payload))

    def _on_connected(self, event: Connected) -> None:
        self._connected = True
        self._recovering = True
        self._sent_up_to = 0
        self._in_flight.clear()
        log.event(
            LOGGER,
            "connected",
            address=event.address,
            session_present=event.session_present,
            seconds=round(time.monotonic() - self._last_connect, 3),
            backlog=len(self._outbox),
        )
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        notify(f"STATUS=connected to {event.address} since {since}")
        if self._connection and not event.session_present:
            self._connection.subscribe(self._config.command_topic)

    def _on_disconnected(self, reason: str) -> None:
        if self._connection:
            self._connection.close()
        was_connected = self._connected
        # No acknowledged message since the CONNECT: the attempt led to nothing.
        if not was_connected or self._recovering:
            self._failures += 1
        self._connection = None
        self._connected = False
        self._generation += 1
        now = time.monotonic()
        delay = self._policy.delay(self._failures, now - self._last_connect, random.random())  # noqa: S311
        self._next_connect = now + delay
        log.event(
            LOGGER,
            "disconnected" if was_connected else "connect_failed",
            logging.WARNING,
            reason=reason,
            next_connect_in=round(delay, 3),
            backlog=len(self._outbox),
        )
        notify(f"STATUS=not connected: {reason}".replace("\n", " "))

    def _acknowledge(self, event: Acknowledged, acknowledged: list[int]) -> None:
        sequence = self._in_flight.pop(event.token, None)
        if sequence is None:
            return
        acknowledged.append(sequence)
        now = time.monotonic()
        if self._recovering:
            self._recovering = False
            self._failures = 0
            gap = None if self._last_acknowledged is None else round(now - self._last_acknowledged, 3)
            log.event(LOGGER, "delivering", gap_seconds=gap, sequence=sequence)
        self._last_acknowledged = now

    def _beat(self, now: float) -> None:
        if now < self._next_heartbeat:
            return
        self._outbox.put(time.time())
        self._next_heartbeat += self._config.heartbeat_interval
        # After a standstill the missed beats are not made up for.
        if self._next_heartbeat <= now:
            self._next_heartbeat = now + self._config.heartbeat_interval

    def _keep_connecting(self, now: float) -> None:
        if self._connected:
            return
        if self._connection and now >= self._deadline():
            self._on_disconnected(f"not connected within {self._config.connect_timeout} s")
        if self._connection is None and now >= self._next_connect:
            self._last_connect = now
            self._generation += 1
            self._connection = self._open(self._config, partial(self._report, self._generation))

    def _report(self, generation: int, event: Event) -> None:
        self._events.put((generation, event))

    def _send(self) -> None:
        """Publish in order, oldest first, as far as the window allows."""
        room = self._config.window - len(self._in_flight)
        if not self._connected or self._connection is None or room <= 0:
            return
        for message in self._outbox.after(self._sent_up_to, room):
            body = payload(self._config.client_id, self._outbox.stream, message)
            token = self._connection.publish(self._config.message_topic, body)
            self._in_flight[token] = message.sequence
            self._sent_up_to = message.sequence


def main(arguments: list[str] | None = None) -> int:
    """Run the client; returns the exit code: 0 stopped, 2 configuration or outbox unusable."""
    parser = argparse.ArgumentParser(prog="mqtt_fleet.client", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="JSON file")
    parser.add_argument("--check-config", action="store_true", help="validate the file and end")
    options = parser.parse_args(arguments)
    try:
        config = load(options.config)
        if options.check_config:
            return 0
        outbox = Outbox(config.outbox)
    except (ConfigError, OutboxError) as error:
        sys.stderr.write(f"mqtt_fleet.client: {error}\n")
        return 2
    log.configure()
    client = Client(config, outbox, connect)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: client.stop())
    client.run()
    outbox.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
