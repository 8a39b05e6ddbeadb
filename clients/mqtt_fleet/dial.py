"""A TCP connection to the endpoint, or to the proxy: several addresses are tried in parallel, RFC 8305."""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from mqtt_fleet.attempt import MEMORY, Attempt, ConnectError, Memory, peer
from mqtt_fleet.config import Config
from mqtt_fleet.proxy import ProxyError, authorization, open_way, parse
from mqtt_fleet.resolve import FAMILIES, addresses_of, is_address
from mqtt_fleet.schedule import ATTEMPT_DELAY, Schedule

# What a reason names at most.
MOST_NAMED = 4


def reach(config: Config, attempt: Attempt, deadline: float, address: str = "") -> socket.socket:
    """Connect to the endpoint, through the proxy where one is configured; the caller closes the socket.

    Args:
        attempt: kept up to date.
        deadline: by the monotonic clock.
        address: IP address of the endpoint to go to; "": those that its name has at this moment, or the proxy knows.

    Raises:
        ConnectError: no address can be reached.
    """
    if not config.proxy:
        attempt.at = "name lookup"
        raw = Race(attempt, MEMORY).run(address or config.endpoint, config.port, config.resolvers, deadline)
        attempt.far = attempt.peer
        attempt.holds(raw)
        return raw
    proxy = parse(config.proxy)
    attempt.at = f"name lookup of the proxy {proxy.host}"
    raw = Race(attempt, MEMORY, "the proxy ").run(proxy.host, proxy.port, config.resolvers, deadline)
    attempt.holds(raw)
    target = peer(address or config.endpoint, config.port)
    attempt.at = f"CONNECT by the proxy {attempt.peer}"
    try:
        open_way(raw, target, authorization(config.proxy_credentials), deadline)
    except ProxyError as error:
        raw.close()
        MEMORY.failed(attempt.address)
        raise attempt.error(error) from error
    attempt.far = f"{target} through the proxy {attempt.peer}"
    return raw


class Race:
    """The attempts at the addresses of one name; used once."""

    def __init__(self, attempt: Attempt, memory: Memory, who: str = "") -> None:
        """`who`: said before each address in reasons."""
        self._attempt = attempt
        self._memory = memory
        self._who = who
        self._answers: deque[tuple[int, list[str], str]] = deque()
        self._under_way: dict[socket.socket, str] = {}
        self._problems: dict[str, str] = {}
        self._no_names: dict[str, None] = {}

    def run(self, host: str, port: int, resolvers: Sequence[str], deadline: float) -> socket.socket:
        """Return the first connection that is established, in blocking mode; the others are closed.

        Raises:
            ConnectError: none was established.
        """
        self._port = port
        self._selector = selectors.DefaultSelector()
        bell, self._ringer = socket.socketpair()
        try:
            # Writing to the wake-up socket must never block.
            self._ringer.setblocking(False)
            self._selector.register(bell, selectors.EVENT_READ)
            self._schedule = self._ask(host, resolvers)
            winner = self._loop(bell, deadline)
        except OSError as error:
            raise self._attempt.error(error.strerror or error) from error
        finally:
            for loser, address in self._under_way.items():
                self._memory.failed(address)
                loser.close()
            self._selector.close()
            bell.close()
            self._ringer.close()
        if winner is None:
            raise self._failure()
        return winner

    def _ask(self, host: str, resolvers: Sequence[str]) -> Schedule:
        if is_address(host):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            schedule = Schedule(self._memory, (family,))
            schedule.found(family, [host], time.monotonic())
            return schedule
        for family in FAMILIES:
            arguments = (host, family, resolvers)
            threading.Thread(target=self._look_up, args=arguments, name="lookup", daemon=True).start()
        return Schedule(self._memory)

    def _look_up(self, host: str, family: int, resolvers: Sequence[str]) -> None:
        found: list[str] = []
        problem = ""
        try:
            found = addresses_of(host, self._port, family, resolvers)
        # Whatever it is, the loop waits for an answer.
        except Exception as error:  # noqa: BLE001
            problem = getattr(error, "strerror", None) or str(error) or type(error).__name__
        self._answers.append((family, found, problem))
        # The loop has ended, or wake-ups are pending already.
        with suppress(OSError):
            self._ringer.send(b".")

    def _loop(self, bell: socket.socket, deadline: float) -> socket.socket | None:
        schedule = self._schedule
        while not (schedule.over and not self._under_way):
            now = time.monotonic()
            if now >= deadline or self._attempt.cancelled.is_set():
                break
            if now >= schedule.next(len(self._under_way)):
                self._begin(*schedule.take(now))
                continue
            wait = min(schedule.next(len(self._under_way)) - now, deadline - now, ATTEMPT_DELAY)
            for key, _ in self._selector.select(wait):
                if key.fileobj is bell:
                    bell.recv(4096)
                elif winner := self._settle(key.fileobj):  # type: ignore[arg-type]
                    return winner
            while self._answers:
                family, found, problem = self._answers.popleft()
                if problem:
                    self._no_names[problem] = None
                schedule.found(family, found, time.monotonic())
        return None

    def _begin(self, family: int, address: str) -> None:
        made = socket.socket(family, socket.SOCK_STREAM)
        self._under_way[made] = address
        made.setblocking(False)
        # PUBACKs and small messages are not to wait for one another.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._say()
        with suppress(BlockingIOError):
            try:
                made.connect((address, self._port))
            except BlockingIOError:
                raise
            except OSError as error:
                self._lost(made, error.strerror or str(error))
                return
        self._selector.register(made, selectors.EVENT_WRITE)

    def _settle(self, made: socket.socket) -> socket.socket | None:
        """Handle the end of an attempt; return the connection if it was established."""
        self._selector.unregister(made)
        if number := made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._lost(made, os.strerror(number))
            return None
        address = self._under_way[made]
        # Those that began before had their chance.
        for loser in list(self._under_way):
            if loser is made:
                break
            self._lost(loser, "no answer")
        for later in list(self._under_way):
            del self._under_way[later]
            if later is not made:
                later.close()
        made.setblocking(True)
        self._attempt.address = address
        self._attempt.peer = peer(address, self._port)
        return made

    def _lost(self, made: socket.socket, problem: str) -> None:
        address = self._under_way.pop(made)
        made.close()
        self._problems[address] = problem
        self._memory.failed(address)
        self._schedule.failed()
        self._say()

    def _say(self) -> None:
        trying = ", ".join(peer(address, self._port) for address in self._under_way.values())
        if trying:
            self._attempt.at = f"TCP to {self._who}{trying}"

    def _failure(self) -> ConnectError:
        for address in self._under_way.values():
            self._problems[address] = "no answer"
        if not self._problems:
            nothing = "it has no address" if self._schedule.over else "no answer"
            return self._attempt.error("; ".join(self._no_names) or nothing)
        failed = [f"{peer(address, self._port)}: {problem}" for address, problem in self._problems.items()]
        more = [f"{len(failed) - MOST_NAMED} more"] if len(failed) > MOST_NAMED else []
        self._attempt.at = f"TCP to {self._who}{peer(next(iter(self._problems)), self._port)}"
        return self._attempt.error("; ".join([next(iter(self._problems.values())), *failed[1:MOST_NAMED], *more]))
