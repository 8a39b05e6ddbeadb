"""The DNS gate: before any client is disconnected, query every server until all answer the new target."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_futures
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Literal

import dns.exception
import dns.flags
import dns.inet
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver

from ..model.dns_server import Server, parse_server
from ..model.errors import NotConvergedError, RefusedError
from ..model.findings import Finding
from ..model.names import plain

QUERY_TIMEOUT = 2.0
INTERVAL = 0.1
REPORT_INTERVAL = 1.0
# After so many unanswered queries and no answer, a resolver counts as dead.
DEAD_AFTER = 3
# Queries to a server before a move is refused because it does not answer: a packet may be lost.
CHECK_TRIES = 2
SHOWN_IN_ERROR = 6
TARGETS_SHOWN = 3

Policy = Literal["wait", "proceed", "abort"]


@dataclass(frozen=True)
class Answer:
    """The result of one query.

    Attributes:
        text: the CNAME's target, or in parentheses why there is none.
        ttl: seconds, as answered; None without a CNAME.
        received: False when the server did not answer.
        authoritative: whether the answer has the AA flag, so that it is not from a cache.
    """

    text: str
    ttl: float | None = None
    received: bool = True
    authoritative: bool = True


@dataclass(frozen=True)
class Stale:
    """A server that does not answer a name's new target.

    Attributes:
        answer: the CNAME's target, or in parentheses why there is none.
        seconds: for how long a resolver may still cache that answer; None where unknown.
    """

    server: str
    name: str
    answer: str
    expected: str
    seconds: float | None

    def text(self) -> str:
        left = "" if self.seconds is None else f" for {self.seconds:.0f} s more"
        return f"{self.server}: {self.name} = {self.answer}{left}, expected {self.expected}"


class StaleServersError(NotConvergedError):
    """Servers were still stale at the timeout.

    Attributes:
        stale: the servers, with their answers.
        policy: of the gate; under `abort` the caller restores the records.
    """

    def __init__(self, message: str, stale: Sequence[Stale], policy: Policy) -> None:
        super().__init__(message)
        self.stale = list(stale)
        self.policy = policy


Ask = Callable[[Server, str], Answer]


def system_resolvers() -> list[str]:
    """The addresses of the resolvers that this machine uses."""
    try:
        return [str(address) for address in dns.resolver.Resolver().nameservers]
    except dns.resolver.NoResolverConfiguration:
        return []


def servers(authoritative: Iterable[str], resolvers: Sequence[str]) -> list[Server]:
    """Return the name servers (given by host name or address, resolved by `resolvers`) and the resolvers.

    Raises:
        RefusedError: a name server's name that no resolver resolves.
    """
    recursive = [parse_server(text, recursive=True) for text in resolvers or system_resolvers()]
    lookup = resolver(recursive)
    found = [_locate(parse_server(text, recursive=False), lookup) for text in authoritative]
    return [*found, *recursive]


def resolver(recursive: Sequence[Server]) -> dns.resolver.Resolver:
    """Return a resolver that uses these servers only, and none of the system's."""
    asked = dns.resolver.Resolver(configure=False)
    asked.nameservers = [server.address for server in recursive]
    asked.nameserver_ports = {server.address: server.port for server in recursive}
    return asked


def _locate(server: Server, lookup: dns.resolver.Resolver) -> Server:
    if dns.inet.is_address(server.address):
        return server
    try:
        answer = lookup.resolve(server.address, "A", lifetime=QUERY_TIMEOUT * 3)
    except dns.exception.DNSException as error:
        raise RefusedError(
            f"name server {server.name}: found no address ({type(error).__name__}): "
            "check dns_resolvers, or configure the servers' addresses"
        ) from error
    return Server(server.name, str(answer[0]), server.port)


def ask(server: Server, name: str) -> Answer:
    """Query a server for a name's CNAME, within QUERY_TIMEOUT.

    A name has one CNAME (https://www.rfc-editor.org/rfc/rfc2181#section-10.1), and a query
    for the CNAME itself is answered without an error (https://www.rfc-editor.org/rfc/rfc6604#section-3); in the rest
    resolvers differ.
    """
    reply = _query(server, name, "CNAME")
    return reply if isinstance(reply, Answer) else _cname(reply, name)


