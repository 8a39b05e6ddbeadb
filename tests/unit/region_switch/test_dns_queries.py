"""What is asked of each DNS server, and what its reply means."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset
import pytest
from ansible.module_utils.region_switch.dns import gate
from ansible.module_utils.region_switch.dns.gate import Answer, addresses_of, ask, check, name_servers_of, servers
from ansible.module_utils.region_switch.model.dns_server import Server, parse_server
from ansible.module_utils.region_switch.model.errors import RefusedError

from .fakes import Clock

NAME, OTHER, OLD, NEW = "mqtt1.example.com", "mqtt2.example.com", "old.example.net", "new.example.net"
OWN = Server("ns-1", "192.0.2.1")
RESOLVER = Server("resolver", "192.0.2.53", 5353, recursive=True)

Reply = dns.message.Message | Exception


def cnames(found: dict[str, str], code: dns.rcode.Rcode = dns.rcode.NOERROR) -> Callable[[Any], dns.message.Message]:
    """A server's reply to any query: these CNAMEs, with a TTL of 30."""

    def reply(query: dns.message.Message) -> dns.message.Message:
        made = dns.message.make_response(query)
        made.flags |= dns.flags.AA
        made.set_rcode(code)
        made.answer = [dns.rrset.from_text(f"{name}.", 30, "IN", "CNAME", f"{to}.") for name, to in found.items()]
        return made

    return reply


def records(
    *answer: str, code: dns.rcode.Rcode = dns.rcode.NOERROR, authority: tuple[str, ...] = ()
) -> Callable[[Any], dns.message.Message]:
    """A server's reply to any query, each record as `name ttl type value`; it does not call it its own."""

    def reply(query: dns.message.Message) -> dns.message.Message:
        made = dns.message.make_response(query)
        made.set_rcode(code)
        made.answer, made.authority = ([_record(each) for each in section] for section in (answer, authority))
        return made

    return reply


def _record(text: str) -> dns.rrset.RRset:
    name, ttl, kind, value = text.split(maxsplit=3)
    return dns.rrset.from_text(f"{name}.", int(ttl), "IN", kind, value)


