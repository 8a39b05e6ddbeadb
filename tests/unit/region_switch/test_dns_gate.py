"""Every server has to be right, several times in a row."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any

import pytest
from ansible.module_utils.region_switch.dns import gate as dns_gate
from ansible.module_utils.region_switch.dns.gate import Answer, Gate, Policy, Stale, StaleServersError, servers
from ansible.module_utils.region_switch.model.dns_server import Server, parse_server
from ansible.module_utils.region_switch.model.errors import RefusedError
from hypothesis import given, settings
from hypothesis import strategies as st

NAME, OLD, NEW = "mqtt1.example.com", "old.example.net", "new.example.net"
ONE, TWO = Server("ns-1", "192.0.2.1"), Server("ns-2", "192.0.2.2")
RESOLVER = Server("resolver", "192.0.2.53", recursive=True)
DEAD = Server("dead", "192.0.2.54", recursive=True)
SILENT = Answer("(Timeout)", received=False)
TIMEOUT = 100.0
WAIT = 30


class Script:
    """Servers that answer from lists, again and again the last answer, and a clock that tests move on.

    Attributes:
        asked: what each server answered, in order.
        now: the time; a gate's own pauses take none.
    """

    def __init__(self, answers: Mapping[Server, Sequence[Answer | str]]) -> None:
        self._left = {server: iter(_endless(each)) for server, each in answers.items()}
        self.asked: dict[Server, list[str]] = defaultdict(list)
        self.before: Callable[[Server], None] = lambda _: None
        self.now = 1000.0

    def ask(self, server: Server, _name: str) -> Answer:
        self.before(server)
        answer = next(self._left[server])
        self.asked[server].append(answer.text)
        return answer

    def gate(self, consecutive: int = 3, policy: Policy = "wait", **more: Any) -> Gate:
        gate = {"ask": self.ask, "clock": lambda: self.now, "sleep": lambda _: None, **more}
        return Gate(consecutive, TIMEOUT, policy, **gate)

    def end_time(self) -> None:
        self.now += TIMEOUT


def _endless(answers: Sequence[Answer | str]) -> Iterator[Answer]:
    made = [Answer(each, 0.0) if isinstance(each, str) else each for each in answers]
    yield from made
    while True:
        yield made[-1]


def ends_time_after(script: Script, server: Server, count: int, others: Sequence[Server] = ()) -> None:
    """Let the time be over at a server's query of this number, and not before the others were asked as often."""
    reached = {each: threading.Event() for each in others}

    def before(asked: Server) -> None:
        if asked in reached and len(script.asked[asked]) >= count:
            reached[asked].set()
        if asked == server and len(script.asked[asked]) >= count:
            assert all(event.wait(WAIT) for event in reached.values())
            script.end_time()

    script.before = before


def test_one_right_answer_among_stale_ones_is_not_enough() -> None:
    script = Script({ONE: [NEW, OLD, NEW, NEW, NEW, OLD]})

    assert script.gate().wait([ONE], {NAME: NEW}) == []

    assert script.asked[ONE] == [NEW, OLD, NEW, NEW, NEW]


def test_lost_packet_is_no_answer() -> None:
    script = Script({ONE: [NEW, NEW, SILENT, NEW, OLD]})

    script.gate().wait([ONE], {NAME: NEW})

    assert script.asked[ONE] == [NEW, NEW, SILENT.text, NEW]


def test_stale_server_is_named_with_its_answer() -> None:
    script = Script({ONE: [NEW], TWO: [OLD]})
    ends_time_after(script, TWO, 3, others=[ONE])

    with pytest.raises(StaleServersError) as stale:
        script.gate().wait([ONE, TWO], {NAME: NEW})

    assert f"ns-2: {NAME} = {OLD}, expected {NEW}" in str(stale.value)
    assert "ns-1" not in str(stale.value)
    assert "nobody was disconnected" in str(stale.value)
    assert "\n" not in str(stale.value)
    assert stale.value.stale == [Stale("ns-2", NAME, OLD, NEW, None)]


