"""DNS is true before anyone is disconnected: every server is asked until all answer the new target."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.inet
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver

from .errors import NotConvergedError, RefusedError
from .route53 import plain

QUERY_TIMEOUT = 2.0
INTERVAL = 0.1
DNS_PORT = 53


@dataclass(frozen=True)
class Server:
    """A DNS server to ask.

    Attributes:
        name: what errors call it.
        recursive: a resolver (asked to recurse) or one of the zone's own name servers.
    """

    name: str
    address: str
    port: int = DNS_PORT
    recursive: bool = False


Ask = Callable[[Server, str], str]


def parse_server(text: str, recursive: bool) -> Server:
    """Return the server of `address` or `address:port` (`[address]:port` for IPv6).

    Raises:
        RefusedError: a port that is none, or a resolver without an address: who would look its name up?
    """
    host, port = text, DNS_PORT
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = _port(text, rest[1:]) if rest else port
    elif text.count(":") == 1:
        host, rest = text.split(":")
        port = _port(text, rest)
    if recursive and not dns.inet.is_address(host):
        raise RefusedError(f"resolver {text}: found no IP address, expected one: correct dns_resolvers")
    return Server(text, host, port, recursive)


def _port(text: str, port: str) -> int:
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise RefusedError(f"DNS server {text}: found port {port}, expected 1 to 65535: correct it")
    return int(port)


def system_resolvers() -> list[str]:
    """The addresses of the resolvers that this machine uses."""
    try:
        return [str(address) for address in dns.resolver.Resolver().nameservers]
    except dns.resolver.NoResolverConfiguration:
        return []


def servers(authoritative: Iterable[str], resolvers: Sequence[str]) -> list[Server]:
    """Return the name servers (given by host name or address, resolved by `resolvers`) and the resolvers.

    Raises:
        RefusedError: a name server's name that no resolver answers.
    """
    recursive = [parse_server(text, recursive=True) for text in resolvers or system_resolvers()]
    lookup = dns.resolver.Resolver(configure=False)
    lookup.nameservers = [server.address for server in recursive]
    lookup.nameserver_ports = {server.address: server.port for server in recursive}
    found = [_locate(parse_server(text, recursive=False), lookup) for text in authoritative]
    return [*found, *recursive]


def _locate(server: Server, lookup: dns.resolver.Resolver) -> Server:
    if dns.inet.is_address(server.address):
        return server
    try:
        answer = lookup.resolve(server.address, "A", lifetime=QUERY_TIMEOUT * 3)
    except dns.exception.DNSException as error:
        raise RefusedError(
            f"name server {server.name}: found no address ({type(error).__name__}), expected one: "
            "check dns_resolvers, or name the servers' addresses"
        ) from error
    return Server(server.name, str(answer[0]), server.port)


def ask(server: Server, name: str) -> str:
    """Return the CNAME target that a server answers, or in brackets why it answers none."""
    query = dns.message.make_query(name, dns.rdatatype.CNAME)
    if not server.recursive:
        query.flags &= ~dns.flags.RD
    try:
        answer, _ = dns.query.udp_with_fallback(query, server.address, QUERY_TIMEOUT, server.port)
    except (dns.exception.DNSException, OSError) as error:
        return f"({type(error).__name__})"
    for rrset in answer.answer:
        if rrset.rdtype == dns.rdatatype.CNAME and plain(rrset.name.to_text()) == plain(name):
            return plain(rrset[0].target.to_text())
    return f"({dns.rcode.to_text(answer.rcode())}, no CNAME)"


@dataclass(frozen=True)
class Gate:
    """How long to insist.

    Attributes:
        consecutive: right answers in a row that a server must give; behind one address there may be several.
        timeout: seconds.
    """

    consecutive: int
    timeout: float
    ask: Ask = ask
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def wait(self, asked: Sequence[Server], expected: Mapping[str, str]) -> None:
        """Return when every server answers every name's expected target.

        Raises:
            NotConvergedError: names the servers that are stale, and what they answer.
        """
        deadline = self.clock() + self.timeout
        with ThreadPoolExecutor(max_workers=max(1, len(asked))) as pool:
            stale = [text for text in pool.map(lambda server: self._insist(server, expected, deadline), asked) if text]
        if stale:
            raise NotConvergedError(
                f"DNS after {self.timeout:.0f} s: found {'; '.join(stale)}: nobody was disconnected, "
                "see to these servers and run again"
            )

    def _insist(self, server: Server, expected: Mapping[str, str], deadline: float) -> str | None:
        """Ask one server until it is right; return what is wrong when the time is over."""
        right = 0
        while True:
            answers = {name: self.ask(server, name) for name in expected}
            wrong = {name: answer for name, answer in answers.items() if answer != plain(expected[name])}
            right = 0 if wrong else right + 1
            if right >= self.consecutive:
                return None
            if self.clock() >= deadline:
                shown = ", ".join(f"{name} = {answer}, expected {expected[name]}" for name, answer in wrong.items())
                return f"{server.name}: {shown or f'right only {right} times in a row'}"
            self.sleep(INTERVAL)
