"""The connection: when one is opened, its events, and when it is given up."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable

from mqtt_fleet import log
from mqtt_fleet.attempt import ConnectError
from mqtt_fleet.clock import Clock, iso
from mqtt_fleet.config import Config
from mqtt_fleet.credentials import CredentialError, check, expiry_problem, key_doubt
from mqtt_fleet.metrics import Metrics
from mqtt_fleet.reconnect import CONNECT_SPACING, ConnectRecord, End, ReconnectPolicy
from mqtt_fleet.subscription import Subscription
from mqtt_fleet.transport import Cause, Connected, Connection, Event, Report, Subscribed

LOGGER = logging.getLogger("mqtt_fleet.client")

Open = Callable[[Config, Report], Connection]


class Link:
    """One connection at a time. Used by the client's thread; events come back to it with the connection's number.

    Attributes:
        connection: the one that is open or being opened.
        up: whether the broker has accepted it.
        number: of the connection; events of an abandoned one carry another number.
        restart_due: whether the next CONNECT is to come from a new process.
        window: seconds that it backs off over, see `ReconnectPolicy`.
    """

    def __init__(
        self,
        config: Config,
        metrics: Metrics,
        clock: Clock,
        open_connection: Open,
        report: Callable[[int, Event], None],
        window: float = 0.0,
    ) -> None:
        """`window`: of the process that this one takes the place of."""
        self._config = config
        self._metrics = metrics
        self._clock = clock
        self._open = open_connection
        self._report = report
        self._policy = ReconnectPolicy(config.reconnect_delay_cap, config.spread)
        self._record = ConnectRecord(config.outbox.with_name(f"{config.outbox.name}.connect"), clock)
        self.window = window
        self._opened_at = -math.inf
        self._connected_at = -math.inf
        self._next_open = clock.monotonic() + self._policy.first_pause(
            self._record.age(),
            clock.since_boot(),
            random.random(),  # noqa: S311 - spreads a fleet
        )
        self._subscription = Subscription(config.command_topic)
        self._delivered = True
        self._opened_before = False
        self.connection: Connection | None = None
        self.up = False
        self.number = 0
        self.restart_due = False

    def next(self) -> float:
        """When `keep` has something to do, by the monotonic clock."""
        if self.up:
            return self._subscription.next()
        return self._deadline() if self.connection else self._next_open

    def _deadline(self) -> float:
        return self._opened_at + self._config.connect_timeout

    def keep(self, now: float) -> str | None:
        """Open a connection when it is time; return why the present attempt is to be given up, or None."""
        if self.up:
            self._subscribe(now)
            return None
        if self.connection:
            timeout = self._config.connect_timeout
            if now < self._deadline():
                return None
            return f"not connected within {timeout:g} s: {self.connection.phase()}"
        if now < self._next_open:
            return None
        if self._opened_before and self._config.reconnect_by == "process_restart":
            self.restart_due = True
            return None
        return self._begin(now)

    def _begin(self, now: float) -> str | None:
        try:
            check(self._config)
        except CredentialError as error:
            self._opened_at = now
            return str(error)
        for problem in (expiry_problem(self._config, self._clock.wall()), key_doubt(self._config)):
            # The broker decides: the clock may be wrong.
            if problem:
                log.event(LOGGER, "credentials", logging.ERROR, reason=problem)
        self._opened_before = True
        self._opened_at = now
        self._record.note()
        self.number += 1
        number = self.number
        try:
            self.connection = self._open(self._config, lambda event: self._report(number, event))
        except ConnectError as error:
            return str(error)
        return None

    def connected(self, event: Connected) -> None:
        self.up = True
        # The CONNECT was sent at some time since the attempt began; no later than now.
        self._connected_at = self._clock.monotonic()
        self._record.note()
        self._delivered = False
        self._metrics.connects += 1
        self._metrics.connected = True
        self._metrics.connection = (
            f"connected to {event.address or event.through or 'an unknown address'} since {iso(self._clock.wall())}"
        )
        log.event(
            LOGGER,
            "connected",
            address=event.address or event.through or None,
            session_present=event.session_present,
            seconds=round(self._clock.monotonic() - self._opened_at, 3),
            backlog=self._metrics.backlog,
        )
        self._subscription.begin(self._connected_at)
        self._subscribe(self._connected_at)

    def _subscribe(self, now: float) -> None:
        if self.connection:
            self._subscription.keep(self.connection, now)

    def subscribed(self, answer: Subscribed) -> None:
        """The broker has answered a SUBSCRIBE."""
        self._subscription.answered(answer, self._clock.monotonic())

    def delivered(self) -> bool:
        """A message was acknowledged; whether it was the connection's first."""
        first = not self._delivered
        self._delivered = True
        return first

    def close(self, reason: str, cause: Cause = Cause.LOST, wait: float = 0.0, wanted: bool = False) -> None:
        """Give the connection up and plan the next.

        Args:
            wait: seconds that a proper DISCONNECT may take.
            wanted: the client itself ends the connection, so that it need not back off.
        """
        if self.connection:
            self.connection.close(wait)
        was_up = self.up
        self._metrics.failures += not was_up
        self.connection = None
        self._subscription.end()
        self.up = False
        self.number += 1
        delay = self._pause(cause, was_up, wanted)
        self._next_open = self._clock.monotonic() + delay
        self._metrics.connected = False
        self._metrics.connection = f"not connected: {reason}"
        log.event(
            LOGGER,
            "disconnected" if was_up else "connect_failed",
            logging.WARNING,
            reason=reason,
            next_connect_in=round(delay, 3),
            backlog=self._metrics.backlog,
        )

    def _pause(self, cause: Cause, was_up: bool, wanted: bool) -> float:
        now = self._clock.monotonic()
        # An attempt that failed may have sent its CONNECT just now.
        lasted = now - self._connected_at if was_up else None
        if wanted:
            return max(0.0, CONNECT_SPACING - (lasted or 0.0))
        end = End(cause, lasted, 0.0 if was_up else now - self._opened_at)
        self.window = self._policy.widen(self.window, end)
        return self._policy.pause(self.window, end, lasted or 0.0, random.random())  # noqa: S311 - spreads a fleet
