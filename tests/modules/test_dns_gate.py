"""The DNS gate against real DNS servers: good ones, and those that lag, keep answers too long, or are dead."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import dns.rcode
import pytest
from ansible.module_utils.region_switch.dns import gate as dns_gate
from ansible.module_utils.region_switch.dns.gate import Answer, Gate, Stale, StaleServersError
from ansible.module_utils.region_switch.model.dns_server import Server, parse_server

from .zone_server import Clamping, Cname, Lagging, dead_server, dns_server

NAMES = ["mqtt1.example.com", "mqtt2.example.com"]
OLD, NEW = "old.example.net", "new.example.net"
EXPECTED = dict.fromkeys(NAMES, NEW)
# Longer than any of these servers needs.
TIMEOUT = 30.0


@pytest.fixture
def zone() -> dict[str, Cname]:
    """What the zone says, before the switch."""
    return dict.fromkeys(NAMES, Cname(OLD, 0))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Ends the servers of a test."""
    with ExitStack() as stack:
        yield stack


def switch(zone: dict[str, Cname]) -> None:
    zone.update(dict.fromkeys(NAMES, Cname(NEW, 0)))


def name_server(text: str) -> Server:
    return parse_server(text, recursive=False)


def resolver(text: str) -> Server:
    return parse_server(text, recursive=True)


def test_answers_and_their_ttl_are_read(zone: dict[str, Cname], stack: ExitStack) -> None:
    zone["mqtt1.example.com"] = Cname(OLD, 60)
    server = name_server(stack.enter_context(dns_server(zone.get)))

    assert dns_gate.ask(server, "mqtt1.example.com") == Answer(OLD, 60.0)
    assert dns_gate.ask(server, "mqtt9.example.com") == Answer("(NOERROR, no CNAME)")


@pytest.mark.parametrize("rcode", [dns.rcode.NXDOMAIN, dns.rcode.SERVFAIL, dns.rcode.REFUSED])
@pytest.mark.parametrize("truncated", [False, True])
def test_right_target_of_an_answer_that_is_an_error_is_not_right(
    zone: dict[str, Cname], stack: ExitStack, rcode: dns.rcode.Rcode, truncated: bool
) -> None:
    server = name_server(stack.enter_context(dns_server(zone.get, rcode, truncated)))

    assert dns_gate.ask(server, NAMES[0]) == Answer(f"({rcode.name} beside {OLD})", 0.0)
    with pytest.raises(StaleServersError, match=rf"found .*\({rcode.name} beside {OLD}\)"):
        Gate(1, 0.2).wait([server], dict.fromkeys(NAMES, OLD))
    assert [finding.blocking for finding in dns_gate.check([server], {NAMES[0]: OLD})] == [True]


@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize(("first", "second"), [(OLD, NEW), (NEW, OLD)])
def test_two_targets_are_not_right_whichever_comes_last(
    zone: dict[str, Cname], stack: ExitStack, first: str, second: str, truncated: bool
) -> None:
    zone[NAMES[0]] = Cname(first, 0)
    server = name_server(stack.enter_context(dns_server(zone.get, truncated=truncated, beside=second)))

    assert dns_gate.ask(server, NAMES[0]) == Answer(f"(2 CNAMEs: {NEW}, {OLD})", 0.0)
    with pytest.raises(StaleServersError, match="2 CNAMEs"):
        Gate(1, 0.2).wait([server], {NAMES[0]: second})


def test_one_target_that_comes_twice_is_one(zone: dict[str, Cname], stack: ExitStack) -> None:
    server = name_server(stack.enter_context(dns_server(zone.get, beside=OLD)))

    assert dns_gate.ask(server, NAMES[0]) == Answer(OLD, 0.0)


def test_name_server_that_answers_from_a_copy_is_told_and_waited_for(zone: dict[str, Cname], stack: ExitStack) -> None:
    server = name_server(stack.enter_context(dns_server(zone.get, authoritative=False)))

    found = dns_gate.check([server], {NAMES[0]: OLD})

    assert [(finding.check, finding.blocking, finding.endpoint) for finding in found] == [
        ("dns_server", False, NAMES[0])
    ]
    assert "not authoritative" in found[0].found
    assert Gate(1, TIMEOUT).wait([server], dict.fromkeys(NAMES, OLD)) == []


def test_truncated_answer_is_asked_for_again_over_tcp(zone: dict[str, Cname], stack: ExitStack) -> None:
    server = name_server(stack.enter_context(dns_server(zone.get, truncated=True)))

    assert dns_gate.ask(server, NAMES[0]) == Answer(OLD, 0.0)


def test_silence_is_told_from_an_answer(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_gate, "QUERY_TIMEOUT", 0.1)
    server = name_server(stack.enter_context(dead_server()))

    assert dns_gate.ask(server, NAMES[0]) == Answer("(Timeout)", received=False)


def test_name_server_that_lags_is_waited_for(zone: dict[str, Cname], stack: ExitStack) -> None:
    lagging = Lagging(zone)
    prompt = name_server(stack.enter_context(dns_server(zone.get)))
    late = name_server(stack.enter_context(dns_server(lagging)))
    told: list[Stale] = []

    def report(stale: Sequence[Stale], left: float) -> None:
        assert 0 <= left <= TIMEOUT
        told.extend(stale)
        lagging.caught_up.set()

    switch(zone)

    assert Gate(3, TIMEOUT, report=report).wait([prompt, late], EXPECTED) == []

    assert set(told) == {Stale(late.name, name, OLD, NEW, None) for name in NAMES}


