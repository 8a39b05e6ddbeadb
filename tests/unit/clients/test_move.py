"""When a client leaves for where the endpoint's name leads, and what it wants to have seen of it before."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import pytest

from mqtt_fleet import move
from mqtt_fleet.config import Config
from mqtt_fleet.move import MOST_ADDRESSES, MOST_PROBE_PAUSE, PROBE_PAUSE, Mover, Probed, start_probe
from mqtt_fleet.resolve import Lookup

A, B = "region-a.example.net", "region-b.example.net"
HERE, ELSEWHERE = Lookup(("1",), A), Lookup(("2", "3"), B)


def config(**changes: Any) -> Config:
    files = {key: Path() for key in ("ca", "certificate", "private_key", "outbox")}
    usual = {"client_id": "c", "endpoint": "mqtt1.example.com", "library": "paho", "endpoint_watch_jitter": 10.0}
    return Config(**{**files, **usual, "endpoint_watch": "move", **changes})


@pytest.fixture
def mover(monkeypatch: pytest.MonkeyPatch) -> Mover:
    """One whose chances are always in the middle."""
    monkeypatch.setattr(move.random, "uniform", lambda low, high: (low + high) / 2)
    made = Mover(config())
    made.connected("1:8883")
    return made


def leads_elsewhere(mover: Mover, now: float) -> float:
    """The name has moved; return when that place is to be probed."""
    assert [mover.looked(look, now) for look in (HERE, ELSEWHERE, ELSEWHERE, ELSEWHERE)] == [False, False, True, False]
    return mover.next()


def test_move_comes_after_a_random_delay_and_not_if_the_name_returns(mover: Mover) -> None:
    assert leads_elsewhere(mover, 100.0) == 105.0
    assert mover.to_probe(104.0) is None
    mover.looked(HERE, 104.5)
    assert mover.next() == math.inf
    assert mover.to_probe(1e9) is None


def test_place_is_left_only_once_the_new_one_can_be_used(mover: Mover) -> None:
    at = leads_elsewhere(mover, 100.0)
    assert not mover.leaves(at)
    number, addresses = mover.to_probe(at) or (0, ())
    assert addresses == ("2", "3")
    assert not mover.leaves(at)
    assert mover.to_probe(at) is None
    assert not mover.probed(Probed(number, ""), at + 1)
    assert mover.next() == at + 1
    assert mover.leaves(at + 1)
    # It is not probed again on the way.
    assert mover.to_probe(at + 1) is None


def test_place_that_cannot_be_used_is_probed_in_growing_intervals_and_told_once(mover: Mover) -> None:
    now, told, pauses = leads_elsewhere(mover, 100.0), 0, []
    for _ in range(10):
        number, _ = mover.to_probe(now) or (0, ())
        told += mover.probed(Probed(number, "no"), now)
        assert not mover.leaves(1e9)
        pauses.append(mover.next() - now)
        now = mover.next()
    assert told == 1
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.75 * PROBE_PAUSE, 0.75 * MOST_PROBE_PAUSE)


def test_what_a_probing_found_counts_only_for_the_name_as_it_is_now(mover: Mover) -> None:
    at = leads_elsewhere(mover, 100.0)
    number, _ = mover.to_probe(at) or (0, ())
    mover.looked(HERE, at)
    assert not mover.probed(Probed(number, ""), at)
    assert not mover.leaves(1e9)
    at = leads_elsewhere(mover, 200.0)
    second, _ = mover.to_probe(at) or (0, ())
    assert second != number
    mover.probed(Probed(number, ""), at)
    assert not mover.leaves(1e9)
    mover.connected("1:8883")
    mover.probed(Probed(second, ""), at)
    assert not mover.leaves(1e9)


def test_probing_without_an_answer_is_made_again(mover: Mover) -> None:
    at = leads_elsewhere(mover, 100.0)
    assert mover.to_probe(at)
    again = mover.next()
    # Two addresses may take the connect timeout each.
    assert again >= at + 20.0
    assert mover.to_probe(again)


def test_client_whose_moves_lead_back_does_not_go_on_moving(mover: Mover) -> None:
    moves, now = [], 0.0
    for _ in range(1000):
        now += 10.0
        mover.looked(ELSEWHERE, now)
        if to_probe := mover.to_probe(now):
            mover.probed(Probed(to_probe[0], ""), now)
        if mover.leaves(now):
            mover.moved(now)
            mover.connected("1:8883")
            moves.append(now)
    assert 3 <= len(moves) <= 8
    assert moves[1] - moves[0] >= 60


def test_delay_without_a_setting_of_its_own_is_the_fleets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(move.random, "uniform", lambda _, high: high)
    made = Mover(config(endpoint_watch_jitter=0.0))
    made.connected("1:8883")
    spread = config().spread
    assert leads_elsewhere(made, 100.0) == 100.0 + spread


def test_client_that_only_logs_probes_nothing() -> None:
    made = Mover(config(endpoint_watch="log"))
    made.connected("1:8883")
    assert leads_elsewhere(made, 100.0) == math.inf


@pytest.mark.parametrize(("usable", "asked", "problem"), [("3", 2, ""), ("", MOST_ADDRESSES, "4: refused")])
def test_addresses_are_probed_in_turn_until_one_can_be_used(
    monkeypatch: pytest.MonkeyPatch, usable: str, asked: int, problem: str
) -> None:
    probed: list[str] = []

    def probe(_: Config, address: str, timeout: float) -> str:
        assert timeout == 10.0
        probed.append(address)
        return "" if address == usable else f"{address}: refused"

    monkeypatch.setattr(move, "probe", probe)
    found: list[Probed] = []
    done = threading.Event()

    def report(result: Probed) -> None:
        found.append(result)
        done.set()

    start_probe(config(), 7, ("1", "3", "2", "4"), report)
    assert done.wait(10)
    assert (len(probed), found) == (asked, [Probed(7, problem)])
