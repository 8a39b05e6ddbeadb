"""DNS is true before anyone is disconnected: every server is asked until all answer the new target."""

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
# A resolver that left so many queries unanswered and answered none is dead.
DEAD_AFTER = 3
# How often a server is asked before a move is refused because it does not answer: a packet may be lost.
CHECK_TRIES = 2
SHOWN_IN_ERROR = 6
TARGETS_SHOWN = 3

Policy = Literal["wait", "proceed", "abort"]


@dataclass(frozen=True)
class Answer:
    """What became of one query.

    Attributes:
        text: the CNAME's target, or in brackets why there is none.
        ttl: seconds, as the server said; None without a CNAME.
        came: False when the server stayed silent.
        authoritative: whether the server says that the answer is its own, and no copy that it keeps.
    """

    text: str
    ttl: float | None = None
    came: bool = True
    authoritative: bool = True


@dataclass(frozen=True)
class Stale:
    """A server that does not answer a name's new target.

    Attributes:
        answer: the CNAME's target, or in brackets why there is none.
        seconds: for how long a resolver may still keep that answer; None where nobody knows.
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
    """Servers still answered something else when the time was over.

    Attributes:
        stale: which and what.
        policy: what was to happen then; under `abort` the caller restores the records.
    """

    def __init__(self, message: str, stale: Sequence[Stale], policy: Policy) -> None:
        super().__init__(message)
        self.stale = list(stale)
        self.policy = policy


Ask = Callable[[Server, str], Answer]
Report = Callable[[Sequence[Stale], float], None]
Settled = Callable[[Server], None]


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
    lookup = resolver(recursive)
    found = [_locate(parse_server(text, recursive=False), lookup) for text in authoritative]
    return [*found, *recursive]


def resolver(recursive: Sequence[Server]) -> dns.resolver.Resolver:
    """Return a resolver that asks these servers, and none of the system's."""
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
            f"name server {server.name}: found no address ({type(error).__name__}), expected one: "
            "check dns_resolvers, or name the servers' addresses"
        ) from error
    return Server(server.name, str(answer[0]), server.port)


def ask(server: Server, name: str) -> Answer:
    """Ask a server for a name's CNAME, for QUERY_TIMEOUT at most.

    A name has one CNAME (https://www.rfc-editor.org/rfc/rfc2181#section-10.1), and no error comes with it where the
    CNAME itself is asked for (https://www.rfc-editor.org/rfc/rfc6604#section-3); resolvers make of the rest what they
    like.
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
    """Return the server's reply, each record in a set of its own, or the Answer that none came."""
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
        return Answer(f"({type(error).__name__})", came=False)


@dataclass
class _Watch:
    """What one server has answered so far.

    Attributes:
        last: each name's newest answer, and when it came.
        right: how often in a row it was right for all names. Silence is no answer, so it does not count against it.
        silent: queries it left unanswered.
        spoke: whether it ever answered.
    """

    server: Server
    expected: Mapping[str, str]
    consecutive: int
    last: dict[str, tuple[Answer, float]] = field(default_factory=dict)
    right: int = 0
    silent: int = 0
    spoke: bool = False

    @property
    def settled(self) -> bool:
        return self.right >= self.consecutive

    @property
    def dead(self) -> bool:
        return not self.spoke and self.silent >= DEAD_AFTER

    def hear(self, answers: Mapping[str, Answer], now: float) -> None:
        """Take in one round of queries, which is cut short when the server is silent or the time is over."""
        # Replaced, never changed: another thread may be reading it.
        self.last = {**self.last, **{name: (answer, now) for name, answer in answers.items()}}
        came = {name: answer for name, answer in answers.items() if answer.came}
        self.spoke = self.spoke or bool(came)
        self.silent += sum(not answer.came for answer in answers.values())
        if any(answer.text != self.expected[name] for name, answer in came.items()):
            self.right = 0
        elif len(came) == len(self.expected):
            self.right += 1

    def stale(self, now: float) -> list[Stale]:
        """What is wrong with this server, per name; nothing when it is settled."""
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


def _ignore(stale: Sequence[Stale], left: float) -> None:
    pass


def _pass_over(server: Server) -> None:
    pass


