"""The zone's name servers: each gets every change by RFC 2136, in order, after its own lag."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rdtypes
import dns.update
import dns.zone

from lab.aws_api.config import NameServer
from lab.aws_api.route53 import Change, Records, new_change

TIMEOUT = 2.0
RETRY_PAUSE = 0.5
# The zone's own records belong to the name server, which would refuse to lose them.
_APEX_TYPES = ("SOA", "NS")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """An update for a name server; `make` builds the message when it is due."""

    submitted: float
    make: Callable[[NameServer], dns.message.Message | None]
    done: Callable[[], None]


def update_message(zone_name: str, before: Records, after: Records) -> dns.update.UpdateMessage:
    """Return the RFC 2136 update that turns one set of records into another."""
    message = dns.update.UpdateMessage(zone_name)
    for key in sorted((before.keys() | after.keys()), key=str):
        if before.get(key) == after.get(key) or key[1] in _APEX_TYPES:
            continue
        name, kind, _ = key
        message.delete(name, kind)
        record = after.get(key)
        if record is not None:
            for item in record.get("ResourceRecords") or []:
                value = item["Value"] if isinstance(item, dict) else item
                # Route 53 takes every name for fully qualified.
                text = value if kind != "CNAME" else value.rstrip(".") + "."
                message.add(name, int(record.get("TTL") or 0), kind, text)
    return message


def clearing_message(zone_name: str, server: NameServer) -> dns.message.Message | None:
    """Return the update that leaves a server's zone with nothing but its apex records."""
    zone = dns.zone.Zone(zone_name)
    dns.query.inbound_xfr(str(server.address), zone, port=server.port, timeout=TIMEOUT, lifetime=TIMEOUT)
    message = dns.update.UpdateMessage(zone_name)
    for name, rdataset in zone.iterate_rdatasets():
        if not (name == dns.name.empty and dns.rdatatype.to_text(rdataset.rdtype) in _APEX_TYPES):
            message.delete(name, rdataset.rdtype)
    return message if message.update else None


class Publisher:
    """Sends changes to one name server, one after the other, until each is accepted."""

    def __init__(self, server: NameServer) -> None:
        self.server = server
        self._tasks: deque[Task] = deque()
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name=f"publish-{server.name}", daemon=True).start()

    def set_lag(self, seconds: float) -> None:
        self.server = replace(self.server, lag_seconds=seconds)

    def submit(self, task: Task) -> None:
        with self._changed:
            self._tasks.append(task)
            self._changed.notify()

    def drop(self) -> None:
        """Drop what has not been sent yet."""
        with self._changed:
            self._tasks.clear()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._tasks:
                    self._changed.wait()
                task = self._tasks[0]
            time.sleep(max(0.0, task.submitted + self.server.lag_seconds - time.monotonic()))
            if self._deliver(task):
                task.done()
                with self._changed:
                    if self._tasks and self._tasks[0] is task:
                        self._tasks.popleft()
            else:
                time.sleep(RETRY_PAUSE)

    def _deliver(self, task: Task) -> bool:
        try:
            message = task.make(self.server)
            if message is None:
                return True
            answer = dns.query.tcp(message, str(self.server.address), timeout=TIMEOUT, port=self.server.port)
        except (OSError, dns.exception.DNSException) as error:
            log.warning("%s: update not delivered, trying again (%s)", self.server.name, error)
            return False
        if answer.rcode() != dns.rcode.NOERROR:
            log.warning("%s: update answered %s", self.server.name, dns.rcode.to_text(answer.rcode()))
            return False
        return True


class Zones:
    """Sends the hosted zones' changes to the name servers, and keeps the changes made so far by ID."""

    def __init__(self, servers: tuple[NameServer, ...]) -> None:
        self._publishers = {server.name: Publisher(server) for server in servers if server.address}
        self.changes: dict[str, Change] = {}

    def publish(self, zone_name: str, before: Records, after: Records, served: bool) -> Change:
        """Send what differs to every name server; the change is pending until each has it.

        Args:
            served: whether they are the zone's; other zones have servers that nobody asks.
        """
        message = update_message(zone_name, before, after)
        publishers = self._publishers if served else {}
        change = new_change(set(publishers))
        self.changes[change.id] = change
        for name, publisher in publishers.items():
            publisher.submit(
                Task(time.monotonic(), lambda _: message, lambda name=name: change.pending.discard(name))  # type: ignore[misc]
            )
        return change

    def reset(self, zone_names: list[str]) -> None:
        """Forget every change and empty the zones on the name servers."""
        self.changes.clear()
        for publisher in self._publishers.values():
            publisher.drop()
            for zone_name in zone_names:
                publisher.submit(
                    Task(0.0, lambda server, zone=zone_name: clearing_message(zone, server), _nothing)  # type: ignore[misc]
                )

    def set_lag(self, name: str, seconds: float) -> None:
        """Change a name server's lag.

        Raises:
            KeyError: no such name server.
        """
        self._publishers[name].set_lag(seconds)


def _nothing() -> None:
    """Runs in the background."""
