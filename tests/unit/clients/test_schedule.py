"""In which order and when a name's addresses are tried, RFC 8305."""

from __future__ import annotations

import math
import socket

import pytest

from mqtt_fleet.attempt import FAILED_VARIABLE, Attempt, Memory, peer
from mqtt_fleet.schedule import ATTEMPT_DELAY, RESOLUTION_DELAY, Schedule

V4, V6 = socket.AF_INET, socket.AF_INET6
NOW = 100.0


@pytest.fixture
def memory() -> Memory:
    return Memory({})


def taken(schedule: Schedule, now: float = NOW) -> list[str]:
    """All that is left, in the order in which it is tried."""
    order = []
    while not schedule.over:
        order.append(schedule.take(now)[1])
    return order


def test_families_take_turns_and_ipv6_begins(memory: Memory) -> None:
    schedule = Schedule(memory)
    schedule.found(V4, ["192.0.2.1", "192.0.2.2", "192.0.2.3"], NOW)
    schedule.found(V6, ["2001:db8::1", "2001:db8::2"], NOW)

    assert taken(schedule) == ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "192.0.2.3"]


def test_family_that_worked_begins(memory: Memory) -> None:
    memory.worked("192.0.2.9")
    schedule = Schedule(memory)
    schedule.found(V4, ["192.0.2.1", "192.0.2.2"], NOW)
    assert schedule.next(0) == -math.inf
    schedule.found(V6, ["2001:db8::1"], NOW)

    assert taken(schedule) == ["192.0.2.1", "2001:db8::1", "192.0.2.2"]


def test_what_failed_comes_after_all_others_and_the_latest_last(memory: Memory) -> None:
    for address in ("192.0.2.1", "2001:db8::1", "192.0.2.2"):
        memory.failed(address)
    memory.failed("192.0.2.1")
    schedule = Schedule(memory)
    schedule.found(V6, ["2001:db8::1"], NOW)
    schedule.found(V4, ["192.0.2.1", "192.0.2.2", "192.0.2.3"], NOW)

    assert taken(schedule) == ["192.0.2.3", "2001:db8::1", "192.0.2.2", "192.0.2.1"]


def test_ipv4_waits_a_moment_for_the_answer_about_ipv6(memory: Memory) -> None:
    schedule = Schedule(memory)
    assert schedule.next(0) == math.inf
    schedule.found(V4, ["192.0.2.1"], NOW)

    assert schedule.next(0) == NOW + RESOLUTION_DELAY == NOW + 0.05
    schedule.found(V6, [], NOW + 0.01)
    assert schedule.next(0) == -math.inf


def test_ipv6_waits_for_nobody(memory: Memory) -> None:
    schedule = Schedule(memory)
    schedule.found(V6, ["2001:db8::1"], NOW)

    assert schedule.next(0) == -math.inf


def test_next_waits_a_quarter_second_unless_nothing_is_under_way_or_one_failed(memory: Memory) -> None:
    schedule = Schedule(memory)
    schedule.found(V6, [], NOW)
    schedule.found(V4, ["192.0.2.1", "192.0.2.2"], NOW)
    schedule.take(NOW)

    assert schedule.next(1) == NOW + ATTEMPT_DELAY == NOW + 0.25
    assert schedule.next(0) == -math.inf
    schedule.failed()
    assert schedule.next(1) == -math.inf


def test_late_answer_takes_part_and_nothing_is_over_before(memory: Memory) -> None:
    schedule = Schedule(memory)
    schedule.found(V4, ["192.0.2.1"], NOW)
    schedule.take(NOW)
    assert schedule.next(0) == math.inf
    assert not schedule.over

    schedule.found(V6, ["2001:db8::1"], NOW + 5)

    assert schedule.take(NOW + 5) == (V6, "2001:db8::1")
    assert schedule.over


def test_address_is_tried_once(memory: Memory) -> None:
    schedule = Schedule(memory, (V4,))
    schedule.found(V4, ["192.0.2.1", "192.0.2.1"], NOW)

    assert taken(schedule) == ["192.0.2.1"]


def test_next_process_knows_what_failed(memory: Memory) -> None:
    memory.failed("192.0.2.1")
    memory.failed("2001:db8::1")

    heir = Memory(memory.variables())

    addresses = ["2001:db8::1", "192.0.2.1", "192.0.2.3"]
    assert heir.order(addresses) == ["192.0.2.3", "192.0.2.1", "2001:db8::1"]
    heir.worked("192.0.2.1")
    heir.worked("2001:db8::1")
    assert heir.variables() == {FAILED_VARIABLE: ""}
    assert Memory(heir.variables()).order(addresses) == addresses


def test_memory_is_bounded_and_forgets_the_oldest(memory: Memory) -> None:
    addresses = [f"192.0.2.{number}" for number in range(40)]
    for address in addresses:
        memory.failed(address)

    assert [address for address in addresses if memory.has_failed(address)] == addresses[-32:]


def test_attempt_counts_against_its_address_only_before_the_broker_accepted(memory: Memory) -> None:
    for accepted in (False, True):
        attempt = Attempt("mqtt1.example.com")
        attempt.address = f"192.0.2.{accepted:d}"
        if accepted:
            attempt.succeeded(memory)
        attempt.give_up(memory)
        assert attempt.cancelled.is_set()

    assert memory.has_failed("192.0.2.0")
    assert not memory.has_failed("192.0.2.1")


def test_phase_names_endpoint_and_address() -> None:
    attempt = Attempt("mqtt1.example.com")
    assert attempt.phase() == "mqtt1.example.com: name lookup: no answer"
    attempt.far = peer("2001:db8::1", 8883)
    attempt.shakes_hands()
    assert attempt.phase() == "mqtt1.example.com: TLS with [2001:db8::1]:8883: no answer"
    attempt.asks_broker()
    assert str(attempt.error("not authorized")) == "mqtt1.example.com: CONNACK from [2001:db8::1]:8883: not authorized"