@dataclass(frozen=True)
class Gate:
    """How long to insist.

    Attributes:
        consecutive: right answers in a row that a server must give; behind one address there may be several.
        timeout: seconds, more than 0. The gate ends QUERY_TIMEOUT after that at the latest.
        policy: what becomes of a resolver that stays stale: `wait` and `abort` make it an error, `proceed` does not.
        report: called every REPORT_INTERVAL with who is stale and the seconds that are left.
        settled: called, in any thread, with a server that has come to be right.
    """

    consecutive: int
    timeout: float
    policy: Policy = "wait"
    report: Report = _ignore
    settled: Settled = _pass_over
    ask: Ask = ask
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def wait(self, asked: Sequence[Server], expected: Mapping[str, str]) -> list[Stale]:
        """Return when every server answers every name's expected target, with the resolvers that were given up.

        The zone's name servers come first: a resolver that is asked while one of them lags may get the old answer from
        it, and keep it. Until the end, servers that are right are asked along with the others.

        Returns:
            Nothing, or under `proceed` the resolvers that were stale when the time was over, or that are dead: no
            device gets a stale answer from those.

        Raises:
            StaleServersError: servers were stale when the time was over, and are not to be passed over.
        """
        deadline = self.clock() + self.timeout
        targets = {name: plain(target) for name, target in expected.items()}
        everyone = [_Watch(server, targets, self.consecutive) for server in asked]
        own = [watch for watch in everyone if not watch.server.recursive]
        for watches in (own, everyone):
            # Again, when a query that was still under way brought a wrong answer.
            while not self._enough(watches) and self.clock() < deadline:
                self._follow(watches, deadline)
        return self._judge(own, everyone)

    def _judge(self, own: Sequence[_Watch], everyone: Sequence[_Watch]) -> list[Stale]:
        stale = self._stale(everyone)
        fatal = self._stale(own) or (stale if self.policy != "proceed" else [])
        if not fatal:
            return stale
        shown = "; ".join(each.text() for each in fatal[:SHOWN_IN_ERROR])
        rest = len(fatal) - SHOWN_IN_ERROR
        more = f"; and {rest} more" if rest > 0 else ""
        raise StaleServersError(
            f"DNS after {self.timeout:.0f} s: found {shown}{more}: nobody was disconnected, "
            "see to these servers and run again",
            fatal,
            self.policy,
        )

    def _stale(self, watches: Iterable[_Watch]) -> list[Stale]:
        now = self.clock()
        return [stale for watch in watches for stale in watch.stale(now)]

    def _enough(self, watches: Iterable[_Watch]) -> bool:
        return all(
            watch.settled or (self.policy == "proceed" and watch.server.recursive and watch.dead) for watch in watches
        )

    def _follow(self, watches: Sequence[_Watch], deadline: float) -> None:
        """Ask each server in a thread of its own until that is enough or the time is over."""
        over = threading.Event()
        with ThreadPoolExecutor(max_workers=len(watches)) as pool:
            try:
                running = {pool.submit(self._insist, watch, watches, deadline, over) for watch in watches}
                while running:
                    ended, running = wait_futures(running, REPORT_INTERVAL)
                    for future in ended:
                        future.result()
                    if running and not over.is_set():
                        self.report(self._stale(watches), max(0.0, deadline - self.clock()))
            finally:
                over.set()

    def _insist(self, watch: _Watch, watches: Collection[_Watch], deadline: float, over: threading.Event) -> None:
        def ended() -> bool:
            return over.is_set() or self.clock() >= deadline

        while not ended():
            before = watch.settled
            watch.hear(self._round(watch, ended), self.clock())
            if watch.settled and not before:
                self.settled(watch.server)
            if self._enough(watches):
                over.set()
                return
            self.sleep(INTERVAL)

    def _round(self, watch: _Watch, ended: Callable[[], bool]) -> dict[str, Answer]:
        answers: dict[str, Answer] = {}
        for name in takewhile(lambda _: not ended(), watch.expected):
            answers[name] = self.ask(watch.server, name)
            if not answers[name].came:
                # Who is silent for one name is so for all, and each would cost QUERY_TIMEOUT.
                break
        return answers


def name_servers_of(server: Server, zone: str) -> frozenset[str] | None:
    """The host names of a zone's name servers as a resolver tells them: none where it says that there is no such zone.

    Returns:
        None where it says neither.
    """
    reply = _query_again(server, zone, "NS")
    code = None if reply is None else reply.rcode()
    if reply is None or code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return None
    told = _values(reply, zone, "NS")
    # The SOA of a negative answer is that of the zone which it comes from: https://www.rfc-editor.org/rfc/rfc2308.
    above = [rrset for rrset in reply.authority if rrset.rdtype == dns.rdatatype.SOA]
    denied = code == dns.rcode.NXDOMAIN or any(plain(rrset.name.to_text()) != plain(zone) for rrset in above)
    return told if told or denied else None