class Network:
    """Servers that answer one query after the other, the last answer again and again.

    Attributes:
        sent: `(address, port, seconds that the reply may take, recursion desired, name, type)` of each query.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[Any] = []
        self.over_tcp: Any = None
        self.sent: list[tuple[str, int, float, bool, str, str]] = []
        self.tcp: list[tuple[str, int, float]] = []
        self.clock = Clock()
        monkeypatch.setattr(gate, "time", SimpleNamespace(monotonic=self.clock, sleep=self.clock.sleep))
        monkeypatch.setattr(dns.query, "udp", self._udp)
        monkeypatch.setattr(dns.query, "tcp", self._tcp)

    def _udp(self, query: Any, address: str, timeout: float, port: int, raise_on_truncation: bool, **more: Any) -> Any:
        question = query.question[0]
        desired = bool(query.flags & dns.flags.RD)
        words = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        self.sent.append((address, port, timeout, desired, *words))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is dns.message.Truncated and not raise_on_truncation:
            return dns.message.make_response(query)
        if isinstance(answer, type):
            raise answer
        return _received(answer(query), **more)

    def _tcp(self, query: Any, address: str, timeout: float, port: int, **more: Any) -> Any:
        self.tcp.append((address, port, timeout))
        return _received(self.over_tcp(query), **more)


def _received(reply: dns.message.Message, **more: Any) -> dns.message.Message:
    """A reply as it is read off the wire."""
    return dns.message.from_wire(reply.to_wire(), **more)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return Network(monkeypatch)


@pytest.mark.parametrize(("server", "recursion"), [(OWN, False), (RESOLVER, True)])
def test_resolvers_are_asked_to_recurse_and_name_servers_are_not(
    network: Network, server: Server, recursion: bool
) -> None:
    network.answers = [cnames({NAME: NEW})]

    ask(server, NAME)

    assert network.sent == [(server.address, server.port, 2.0, recursion, f"{NAME}.", "CNAME")]


def test_the_cname_of_the_name_is_the_answer(network: Network) -> None:
    network.answers = [cnames({OTHER: OLD, NAME.upper(): NEW.upper()})]

    answer = ask(OWN, NAME)

    assert (answer.text, answer.ttl, answer.received) == (NEW, 30.0, True)


def test_the_cname_of_another_name_is_none(network: Network) -> None:
    network.answers = [cnames({OTHER: NEW})]

    answer = ask(OWN, NAME)

    assert (answer.text, answer.ttl, answer.received) == ("(NOERROR, no CNAME)", None, True)


def test_a_record_of_another_type_is_no_cname(network: Network) -> None:
    def address(query: dns.message.Message) -> dns.message.Message:
        reply = dns.message.make_response(query)
        reply.answer = [dns.rrset.from_text(f"{NAME}.", 30, "IN", "NS", f"{NEW}.")]
        return reply

    network.answers = [address]

    assert ask(OWN, NAME).text == "(NOERROR, no CNAME)"


def test_an_error_is_an_answer(network: Network) -> None:
    network.answers = [cnames({}, dns.rcode.SERVFAIL)]

    answer = ask(OWN, NAME)

    assert (answer.text, answer.received) == ("(SERVFAIL, no CNAME)", True)


def test_a_target_beside_an_error_is_not_believed(network: Network) -> None:
    network.answers = [cnames({NAME: NEW}, dns.rcode.NXDOMAIN)]

    assert ask(OWN, NAME) == Answer(f"(NXDOMAIN beside {NEW})", 30.0)


@pytest.mark.parametrize("way", ["udp", "tcp"])
@pytest.mark.parametrize(
    ("count", "text"),
    [(2, "(2 CNAMEs: a.example.net, b.example.net)"), (5, "(5 CNAMEs: a.example.net, b.example.net, c.example.net)")],
)
def test_of_several_cnames_none_is_believed_and_a_resolver_may_keep_the_one_that_lasts_longest(
    network: Network, way: str, count: int, text: str
) -> None:
    several = records(
        *(f"{NAME} {30 + place} CNAME {letter}.example.net." for place, letter in enumerate("edcba"[-count:]))
    )
    network.answers, network.over_tcp = ([several], None) if way == "udp" else ([dns.message.Truncated], several)

    answer = ask(RESOLVER, NAME)

    assert (answer.text, answer.ttl) == (text, 29.0 + count)


@pytest.mark.parametrize("problem", [dns.exception.Timeout, ConnectionRefusedError])
def test_who_is_silent_or_out_of_reach_did_not_answer(network: Network, problem: type[Exception]) -> None:
    network.answers = [problem]

    assert ask(OWN, NAME) == Answer(f"({problem.__name__})", received=False)


def test_a_reply_that_is_too_long_is_asked_for_over_tcp_within_the_same_time(network: Network) -> None:
    def slow(_query: dns.message.Message) -> dns.message.Message:
        network.clock.sleep(0.5)
        raise dns.message.Truncated

    network.answers, network.over_tcp = [slow], cnames({NAME: NEW})

    assert ask(RESOLVER, NAME).text == NEW
    assert network.tcp == [(RESOLVER.address, 5353, 1.5)]


def test_a_reply_that_is_cut_off_is_not_believed(network: Network) -> None:
    network.answers, network.over_tcp = [dns.message.Truncated], cnames({NAME: NEW})

    assert ask(OWN, NAME).text == NEW


@pytest.mark.parametrize("port", [1, 65535])
def test_first_and_last_port(port: int) -> None:
    assert parse_server(f"192.0.2.1:{port}", recursive=False).port == port


@pytest.mark.parametrize("port", [0, 65536])
def test_what_is_beyond_them_is_refused(port: int) -> None:
    with pytest.raises(RefusedError, match=f"DNS server 192.0.2.1:{port}: the port is not 1 to 65535"):
        parse_server(f"192.0.2.1:{port}", recursive=False)


class Resolver:
    """What a lookup of a name server's address is given, and gives."""

    asked: list[tuple[Any, ...]]

    def __init__(self, configure: bool = True) -> None:
        # Whoever reads the machine's configuration has its search domains as well.
        self.domains = ["example.org"] if configure else []
        self.nameservers: list[str] = ["127.0.0.1"]
        self.nameserver_ports: dict[str, int] = {}

    def resolve(self, name: str, rdtype: str, lifetime: float) -> list[str]:
        self.asked.append((self.domains, self.nameservers, self.nameserver_ports, name, rdtype, lifetime))
        if name == "nowhere.example.net":
            raise dns.resolver.NXDOMAIN
        return ["192.0.2.7", "192.0.2.8", "192.0.2.9"]


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    monkeypatch.setattr(Resolver, "asked", [], raising=False)
    monkeypatch.setattr(dns.resolver, "Resolver", Resolver)
    return Resolver.asked