def test_server_that_falls_back_while_others_are_waited_for_is_waited_for_again() -> None:
    fell_back = threading.Event()
    script = Script({ONE: [NEW, NEW, OLD, NEW], TWO: [OLD, NEW]})

    def before(server: Server) -> None:
        if server is ONE and len(script.asked[ONE]) >= 3:
            fell_back.set()
        if server is TWO and script.asked[TWO]:
            assert fell_back.wait(WAIT), "a server that was right twice is not asked any more"

    script.before = before

    script.gate(consecutive=2).wait([ONE, TWO], {NAME: NEW})

    assert script.asked[ONE][:3] == [NEW, NEW, OLD]
    assert script.asked[ONE][-2:] == [NEW, NEW]


def test_right_answers_that_are_too_few_are_said() -> None:
    script = Script({ONE: [NEW]})
    ends_time_after(script, ONE, 1)

    with pytest.raises(StaleServersError, match=r"ns-1: .* = \(right only 2 times in a row\)"):
        script.gate().wait([ONE], {NAME: NEW})


def test_slow_server_does_not_hold_up_the_others() -> None:
    others_right = threading.Event()
    script = Script({ONE: [NEW], TWO: [NEW]})

    def before(server: Server) -> None:
        if server is TWO and len(script.asked[TWO]) >= 2:
            others_right.set()
        if server is ONE:
            assert others_right.wait(WAIT), "the other server was not asked meanwhile"

    script.before = before

    assert script.gate().wait([ONE, TWO], {NAME: NEW}) == []


def test_resolvers_are_asked_after_the_name_servers_are_right() -> None:
    """Or they would get the old answer from one that lags, and keep it."""
    script = Script({ONE: [OLD, OLD, NEW], RESOLVER: [NEW]})
    before: list[int] = []
    script.before = lambda server: before.append(len(script.asked[ONE])) if server is RESOLVER else None

    script.gate().wait([RESOLVER, ONE], {NAME: NEW})

    assert before[0] >= 5


def test_resolver_is_told_with_the_rest_of_its_ttl() -> None:
    script = Script({RESOLVER: [Answer(OLD, 30.0)]})
    ends_time_after(script, RESOLVER, 1)

    with pytest.raises(StaleServersError, match=r"resolver: .* for 30 s more, expected") as stale:
        script.gate().wait([RESOLVER], {NAME: NEW})

    assert stale.value.stale == [Stale("resolver", NAME, OLD, NEW, 30.0)]


def test_rest_of_the_ttl_shrinks_while_nothing_new_is_heard() -> None:
    watch = dns_gate._Watch(RESOLVER, {NAME: NEW}, 3)
    watch.add({NAME: Answer(OLD, 30.0)}, 1000.0)

    assert [stale.seconds for now in (1000.0, 1012.0, 1040.0) for stale in watch.stale(now)] == [30.0, 18.0, 0.0]


@pytest.mark.parametrize("policy", ["wait", "abort"])
def test_stale_resolver_is_an_error_that_tells_the_policy(policy: Policy) -> None:
    script = Script({ONE: [NEW], RESOLVER: [OLD]})
    ends_time_after(script, RESOLVER, 1)

    with pytest.raises(StaleServersError) as stale:
        script.gate(policy=policy).wait([ONE, RESOLVER], {NAME: NEW})

    assert stale.value.policy == policy
    assert [each.server for each in stale.value.stale] == ["resolver"]


def test_stale_resolver_is_returned_where_the_move_is_to_proceed() -> None:
    script = Script({ONE: [NEW], RESOLVER: [OLD]})
    ends_time_after(script, RESOLVER, 1)

    found = script.gate(policy="proceed").wait([ONE, RESOLVER], {NAME: NEW})

    assert found == [Stale("resolver", NAME, OLD, NEW, 0.0)]