def addresses_of(server: Server, name: str) -> frozenset[str]:
    """The IPv4 addresses of a name as a resolver tells them."""
    reply = _query_again(server, name, "A")
    return frozenset() if reply is None else _values(reply, None, "A")


def _values(reply: dns.message.Message, name: str | None, rdtype: str) -> frozenset[str]:
    """The records of a type in a reply's answer, of one name or of any."""
    return frozenset(
        plain(record.to_text())
        for rrset in reply.answer
        if rrset.rdtype == dns.rdatatype.from_text(rdtype)
        and (name is None or plain(rrset.name.to_text()) == plain(name))
        for record in rrset
    )


def _query_again(server: Server, name: str, rdtype: str) -> dns.message.Message | None:
    """The server's reply; None where none came, however often it was asked."""
    replies = (_query(server, name, rdtype) for _ in range(CHECK_TRIES))
    return next((each for each in replies if isinstance(each, dns.message.Message)), None)


def check(asked: Sequence[Server], current: Mapping[str, str], policy: Policy = "wait") -> list[Finding]:
    """Before the switch: servers that the gate would wait for in vain, and name servers that lag even now. Reads only.

    A resolver is asked about the domain above a name and never for the name itself: one that keeps answers for longer
    than their TTL would, by that very question, keep the answer that is about to become the old one.

    Args:
        asked: the servers.
        current: `{endpoint: host name}`, the records as they are.
        policy: under `proceed` a resolver that does not answer is only told.

    Returns:
        `dns_server` for a server without a useful answer, and (never blocking) for a name server whose answer is no
        authoritative one: resolvers do not take it from there, so a move need not fail for it. `dns_lag` (never
        blocking) for a name server that answers something else than the record.
    """
    if not asked or not current:
        return []
    with ThreadPoolExecutor(max_workers=len(asked)) as pool:
        found = pool.map(lambda server: _check(server, current, policy), asked)
        return [finding for findings in found for finding in findings]


def _check(server: Server, current: Mapping[str, str], policy: Policy) -> list[Finding]:
    if server.recursive:
        problem = _resolver_problem(server, next(iter(current)))
        return [_useless(server, problem, blocking=policy != "proceed")] if problem else []
    findings: list[Finding] = []
    for name, target in current.items():
        answer = _ask_again(server, name)
        if answer.text.startswith("("):
            return [*findings, _useless(server, f"{name} = {answer.text}", blocking=True)]
        if answer.text != plain(target):
            findings.append(_lag(server, name, answer.text, target))
        if not answer.authoritative:
            findings.append(_copied(server, name))
    return findings


def _ask_again(server: Server, name: str) -> Answer:
    answers = (ask(server, name) for _ in range(CHECK_TRIES))
    return next((answer for answer in answers if answer.came), Answer("(no answer)", came=False))


def _resolver_problem(server: Server, name: str) -> str | None:
    domain = dns.name.from_text(name).parent().to_text()
    reply = _query_again(server, domain, "SOA")
    if reply is None:
        return "no answer"
    code = dns.rcode.to_text(reply.rcode())
    return None if code in ("NOERROR", "NXDOMAIN") else f"{code} for {domain}"


def _useless(server: Server, found: str, blocking: bool) -> Finding:
    kind = "resolver" if server.recursive else "name server"
    advice = "see to it, or take it out of dns_resolvers" if server.recursive else "see to it, a move waits for it"
    return Finding("dns_server", blocking, "", "", f"{kind} {server.name}: {found}", "an answer", advice)


def _copied(server: Server, name: str) -> Finding:
    return Finding(
        "dns_server", False, "", name, f"an answer of name server {server.name} that is not authoritative",
        "an authoritative one", "see that it serves the zone, and that nobody on the way answers in its place",
    )  # fmt: skip


def _lag(server: Server, name: str, answer: str, target: str) -> Finding:
    return Finding(
        "dns_lag", False, "", name, f"{answer} at name server {server.name}", plain(target), "a move waits for it"
    )