def test_resolver_that_keeps_answers_is_waited_for_and_told_for_how_long(
    zone: dict[str, Cname], stack: ExitStack
) -> None:
    now = [0.0]
    server = resolver(stack.enter_context(dns_server(Clamping(zone.get, seconds=3000, clock=lambda: now[0]))))
    told: list[Stale] = []
    assert dns_gate.ask(server, NAMES[0]) == Answer(OLD, 3000.0)
    switch(zone)

    def report(stale: Sequence[Stale], _left: float) -> None:
        told.extend(stale)
        now[0] += 1000.0

    assert Gate(3, TIMEOUT, report=report).wait([server], EXPECTED) == []

    assert {(stale.name, stale.answer) for stale in told} == {(NAMES[0], OLD)}
    assert [round(stale.seconds or 0, -3) for stale in told] == [3000.0, 2000.0, 1000.0]


def test_resolver_is_not_made_to_keep_the_answer_of_a_name_server_that_lags(
    zone: dict[str, Cname], stack: ExitStack
) -> None:
    lagging = Lagging(zone)
    clamping = Clamping(lagging, seconds=3600)
    late = name_server(stack.enter_context(dns_server(lagging)))
    careless = resolver(stack.enter_context(dns_server(clamping)))
    assert dns_gate.check([late, careless], dict.fromkeys(NAMES, OLD)) == []
    switch(zone)

    gate = Gate(3, TIMEOUT, report=lambda *_: lagging.caught_up.set())

    assert gate.wait([late, careless], EXPECTED) == []


def test_dead_resolver_is_given_up_while_the_time_is_not_over(
    zone: dict[str, Cname], stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns_gate, "QUERY_TIMEOUT", 0.1)
    server = name_server(stack.enter_context(dns_server(zone.get)))
    dead = resolver(stack.enter_context(dead_server()))
    switch(zone)

    # It would take an hour if it were waited for.
    found = Gate(3, 3600, "proceed").wait([server, dead], EXPECTED)

    assert [(stale.server, stale.answer, stale.seconds) for stale in found] == [
        (dead.name, "(Timeout)", None),
        (dead.name, "(not asked)", None),
    ]


def test_dead_server_is_an_error_when_the_time_is_over(
    zone: dict[str, Cname], stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns_gate, "QUERY_TIMEOUT", 0.1)
    server = name_server(stack.enter_context(dns_server(zone.get)))
    dead = resolver(stack.enter_context(dead_server()))
    switch(zone)

    with pytest.raises(StaleServersError, match=rf"{dead.name}: {NAMES[0]} = \(Timeout\), expected {NEW}") as stale:
        Gate(1, 1.0).wait([server, dead], EXPECTED)

    assert server.name not in str(stale.value)


def test_check_finds_nothing_where_all_is_well(zone: dict[str, Cname], stack: ExitStack) -> None:
    address = stack.enter_context(dns_server(zone.get))

    assert dns_gate.check([name_server(address), resolver(address)], dict.fromkeys(NAMES, f"{OLD}.")) == []


@pytest.mark.parametrize(("policy", "blocking"), [("wait", True), ("abort", True), ("proceed", False)])
def test_check_finds_dead_servers_and_blocks_as_the_policy_says(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch, policy: dns_gate.Policy, blocking: bool
) -> None:
    monkeypatch.setattr(dns_gate, "QUERY_TIMEOUT", 0.1)
    own = name_server(stack.enter_context(dead_server()))
    recursive = resolver(stack.enter_context(dead_server()))

    found = dns_gate.check([own, recursive], dict.fromkeys(NAMES, OLD), policy)

    assert [(finding.check, finding.blocking) for finding in found] == [("dns_server", True), ("dns_server", blocking)]
    assert f"name server {own.name}: {NAMES[0]} = (no answer)" in found[0].line()
    assert f"resolver {recursive.name}: no answer" in found[1].line()


def test_check_finds_servers_that_refuse(zone: dict[str, Cname], stack: ExitStack) -> None:
    address = stack.enter_context(dns_server(lambda _: None, rcode=dns.rcode.REFUSED))

    found = dns_gate.check([name_server(address), resolver(address)], dict.fromkeys(NAMES, OLD))

    assert [finding.blocking for finding in found] == [True, True]
    assert "mqtt1.example.com = (REFUSED, no CNAME)" in found[0].found
    assert found[1].found == f"resolver {address}: REFUSED for example.com."


def test_check_tells_name_servers_that_lag(zone: dict[str, Cname], stack: ExitStack) -> None:
    server = name_server(stack.enter_context(dns_server(zone.get)))

    found = dns_gate.check([server], {NAMES[0]: NEW, NAMES[1]: OLD})

    assert [(finding.check, finding.blocking, finding.endpoint) for finding in found] == [("dns_lag", False, NAMES[0])]
    assert OLD in found[0].found
    assert found[0].expected == NEW


def test_gate_leaves_no_thread_behind(zone: dict[str, Cname], stack: ExitStack) -> None:
    server = name_server(stack.enter_context(dns_server(zone.get)))
    before = threading.active_count()

    with pytest.raises(StaleServersError):
        Gate(1, 0.2).wait([server], EXPECTED)

    assert threading.active_count() == before