def test_stale_name_server_is_an_error_even_where_the_move_is_to_proceed() -> None:
    script = Script({ONE: [OLD], RESOLVER: [OLD]})
    ends_time_after(script, ONE, 1)

    with pytest.raises(StaleServersError) as stale:
        script.gate(policy="proceed").wait([ONE, RESOLVER], {NAME: NEW})

    assert [each.server for each in stale.value.stale] == ["ns-1"]


def test_dead_resolver_is_given_up_when_the_others_are_right() -> None:
    script = Script({ONE: [NEW], RESOLVER: [OLD, OLD, NEW], DEAD: [SILENT]})

    found = script.gate(policy="proceed").wait([ONE, RESOLVER, DEAD], {NAME: NEW})

    assert found == [Stale("dead", NAME, "(Timeout)", NEW, None)]
    assert len(script.asked[DEAD]) >= 3


def test_resolver_that_answered_once_is_not_dead() -> None:
    script = Script({RESOLVER: [OLD, SILENT]})
    ends_time_after(script, RESOLVER, 20)

    assert script.gate(policy="proceed").wait([RESOLVER], {NAME: NEW})

    assert len(script.asked[RESOLVER]) > 20


def test_dead_resolver_is_waited_for_until_the_time_is_over() -> None:
    script = Script({DEAD: [SILENT]})
    ends_time_after(script, DEAD, 20)

    with pytest.raises(StaleServersError, match="dead: "):
        script.gate(policy="wait").wait([DEAD], {NAME: NEW})

    assert len(script.asked[DEAD]) > 20


def test_dead_name_server_is_never_given_up() -> None:
    script = Script({ONE: [SILENT]})
    ends_time_after(script, ONE, 20)

    with pytest.raises(StaleServersError, match="ns-1: "):
        script.gate(policy="proceed").wait([ONE], {NAME: NEW})

    assert len(script.asked[ONE]) > 20


def test_wrong_answer_that_was_under_way_when_all_were_right_counts() -> None:
    other = Server("other", "192.0.2.55", recursive=True)
    under_way, all_right = threading.Event(), threading.Event()
    script = Script({RESOLVER: [NEW, OLD, NEW], other: [NEW]})

    class Observed(Gate):
        def _poll(self, watch: Any, *more: Any) -> None:
            super()._poll(watch, *more)
            if watch.server is other:
                all_right.set()

    def before(server: Server) -> None:
        if server is other:
            assert under_way.wait(WAIT)
        elif len(script.asked[RESOLVER]) == 1:
            under_way.set()
            assert all_right.wait(WAIT)

    script.before = before

    gate = Observed(1, TIMEOUT, ask=script.ask, clock=lambda: script.now, sleep=lambda _: None)

    assert gate.wait([RESOLVER, other], {NAME: NEW}) == []
    assert script.asked[RESOLVER] == [NEW, OLD, NEW]


def test_silent_server_is_not_asked_for_the_other_names_in_that_round() -> None:
    """Each would cost the time of a query."""
    watch = dns_gate._Watch(DEAD, {NAME: NEW, "mqtt2.example.com": NEW}, 3)
    script = Script({DEAD: [SILENT]})

    answers = script.gate()._round(watch, lambda: False)

    assert list(answers) == [NAME]


def test_a_server_that_answers_is_asked_for_every_name() -> None:
    watch = dns_gate._Watch(ONE, {NAME: NEW, "mqtt2.example.com": NEW}, 3)

    answers = Script({ONE: [OLD, NEW]}).gate()._round(watch, lambda: False)

    assert {name: answer.text for name, answer in answers.items()} == {NAME: OLD, "mqtt2.example.com": NEW}


def test_only_the_names_that_are_wrong_are_told() -> None:
    watch = dns_gate._Watch(ONE, {NAME: NEW, "mqtt2.example.com": NEW, "mqtt3.example.com": NEW}, 3)
    watch.add({NAME: Answer(NEW), "mqtt2.example.com": Answer(OLD)}, 1000.0)

    found = [(stale.name, stale.answer) for stale in watch.stale(1000.0)]

    assert found == [("mqtt2.example.com", OLD), ("mqtt3.example.com", "(not asked)")]