def _cname(reply: dns.message.Message, name: str) -> Answer:
    found = {
        plain(record.target.to_text()): rrset.ttl
        for rrset in reply.answer
        if rrset.rdtype == dns.rdatatype.CNAME and plain(rrset.name.to_text()) == plain(name)
        for record in rrset
    }
    code, authoritative = dns.rcode.to_text(reply.rcode()), bool(reply.flags & dns.flags.AA)
    targets = ", ".join(sorted(found)[:TARGETS_SHOWN])
    if not found:
        return Answer(f"({code}, no CNAME)", authoritative=authoritative)
    ttl = float(max(found.values()))
    if reply.rcode() != dns.rcode.NOERROR:
        return Answer(f"({code} beside {targets})", ttl, authoritative=authoritative)
    if len(found) > 1:
        return Answer(f"({len(found)} CNAMEs: {targets})", ttl, authoritative=authoritative)
    return Answer(targets, ttl, authoritative=authoritative)


def _query(server: Server, name: str, rdtype: str) -> dns.message.Message | Answer:
    """Return the server's reply, each record in its own RRset, or an Answer that says why there is none."""
    deadline = time.monotonic() + QUERY_TIMEOUT
    try:
        query = dns.message.make_query(name, rdtype)
        if not server.recursive:
            query.flags &= ~dns.flags.RD
        try:
            return dns.query.udp(
                query, server.address, QUERY_TIMEOUT, server.port, raise_on_truncation=True, one_rr_per_rrset=True
            )
        except dns.message.Truncated:
            left = deadline - time.monotonic()
            return dns.query.tcp(query, server.address, left, server.port, one_rr_per_rrset=True)
    except (dns.exception.DNSException, OSError) as error:
        return Answer(f"({type(error).__name__})", received=False)


@dataclass
class _Watch:
    """The answers of one server so far.

    Attributes:
        last: each name's newest answer, and its time.
        right: rounds in a row in which all answers were right; an unanswered query does not reset it.
        unanswered: queries without an answer.
        answered: whether it has ever answered.
    """

    server: Server
    expected: Mapping[str, str]
    consecutive: int
    last: dict[str, tuple[Answer, float]] = field(default_factory=dict)
    right: int = 0
    unanswered: int = 0
    answered: bool = False

    @property
    def settled(self) -> bool:
        return self.right >= self.consecutive

    @property
    def dead(self) -> bool:
        return not self.answered and self.unanswered >= DEAD_AFTER

    def add(self, answers: Mapping[str, Answer], now: float) -> None:
        """Add a round of answers, which lacks names after an unanswered query or at the timeout."""
        # Replaced, never changed: another thread may be reading it.
        self.last = {**self.last, **{name: (answer, now) for name, answer in answers.items()}}
        received = {name: answer for name, answer in answers.items() if answer.received}
        self.answered = self.answered or bool(received)
        self.unanswered += len(answers) - len(received)
        if any(answer.text != self.expected[name] for name, answer in received.items()):
            self.right = 0
        elif len(received) == len(self.expected):
            self.right += 1

    def stale(self, now: float) -> list[Stale]:
        """The names for which this server is stale; none when it is settled."""
        if self.settled:
            return []
        last = self.last
        wrong = [name for name, target in self.expected.items() if name not in last or last[name][0].text != target]
        return [self._stale(name, last.get(name), now) for name in wrong or self.expected]

    def _stale(self, name: str, last: tuple[Answer, float] | None, now: float) -> Stale:
        answer, at = last or (Answer("(not asked)"), now)
        if answer.text == self.expected[name]:
            answer = Answer(f"(right only {self.right} times in a row)")
        ttl = answer.ttl if self.server.recursive else None
        seconds = None if ttl is None else max(0.0, at + ttl - now)
        return Stale(self.server.name, name, answer.text, self.expected[name], seconds)


