"""When the endpoint's name is taken to lead elsewhere, and when it is not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence

import pytest

from mqtt_fleet import endpoint_watch
from mqtt_fleet.endpoint_watch import LOOKS_AMONG_MANY, EndpointWatch, Lookups
from mqtt_fleet.resolve import Lookup

NAME = "mqtt1.example.com"
A, B = "region-a.example.net", "region-b.example.net"


def verdicts(*looks: tuple[str, str]) -> list[bool]:
    """What is said after each look, given as (addresses, canonical name), by a client connected to 1."""
    watch = EndpointWatch(NAME)
    watch.connected("1:8883")
    return [watch.leads_elsewhere(Lookup(tuple(addresses.split()), canonical)) for addresses, canonical in looks]


def test_other_target_is_believed_at_the_second_look() -> None:
    assert verdicts(("1", A), ("2", B), ("2", B)) == [False, False, True]
    assert verdicts(("1", NAME), ("2", NAME), ("2", NAME)) == [False, False, True]


def test_name_servers_that_disagree_for_a_while_move_nobody() -> None:
    assert not any(verdicts(*[("1", A), ("2", B)] * 20))


def test_pool_of_addresses_behind_one_target_moves_nobody() -> None:
    assert not any(verdicts(("1 2", A), *[("3 4", A), ("5 6", A)] * 20))


def test_name_with_several_addresses_is_left_only_when_ours_stays_away() -> None:
    looks = verdicts(("1 2 3", NAME), *[("2 3", NAME)] * LOOKS_AMONG_MANY)
    assert looks == [False] * LOOKS_AMONG_MANY + [True]
    assert not any(verdicts(("1 2 3", NAME), *[("2", NAME), ("3", NAME), ("1", NAME)] * 20))


def test_nothing_is_noticed_without_a_known_address() -> None:
    watch = EndpointWatch(NAME)
    assert not any(watch.leads_elsewhere(Lookup(("2",), B)) for _ in range(5))
    watch.connected(None)
    assert not any(watch.leads_elsewhere(Lookup(("2",), B)) for _ in range(5))


def test_address_of_version_six() -> None:
    watch = EndpointWatch(NAME)
    watch.connected("[2001:db8::1]:8883")
    assert not watch.leads_elsewhere(Lookup(("2001:db8::1",), A))


def test_look_without_an_answer_for_the_connections_family_says_nothing() -> None:
    watch = EndpointWatch(NAME)
    watch.connected("[2001:db8::1]:8883")
    without = Lookup(("192.0.2.1",), A, (socket.AF_INET6,))
    assert not any(watch.leads_elsewhere(without) for _ in range(5))
    watch.connected("192.0.2.9:8883")
    assert [watch.leads_elsewhere(without) for _ in range(2)] == [False, True]


HERE = Lookup(("1",), A)
ELSEWHERE = Lookup(("2",), B)


def test_lookup_that_fails_says_nothing_and_the_next_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([OSError("no answer"), HERE, OSError("no answer"), ELSEWHERE])

    def look_up(host: str, port: int, resolvers: Sequence[str]) -> Lookup:
        answer = next(answers, None)
        if isinstance(answer, Lookup):
            return answer
        raise answer or OSError

    monkeypatch.setattr(endpoint_watch, "look_up", look_up)
    seen: list[Lookup] = []
    both = threading.Event()

    def report(found: Lookup) -> None:
        seen.append(found)
        if len(seen) == 2:
            both.set()

    lookups = Lookups(NAME, 8883, (), 0.01, report)
    lookups.start()
    assert both.wait(10)
    lookups.stop()
    assert seen == [HERE, ELSEWHERE]