def test_nobody_is_asked_any_more_once_all_are_right() -> None:
    other = Server("other", "192.0.2.55", recursive=True)
    pausing, all_right = threading.Event(), threading.Event()
    script = Script({RESOLVER: [NEW], other: [NEW]})

    class Observed(Gate):
        def _poll(self, watch: Any, *more: Any) -> None:
            super()._poll(watch, *more)
            if watch.server is other:
                all_right.set()

    def pause(_: float) -> None:
        pausing.set()
        assert all_right.wait(WAIT)

    def before(server: Server) -> None:
        if server is other:
            assert pausing.wait(WAIT)

    script.before = before
    gate = Observed(1, TIMEOUT, ask=script.ask, clock=lambda: script.now, sleep=pause)

    assert gate.wait([RESOLVER, other], {NAME: NEW}) == []
    assert script.asked == {RESOLVER: [NEW], other: [NEW]}


def test_no_query_is_begun_when_the_time_is_over() -> None:
    script = Script({ONE: [OLD]})
    ends_time_after(script, ONE, 0)

    with pytest.raises(StaleServersError, match="not asked"):
        script.gate().wait([ONE], {NAME: NEW, "mqtt2.example.com": NEW})

    assert script.asked[ONE] == [OLD]


def test_who_is_stale_is_reported_until_nobody_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_gate, "REPORT_INTERVAL", 0.01)
    told: list[tuple[list[Stale], float]] = []
    enough = threading.Event()

    def report(stale: Sequence[Stale], left: float) -> None:
        told.append((list(stale), left))
        if len([entry for entry in told if entry[0]]) >= 2:
            enough.set()

    script = Script({ONE: [NEW]})
    gate = script.gate(report=report, ask=lambda *_: Answer(NEW if enough.is_set() else OLD))

    assert gate.wait([ONE], {NAME: NEW}) == []

    assert any(stale == [Stale("ns-1", NAME, OLD, NEW, None)] for stale, _ in told)
    assert {left for _, left in told} == {TIMEOUT}


