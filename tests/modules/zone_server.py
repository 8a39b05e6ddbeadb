"""DNS servers on loopback ports: one that answers what the stand-in's hosted zone says, and ones that misbehave."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

import boto3
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from .conftest import HOSTED_ZONE_ID, NAME_SERVERS


@dataclass(frozen=True)
class Cname:
    target: str
    ttl: int


NOTHING: Mapping[str, Sequence[str]] = MappingProxyType({})
# What resolvers say of the stand-in's zone.
DELEGATED = {"example.com": NAME_SERVERS}
LookUp = Callable[[str], Cname | None]


@contextmanager
def zone_server(**credentials: str) -> Iterator[str]:
    """Yield the `address:port` of a server of the stand-in's zone, which it asks with these credentials of boto3's."""
    route53 = boto3.client("route53", region_name="us-east-1", **credentials)

    def look_up(name: str) -> Cname | None:
        found = route53.list_resource_record_sets(HostedZoneId=HOSTED_ZONE_ID)["ResourceRecordSets"]
        for entry in found:
            if entry["Name"].rstrip(".") == name and entry["Type"] == "CNAME":
                return Cname(entry["ResourceRecords"][0]["Value"].rstrip("."), entry["TTL"])
        return None

    with dns_server(look_up, delegated=DELEGATED) as server:
        yield server


@contextmanager
def dns_server(
    look_up: LookUp,
    rcode: int = dns.rcode.NOERROR,
    truncated: bool = False,
    authoritative: bool = True,
    beside: str | None = None,
    delegated: Mapping[str, Sequence[str]] = NOTHING,
) -> Iterator[str]:
    """Yield the `address:port` of a server that answers CNAMEs from a function of the name without its last dot.

    Args:
        look_up: what it knows.
        rcode: what it says of each answer.
        truncated: whether its answers over UDP are empty, and those over TCP full.
        authoritative: whether it says that its answers are its own.
        beside: target of a second CNAME in every answer that has one.
        delegated: `{zone: its name servers}`, as a resolver tells them.
    """

    def respond(wire: bytes, full: bool) -> bytes:
        query = dns.message.from_wire(wire)
        answer = dns.message.make_response(query)
        answer.set_rcode(dns.rcode.Rcode(rcode))
        answer.flags |= dns.flags.AA if authoritative else 0
        question = query.question[0]
        found = look_up(question.name.to_text().rstrip("."))
        name_servers = delegated.get(question.name.to_text().rstrip("."), ())
        if question.rdtype == dns.rdatatype.NS and name_servers:
            texts = [f"{name}." for name in name_servers]
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", "NS", *texts))
        if not full:
            answer.flags |= dns.flags.TC
        elif found and question.rdtype == dns.rdatatype.CNAME:
            for target in (found.target, beside):
                if target:
                    answer.answer.append(dns.rrset.from_text(question.name, found.ttl, "IN", "CNAME", f"{target}."))
        return answer.to_wire()

    stopped = threading.Event()
    with _sockets() as (udp, tcp):
        threads = [
            threading.Thread(target=_serve_udp, args=(udp, stopped, lambda wire: respond(wire, not truncated))),
            threading.Thread(target=_serve_tcp, args=(tcp, stopped, lambda wire: respond(wire, True))),
        ]
        for thread in threads:
            thread.start()
        try:
            yield _address(udp)
        finally:
            stopped.set()
            for thread in threads:
                thread.join()


@contextmanager
def dead_server() -> Iterator[str]:
    """Yield the `address:port` of a server that takes queries and never answers."""
    with _sockets() as (udp, _):
        yield _address(udp)


@dataclass
class Lagging:
    """A name server that answers what it knew when it was made, until it has caught up."""

    zone: dict[str, Cname]
    caught_up: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._old = dict(self.zone)

    def __call__(self, name: str) -> Cname | None:
        return (self.zone if self.caught_up.is_set() else self._old).get(name)


@dataclass
class Clamping:
    """A resolver that keeps every answer for at least so many seconds, whatever its TTL."""

    upstream: LookUp
    seconds: int
    clock: Callable[[], float] = time.monotonic
    _kept: dict[str, tuple[Cname, float]] = field(default_factory=dict)

    def __call__(self, name: str) -> Cname | None:
        now = self.clock()
        if name not in self._kept or self._kept[name][1] <= now:
            found = self.upstream(name)
            if not found:
                return None
            self._kept[name] = found, now + max(self.seconds, found.ttl)
        known, until = self._kept[name]
        return Cname(known.target, round(until - now))


@contextmanager
def _sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A UDP and a TCP socket on the same free port."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(tcp.getsockname())
        for each in (tcp, udp):
            each.settimeout(0.1)
        yield udp, tcp


def _address(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


def _serve_udp(listener: socket.socket, stopped: threading.Event, respond: Callable[[bytes], bytes]) -> None:
    while not stopped.is_set():
        try:
            wire, peer = listener.recvfrom(4096)
        except TimeoutError:
            continue
        listener.sendto(respond(wire), peer)


def _serve_tcp(listener: socket.socket, stopped: threading.Event, respond: Callable[[bytes], bytes]) -> None:
    while not stopped.is_set():
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        with connection, connection.makefile("rwb") as stream:
            wire = respond(stream.read(int.from_bytes(stream.read(2), "big")))
            stream.write(len(wire).to_bytes(2, "big") + wire)
