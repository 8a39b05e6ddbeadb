"""A hosted zone: what Route 53 has, what its name servers answer by and by, and what resolvers remember."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from ansible.module_utils.region_switch.dns import gate
from ansible.module_utils.region_switch.model.dns_server import Server

from .scheduler import Scheduler

NAME_SERVERS = ["192.0.2.1", "192.0.2.2"]
RESOLVER = "192.0.2.53"
TTL = 5

Table = dict[str, str]


@dataclass
class _Version:
    """The records since a time: `{name: record set}`."""

    since: float
    sets: dict[str, dict[str, Any]]


class Zone:
    """The records and those who tell them.

    Attributes:
        lag: seconds after which each name server has a change.
        keeps: seconds that the resolver keeps an answer at least, as bad ones do.
        mute: name servers and resolvers that do not answer.
    """

    def __init__(self, scheduler: Scheduler, sets: dict[str, dict[str, Any]]) -> None:
        self._scheduler = scheduler
        self._versions = [_Version(0.0, sets)]
        self.lag = dict.fromkeys(NAME_SERVERS, 0.2)
        self.keeps = 0.0
        self.mute: set[str] = set()
        self._remembered: dict[str, tuple[str, int, float]] = {}

    @property
    def sets(self) -> dict[str, dict[str, Any]]:
        """The record sets as Route 53 has them now."""
        return self._versions[-1].sets

    def table(self) -> Table:
        """`{endpoint: host name}` as Route 53 has them now."""
        return {name: value_of(entry) for name, entry in self.sets.items()}

    def write(self, sets: dict[str, dict[str, Any]]) -> None:
        self._versions.append(_Version(self._scheduler.time, sets))

    def insync_at(self) -> float:
        """When every name server has the last change."""
        return self._versions[-1].since + max(self.lag.values())

    def told_by(self, server: str, name: str) -> tuple[str, int]:
        """A name server's `(target, TTL)`."""
        seen = self._scheduler.time - self.lag[server]
        sets = next(version.sets for version in reversed(self._versions) if version.since <= max(0.0, seen))
        return value_of(sets[name]), int(sets[name]["TTL"])

    def resolve(self, name: str, server: str = NAME_SERVERS[0]) -> tuple[str, int]:
        """What the devices' resolver answers; `server`: whom it asks when it does not know."""
        now = self._scheduler.time
        known = self._remembered.get(name)
        if known is None or known[2] <= now:
            target, ttl = self.told_by(server, name)
            known = self._remembered[name] = (target, ttl, now + max(float(ttl), self.keeps))
        return known[0], max(0, int(known[2] - now))

    def query(self, server: Server, name: str, rdtype: str) -> dns.message.Message | gate.Answer:
        """What the engine hears from a server; in place of `gate._query`."""
        if server.address in self.mute:
            self._scheduler.sleep(gate.QUERY_TIMEOUT)
            return gate.Answer("(Timeout)", received=False)
        self._scheduler.sleep(0.01)
        reply = dns.message.make_response(dns.message.make_query(name, rdtype))
        if rdtype == "CNAME":
            found = self.resolve(name) if server.recursive else self.told_by(server.address, name)
            reply.answer.append(dns.rrset.from_text(f"{name}.", found[1], "IN", "CNAME", f"{found[0]}."))
        return reply


def value_of(entry: dict[str, Any]) -> str:
    return str(entry["ResourceRecords"][0]["Value"]).rstrip(".").lower()