@dataclass(frozen=True)
class Gate:
    """How to wait for DNS.

    Attributes:
        consecutive: right answers in a row that a server must give; one address may stand for several servers.
        timeout: seconds, more than 0. The gate ends QUERY_TIMEOUT after that at the latest.
        policy: whether a resolver that stays stale is an error: with `wait` and `abort` it is, with `proceed` not.
        report: called every REPORT_INTERVAL with the stale servers and the seconds left.
        settled: called, in any thread, with a server that now answers right.
    """

    consecutive: int
    timeout: float
    policy: Policy = "wait"
    report: Callable[[Sequence[Stale], float], None] = lambda _stale, _left: None
    settled: Callable[[Server], None] = lambda _server: None
    ask: Ask = ask
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def wait(self, asked: Sequence[Server], expected: Mapping[str, str]) -> list[Stale]:
        """Return when every server answers every name's expected target, with the resolvers that were skipped.

        The zone's name servers come first: a resolver that is queried while one of them lags may get the old answer
        from it, and cache it. Servers that are right are queried until all are.

        Returns:
            Nothing, or under `proceed` the resolvers that were stale at the timeout, or that are dead: dead resolvers
            give no device a stale answer.

        Raises:
            StaleServersError: servers were stale at the timeout, and may not be skipped.
        """
        deadline = self.clock() + self.timeout
        hosts = {name: plain(host) for name, host in expected.items()}
        every = [_Watch(server, hosts, self.consecutive) for server in asked]
        authoritative = [watch for watch in every if not watch.server.recursive]
        for watches in (authoritative, every):
            # Repeated when the last answer of a server that was right is wrong.
            while not self._done(watches) and self.clock() < deadline:
                self._poll_all(watches, deadline)
        return self._result(authoritative, every)

    def _result(self, authoritative: Sequence[_Watch], every: Sequence[_Watch]) -> list[Stale]:
        stale = self._stale(every)
        fatal = self._stale(authoritative) or (stale if self.policy != "proceed" else [])
        if not fatal:
            return stale
        shown = "; ".join(each.text() for each in fatal[:SHOWN_IN_ERROR])
        rest = len(fatal) - SHOWN_IN_ERROR
        more = f"; and {rest} more" if rest > 0 else ""
        raise StaleServersError(
            f"DNS after {self.timeout:.0f} s: found {shown}{more}: nobody was disconnected, "
            "fix these servers, then run again",
            fatal,
            self.policy,
        )

    def _stale(self, watches: Iterable[_Watch]) -> list[Stale]:
        now = self.clock()
        return [stale for watch in watches for stale in watch.stale(now)]

    def _done(self, watches: Iterable[_Watch]) -> bool:
        return all(
            watch.settled or (self.policy == "proceed" and watch.server.recursive and watch.dead) for watch in watches
        )

    def _poll_all(self, watches: Sequence[_Watch], deadline: float) -> None:
        """Query each server in its own thread until all are done or the deadline is reached."""
        over = threading.Event()
        with ThreadPoolExecutor(max_workers=len(watches)) as pool:
            try:
                running = {pool.submit(self._poll, watch, watches, deadline, over) for watch in watches}
                while running:
                    ended, running = wait_futures(running, REPORT_INTERVAL)
                    for future in ended:
                        future.result()
                    if running and not over.is_set():
                        self.report(self._stale(watches), max(0.0, deadline - self.clock()))
            finally:
                over.set()

    def _poll(self, watch: _Watch, watches: Collection[_Watch], deadline: float, over: threading.Event) -> None:
        def ended() -> bool:
            return over.is_set() or self.clock() >= deadline

        while not ended():
            before = watch.settled
            watch.add(self._round(watch, ended), self.clock())
            if watch.settled and not before:
                self.settled(watch.server)
            if self._done(watches):
                over.set()
                return
            self.sleep(INTERVAL)

    def _round(self, watch: _Watch, ended: Callable[[], bool]) -> dict[str, Answer]:
        answers: dict[str, Answer] = {}
        for name in takewhile(lambda _: not ended(), watch.expected):
            answers[name] = self.ask(watch.server, name)
            if not answers[name].received:
                # A server that does not answer one name answers none, and each would take QUERY_TIMEOUT.
                break
        return answers


def name_servers_of(server: Server, zone: str) -> frozenset[str] | None:
    """The host names of a zone's name servers by a resolver; empty where it answers that there is no such zone.

    Returns:
        None where it gives no usable answer.
    """
    reply = _query_again(server, zone, "NS")
    code = None if reply is None else reply.rcode()
    if reply is None or code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return None
    names = _values(reply, zone, "NS")
    # The SOA of a negative answer belongs to the zone that gave it: https://www.rfc-editor.org/rfc/rfc2308.
    above = [rrset for rrset in reply.authority if rrset.rdtype == dns.rdatatype.SOA]
    denied = code == dns.rcode.NXDOMAIN or any(plain(rrset.name.to_text()) != plain(zone) for rrset in above)
    return names if names or denied else None