def test_name_servers_are_looked_up_by_the_resolvers(lookups: list[tuple[Any, ...]]) -> None:
    found = servers(["ns.example.net:5300", "192.0.2.1"], ["192.0.2.53:5353", "192.0.2.54"])

    assert found == [
        Server("ns.example.net:5300", "192.0.2.7", 5300),
        Server("192.0.2.1", "192.0.2.1"),
        Server("192.0.2.53:5353", "192.0.2.53", 5353, recursive=True),
        Server("192.0.2.54", "192.0.2.54", recursive=True),
    ]
    ports = {"192.0.2.53": 5353, "192.0.2.54": 53}
    assert lookups == [([], ["192.0.2.53", "192.0.2.54"], ports, "ns.example.net", "A", 6.0)]


def test_name_server_without_address_is_refused(lookups: list[tuple[Any, ...]]) -> None:
    with pytest.raises(RefusedError, match=r"name server nowhere.example.net: found no address \(NXDOMAIN\): check"):
        servers(["nowhere.example.net"], ["192.0.2.53"])


def test_the_machines_own_resolvers_are_taken_where_none_are_named(lookups: list[tuple[Any, ...]]) -> None:
    assert servers([], []) == [Server("127.0.0.1", "127.0.0.1", recursive=True)]


def test_a_machine_without_resolvers_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.resolver, "Resolver", missing)

    assert gate.system_resolvers() == []


@pytest.mark.parametrize(("asked", "current"), [([], {NAME: OLD}), ([OWN, RESOLVER], {})])
def test_without_servers_or_names_nothing_is_checked(
    network: Network, asked: list[Server], current: dict[str, str]
) -> None:
    assert check(asked, current) == []
    assert network.sent == []


def test_servers_that_answer_as_they_should_are_no_finding(network: Network) -> None:
    network.answers = [cnames({NAME: OLD, OTHER: NEW})]

    assert check([OWN], {NAME: OLD, OTHER: f"{NEW}."}) == []
    assert len(network.sent) == 2


@pytest.mark.parametrize("code", [dns.rcode.NOERROR, dns.rcode.NXDOMAIN])
def test_a_resolver_is_asked_for_the_domain_above_and_may_not_know_it(network: Network, code: dns.rcode.Rcode) -> None:
    network.answers = [cnames({}, code)]

    assert check([RESOLVER], {NAME: OLD}) == []
    assert network.sent == [(RESOLVER.address, 5353, 2.0, True, "example.com.", "SOA")]


@pytest.mark.parametrize(("policy", "blocking"), [("wait", True), ("abort", True), ("proceed", False)])
@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (cnames({}, dns.rcode.SERVFAIL), "resolver resolver: SERVFAIL for example.com."),
        (dns.exception.Timeout, "resolver resolver: no answer"),
    ],
)
def test_a_resolver_that_is_of_no_use_is_told(
    network: Network, policy: Any, blocking: bool, answer: Any, found: str
) -> None:
    network.answers = [answer]

    (finding,) = check([RESOLVER], {NAME: OLD}, policy)

    assert (finding.check, finding.blocking, finding.found) == ("dns_server", blocking, found)
    assert finding.advice == "fix it, or remove it from dns_resolvers"


@pytest.mark.parametrize("server", [OWN, RESOLVER])
def test_one_lost_packet_is_no_finding_and_two_are(network: Network, server: Server) -> None:
    network.answers = [dns.exception.Timeout, cnames({NAME: OLD})]
    assert check([server], {NAME: OLD}) == []

    network.answers = [dns.exception.Timeout, dns.exception.Timeout, cnames({NAME: OLD})]
    assert [finding.check for finding in check([server], {NAME: OLD})] == ["dns_server"]
    assert len(network.sent) == 4


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (cnames({}), f"name server ns-1: {NAME} = (NOERROR, no CNAME)"),
        (dns.exception.Timeout, f"name server ns-1: {NAME} = (no answer)"),
    ],
)
def test_a_name_server_that_is_of_no_use_stops_any_move(network: Network, answer: Any, found: str) -> None:
    network.answers = [answer]

    (finding,) = check([OWN], {NAME: OLD}, "proceed")

    assert (finding.check, finding.blocking, finding.found) == ("dns_server", True, found)
    assert finding.advice == "fix it, a move waits for it"