def test_report_that_fails_ends_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the run is interrupted: the threads that ask must not keep it."""
    monkeypatch.setattr(dns_gate, "REPORT_INTERVAL", 0.01)
    script = Script({ONE: [OLD]})

    def report(stale: Sequence[Stale], left: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        script.gate(report=report).wait([ONE], {NAME: NEW})


def test_failure_of_our_own_ends_the_gate() -> None:
    def ask(server: Server, name: str) -> Answer:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Script({}).gate(ask=ask).wait([ONE], {NAME: NEW})


def test_long_list_of_servers_stays_one_short_line() -> None:
    many = [Server(f"ns-{number}", f"192.0.2.{number}") for number in range(1, 10)]
    script = Script({server: [OLD] for server in many})
    ends_time_after(script, many[0], 1)

    with pytest.raises(StaleServersError, match="; and 3 more: nobody") as stale:
        script.gate().wait(many, {NAME: NEW})

    assert len(stale.value.stale) == 9


@pytest.mark.parametrize(("count", "rest"), [(6, ": nobody"), (7, "; and 1 more: nobody")])
def test_six_servers_are_named_and_the_others_counted(count: int, rest: str) -> None:
    many = [Server(f"ns-{number}", f"192.0.2.{number}") for number in range(count)]
    script = Script({server: [OLD] for server in many})
    ends_time_after(script, many[0], 1)

    with pytest.raises(StaleServersError, match=rf"ns-5: {NAME} = \S+ ?\S*, expected {NEW}{rest}") as stale:
        script.gate().wait(many, {NAME: NEW})

    assert "ns-6" not in str(stale.value)


@pytest.mark.parametrize("names", [1, 2])
def test_a_resolver_is_dead_after_three_queries_without_any_answer(names: int) -> None:
    watch = dns_gate._Watch(DEAD, {f"mqtt{number}.example.com": NEW for number in range(names)}, 3)
    dead = []
    for _ in range(4):
        watch.add({"mqtt0.example.com": SILENT}, 1000.0)
        dead.append(watch.dead)
    assert dead == [False, False, True, True]

    watch.add({"mqtt0.example.com": Answer(OLD)}, 1000.0)
    watch.add({"mqtt0.example.com": SILENT}, 1000.0)
    assert not watch.dead


def test_a_resolver_whose_answer_has_no_ttl_left_keeps_it_no_longer() -> None:
    watch = dns_gate._Watch(RESOLVER, {NAME: NEW}, 3)
    watch.add({NAME: Answer(OLD, 0.0)}, 1000.0)

    assert [stale.seconds for stale in watch.stale(1000.0)] == [0.0]


def test_a_round_that_was_cut_short_is_not_counted_as_right() -> None:
    watch = dns_gate._Watch(ONE, {NAME: NEW, "mqtt2.example.com": NEW}, 1)

    watch.add({NAME: Answer(NEW)}, 1000.0)
    assert not watch.settled

    watch.add({NAME: Answer(NEW), "mqtt2.example.com": Answer(NEW)}, 1000.0)
    assert watch.settled


def test_servers_are_asked_ten_times_a_second_and_the_operator_told_every_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []

    def wait_futures(running: Any, seconds: float) -> Any:
        waits.append(seconds)
        return futures.wait(running)

    monkeypatch.setattr(dns_gate, "wait_futures", wait_futures)
    slept: list[float] = []
    told: list[Sequence[Stale]] = []

    Script({ONE: [OLD, OLD, NEW]}).gate(1, sleep=slept.append, report=lambda stale, _: told.append(stale)).wait(
        [ONE], {NAME: NEW}
    )

    assert (set(slept), set(waits)) == ({0.1}, {1.0})
    assert told == []


def test_nothing_is_reported_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_gate, "REPORT_INTERVAL", WAIT)
    script = Script({ONE: [OLD]})
    ends_time_after(script, ONE, 1)
    told: list[Sequence[Stale]] = []

    with pytest.raises(StaleServersError):
        script.gate(report=lambda stale, _: told.append(stale)).wait([ONE], {NAME: NEW})

    assert told == []


def test_no_time_is_left_while_the_last_answers_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_gate, "REPORT_INTERVAL", 0.01)
    reported = threading.Event()
    left: list[float] = []

    def report(_: Sequence[Stale], seconds: float) -> None:
        left.append(seconds)
        if seconds <= 0:
            reported.set()

    script = Script({ONE: [OLD]})

    def before(_: Server) -> None:
        script.now += TIMEOUT + 5
        assert reported.wait(WAIT)

    script.before = before
    with pytest.raises(StaleServersError):
        script.gate(report=report).wait([ONE], {NAME: NEW})

    assert left[-1] == 0.0


_TOLD = st.sampled_from([NEW, NEW, NEW, OLD, SILENT, Answer("(SERVFAIL, no CNAME)")])


# How long an example takes is the machine's affair: each has threads.
@settings(deadline=None)
@given(
    st.lists(st.lists(_TOLD, min_size=1, max_size=12), min_size=1, max_size=3),
    st.integers(min_value=1, max_value=4),
    st.sampled_from(["wait", "proceed", "abort"]),
)
def test_gate_opens_only_when_every_server_was_right_often_enough_at_the_end(
    answers: list[list[Answer | str]], consecutive: int, policy: Policy
) -> None:
    asked = [Server(f"ns-{number}", "192.0.2.1", recursive=number > 0) for number in range(len(answers))]
    script = Script(dict(zip(asked, answers, strict=True)))
    # Time passes with the queries, so that a gate that never opens ends as well.
    gate = script.gate(
        consecutive, policy, clock=lambda: 1000.0 + sum(len(each) for each in [*script.asked.values()]) / 2
    )

    try:
        passed = {stale.server for stale in gate.wait(asked, {NAME: NEW})}
    except StaleServersError:
        return

    assert passed == set() or policy == "proceed"
    for server in asked:
        came = [text for text in script.asked[server] if text != SILENT.text]
        right = len(came) >= consecutive and set(came[-consecutive:]) == {NEW}
        assert right != (server.name in passed)
        assert right or server.recursive


def test_name_servers_and_resolvers_are_asked() -> None:
    asked = servers(["192.0.2.1", "192.0.2.2:5353"], ["192.0.2.53"])

    assert asked == [
        Server("192.0.2.1", "192.0.2.1"),
        Server("192.0.2.2:5353", "192.0.2.2", 5353),
        Server("192.0.2.53", "192.0.2.53", recursive=True),
    ]


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("192.0.2.1", "192.0.2.1", 53),
        ("127.0.0.1:5353", "127.0.0.1", 5353),
        ("2001:db8::1", "2001:db8::1", 53),
        ("[2001:db8::1]", "2001:db8::1", 53),
        ("[2001:db8::1]:5353", "2001:db8::1", 5353),
        ("ns-101.awsdns-12.com", "ns-101.awsdns-12.com", 53),
        ("ns-101.awsdns-12.com:5353", "ns-101.awsdns-12.com", 5353),
    ],
)
def test_server_with_and_without_port(text: str, address: str, port: int) -> None:
    assert parse_server(text, recursive=False) == Server(text, address, port)


@pytest.mark.parametrize(
    "text",
    ["192.0.2.1:dns", "192.0.2.1:0", "192.0.2.1:", "192.0.2.1:٥٣", "[2001:db8::1]:70000", "192.0.2.1:" + "9" * 5000],
)
def test_wrong_port_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="the port is not 1 to 65535"):
        parse_server(text, recursive=False)


@pytest.mark.parametrize("text", ["", ":53", "ns 1", "[2001:db8::1", "[2001:db8::1]53", "a:b:c", "http://192.0.2.1"])
def test_what_is_no_server_is_refused(text: str) -> None:
    with pytest.raises(RefusedError):
        parse_server(text, recursive=False)


@pytest.mark.parametrize("recursive", [True, False])
def test_a_server_that_cannot_be_printed_is_refused_in_one_line(recursive: bool) -> None:
    with pytest.raises(RefusedError, match=r"'ns\\n1': (not an IP address|neither an address nor a host name): "):
        parse_server("ns\n1", recursive)


@pytest.mark.parametrize("text", ["resolver.example.com", "300.1.1.1", "192.0.2"])
def test_resolver_without_address_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="not an IP address: correct dns_resolvers"):
        parse_server(text, recursive=True)


@given(st.text() | st.from_regex(r"\[?[0-9a-f:.]*\]?(:[0-9a-z]*)?", fullmatch=True), st.booleans())
def test_any_text_is_a_server_or_refused_in_one_line(text: str, recursive: bool) -> None:
    try:
        server = parse_server(text, recursive)
    except RefusedError as error:
        assert len(str(error).splitlines()) == 1
        return

    assert server.name == text
    assert 0 < server.port < 65536
    assert server.address
    assert server.address in text


@given(st.ip_addresses(), st.none() | st.integers(min_value=1, max_value=65535))
def test_every_address_with_and_without_port_is_a_resolver(address: Any, port: int | None) -> None:
    shown = f"[{address}]" if port and address.version == 6 else str(address)

    server = parse_server(f"{shown}:{port}" if port else shown, recursive=True)

    assert (server.address, server.port) == (str(address), port or 53)


def test_each_server_that_comes_to_be_right_is_told_once() -> None:
    script = Script({ONE: [NEW], TWO: [OLD, NEW]})
    told: list[Server] = []

    script.gate(settled=told.append).wait([ONE, TWO], {NAME: NEW})

    assert sorted(told, key=lambda each: each.name) == [ONE, TWO]