def addresses_of(server: Server, name: str) -> frozenset[str]:
    """The IPv4 addresses of a name by a resolver."""
    reply = _query_again(server, name, "A")
    return frozenset() if reply is None else _values(reply, None, "A")


def _values(reply: dns.message.Message, name: str | None, rdtype: str) -> frozenset[str]:
    """The records of a type in a reply's answer section, of one name or of any."""
    return frozenset(
        plain(record.to_text())
        for rrset in reply.answer
        if rrset.rdtype == dns.rdatatype.from_text(rdtype)
        and (name is None or plain(rrset.name.to_text()) == plain(name))
        for record in rrset
    )


def _query_again(server: Server, name: str, rdtype: str) -> dns.message.Message | None:
    """The server's reply; None after CHECK_TRIES queries without one."""
    replies = (_query(server, name, rdtype) for _ in range(CHECK_TRIES))
    return next((each for each in replies if isinstance(each, dns.message.Message)), None)


def check(asked: Sequence[Server], current: Mapping[str, str], policy: Policy = "wait") -> list[Finding]:
    """Find servers that would never pass the gate, and name servers that lag before the switch. Reads only.

    A resolver is queried for the domain above a name and never for the name itself: a resolver that caches answers for
    longer than their TTL would otherwise cache the answer that is about to become stale.

    Args:
        asked: the servers.
        current: `{endpoint: host name}`, the current records.
        policy: under `proceed` a resolver that does not answer is not blocking.

    Returns:
        `dns_server` for a server without a usable answer, and (never blocking) for a name server whose answer is not
        authoritative: resolvers do not accept it, so a move need not fail because of it. `dns_lag` (never blocking) for
        a name server whose answer differs from the record.
    """
    if not asked or not current:
        return []
    with ThreadPoolExecutor(max_workers=len(asked)) as pool:
        found = pool.map(lambda server: _check(server, current, policy), asked)
        return [finding for findings in found for finding in findings]


def _check(server: Server, current: Mapping[str, str], policy: Policy) -> list[Finding]:
    if server.recursive:
        problem = _resolver_problem(server, next(iter(current)))
        return [_unusable(server, problem, blocking=policy != "proceed")] if problem else []
    findings: list[Finding] = []
    for name, target in current.items():
        answer = _ask_again(server, name)
        if answer.text.startswith("("):
            return [*findings, _unusable(server, f"{name} = {answer.text}", blocking=True)]
        if answer.text != plain(target):
            findings.append(_lag(server, name, answer.text, target))
        if not answer.authoritative:
            findings.append(_not_authoritative(server, name))
    return findings


def _ask_again(server: Server, name: str) -> Answer:
    answers = (ask(server, name) for _ in range(CHECK_TRIES))
    return next((answer for answer in answers if answer.received), Answer("(no answer)", received=False))


def _resolver_problem(server: Server, name: str) -> str | None:
    domain = dns.name.from_text(name).parent().to_text()
    reply = _query_again(server, domain, "SOA")
    if reply is None:
        return "no answer"
    code = dns.rcode.to_text(reply.rcode())
    return None if code in ("NOERROR", "NXDOMAIN") else f"{code} for {domain}"


def _unusable(server: Server, found: str, blocking: bool) -> Finding:
    kind = "resolver" if server.recursive else "name server"
    advice = "fix it, or remove it from dns_resolvers" if server.recursive else "fix it, a move waits for it"
    return Finding("dns_server", blocking, "", "", f"{kind} {server.name}: {found}", "", advice)


def _not_authoritative(server: Server, name: str) -> Finding:
    found = f"the answer of name server {server.name} is not authoritative"
    advice = "check that it serves the zone, and that nothing on the way answers in its place"
    return Finding("dns_server", False, "", name, found, "", advice)


def _lag(server: Server, name: str, answer: str, target: str) -> Finding:
    return Finding(
        "dns_lag", False, "", name, f"{answer} at name server {server.name}", plain(target), "a move waits for it"
    )