def test_a_name_server_that_lags_is_told_and_stops_nothing(network: Network) -> None:
    network.answers = [cnames({NAME: OLD, OTHER: OLD})]

    first, second = check([OWN], {NAME: f"{NEW}.", OTHER: NEW})

    assert (first.check, first.blocking, first.endpoint) == ("dns_lag", False, NAME)
    assert (first.found, first.expected) == (f"{OLD} at name server ns-1", NEW)
    assert second.endpoint == OTHER


def test_a_name_server_whose_answer_is_a_copy_is_told_and_stops_nothing(network: Network) -> None:
    network.answers = [records(f"{NAME} 30 CNAME {OLD}.")]

    (finding,) = check([OWN], {NAME: OLD})

    assert (finding.check, finding.blocking, finding.endpoint) == ("dns_server", False, NAME)
    assert finding.found == "the answer of name server ns-1 is not authoritative"


def test_who_is_silent_however_often_it_is_asked_did_not_answer(network: Network) -> None:
    network.answers = [dns.exception.Timeout]

    assert gate._ask_again(OWN, NAME) == Answer("(no answer)", received=False)


ZONE = "example.com"
TOLD = (f"{ZONE} 30 NS ns-1.example.net.", f"{ZONE} 30 NS NS-2.example.net.")
SOA = "30 SOA ns. hostmaster. 1 2 3 4 5"


def test_the_name_servers_of_a_zone_are_those_that_the_resolver_tells(network: Network) -> None:
    others = (f"sub.{ZONE} 30 NS ns-3.example.net.", f"{ZONE} 30 A 192.0.2.9")
    network.answers = [records(*TOLD, *others, authority=(f"com {SOA}",))]

    assert name_servers_of(RESOLVER, ZONE) == {"ns-1.example.net", "ns-2.example.net"}
    assert [words for *_, name, kind in network.sent for words in (name, kind)] == [f"{ZONE}.", "NS"]


@pytest.mark.parametrize(
    "reply",
    [
        records(code=dns.rcode.NXDOMAIN),
        records(code=dns.rcode.NXDOMAIN, authority=(f"{ZONE} {SOA}",)),
        records(authority=(f"com {SOA}",)),
    ],
    ids=["no such name", "no such name, by the zone itself", "the zone above knows no such zone"],
)
def test_a_zone_that_the_resolver_denies_has_no_name_servers(network: Network, reply: Any) -> None:
    network.answers = [reply]

    assert name_servers_of(RESOLVER, ZONE) == frozenset()


@pytest.mark.parametrize(
    "reply",
    [
        dns.exception.Timeout,
        records(*TOLD, code=dns.rcode.SERVFAIL),
        records(code=dns.rcode.REFUSED, authority=(f"com {SOA}",)),
        records(),
        records(authority=(f"{ZONE} {SOA}",)),
        records(authority=("com 30 NS ns.example.net.",)),
    ],
    ids=["silence", "failure", "refusal", "nothing", "the zone itself knows none", "a referral"],
)
def test_a_resolver_that_says_neither_says_nothing_of_a_zone(network: Network, reply: Any) -> None:
    network.answers = [reply]

    assert name_servers_of(RESOLVER, ZONE) is None


def test_the_addresses_of_a_name_are_those_at_the_end_of_its_aliases(network: Network) -> None:
    network.answers = [records(f"{NAME} 30 CNAME {NEW}.", f"{NEW} 30 A 192.0.2.7", f"{NEW} 30 A 192.0.2.8")]

    assert addresses_of(RESOLVER, NAME) == {"192.0.2.7", "192.0.2.8"}
    assert network.sent == [(RESOLVER.address, 5353, 2.0, True, f"{NAME}.", "A")]


def test_a_resolver_that_is_silent_tells_no_addresses(network: Network) -> None:
    network.answers = [dns.exception.Timeout]

    assert addresses_of(RESOLVER, NAME) == frozenset()


def test_what_was_found_before_a_server_fell_silent_is_kept(network: Network) -> None:
    network.answers = [cnames({NAME: OLD}), dns.exception.Timeout]

    findings = check([OWN], {NAME: NEW, OTHER: NEW})

    assert [finding.check for finding in findings] == ["dns_lag", "dns_server"]
