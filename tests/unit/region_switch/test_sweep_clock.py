"""A sweep second by second: when who is told, looked for and given up, and what is written of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.region_switch.fleet.roster import TrackedClient
from ansible.module_utils.region_switch.fleet.source import Connection
from ansible.module_utils.region_switch.model.connection_state import NOT_CONNECTED
from ansible.module_utils.region_switch.model.errors import AwsError, SwitchError
from ansible.module_utils.region_switch.move import sweep as engine
from ansible.module_utils.region_switch.move.disconnect import FORBIDDEN_ATTEMPTS
from ansible.module_utils.region_switch.move.sweep import (
    Guard,
    LateError,
    Limits,
    UnprovenError,
    Wave,
    WaveError,
    Witness,
)
from ansible.module_utils.region_switch.move.way import Attempt, Sighting
from ansible.module_utils.region_switch.move.ways import usual_in_flight
from ansible.module_utils.region_switch.record.events import End

from .fakes import aws_error
from .scripted import ENDPOINT, EPOCH, NEW, OLD, SINCE, World

# The sweep looks up from its work so often; what is timed is seen that much later.
TICK = 0.05
SLACK = 3 * TICK
THROTTLED = aws_error("ThrottlingException", 429)
FAILED = aws_error("InternalFailureException", 500)
REFUSED = aws_error("InvalidRequestException", 400)
DENIED = aws_error("ForbiddenException", 403)
NOWHERE = Sighting(NOT_CONNECTED, NOT_CONNECTED)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    # No power cut here: nothing has to wait for the disk.
    monkeypatch.setattr(os, "fsync", lambda _: None)
    made = World(tmp_path)
    yield made
    made.roster.close()


def names(count: int, prefix: str = "c") -> list[str]:
    return [f"{prefix}{number:04}" for number in range(count)]


def between(low: float, high: float, value: float) -> bool:
    return low - 1e-6 <= value <= high + 1e-6


class Watching(Guard):
    """Notes when it looks, and raises from a given look on."""

    def __init__(self, world: World, problem_at: int = 10**9) -> None:
        self.world, self.problem_at = world, problem_at
        self.looks: list[float] = []
        self.was_over: list[bool] = []
        self.witness: Witness | None = None

    def look(self, witness: Witness) -> None:
        self.witness = witness
        self.looks.append(self.world.clock())
        self.was_over.append(self.over)
        if len(self.looks) >= self.problem_at:
            raise SwitchError("somebody moves the records")


def told(world: World, *found: bool, looked: bool = True) -> Wave:
    """A wave of so many clients, all told at 1000 s, of whom AWS knew these."""
    every = names(len(found))
    world.clients(*every)
    world.roster.assign(1, len(found))
    sweep = world.evacuate()
    wave = sweep._wave_now = Wave(1, len(found), len(found), len(found), 1000.0)
    for client, known in zip(world.roster.take_waiting(1, 1000.0, len(found)), found, strict=True):
        sweep._was_asked(client, Attempt(1000.0, EPOCH + 1000.0, 0.1, found=known))
        world.roster.update(client, "told", looks=int(looked))
    return wave


# Waves.


def test_a_wave_is_written_down_when_it_begins_and_when_it_has_landed(world: World) -> None:
    world.clients(*names(5))
    world.run(2, 0, 3, first=4)
    assert world.steps("sweep") == [{"wave": 4, "waves": 5, "clients": 2}, {"wave": 5, "waves": 5, "clients": 3}]
    assert world.steps("landing") == [{"wave": 4, "landed": 2, "late": 0}, {"wave": 5, "landed": 3, "late": 0}]
    assert world.switched == ["start", "stop"]
    assert [pool.workers for pool in world.pools] == [256]


def test_nobody_of_a_wave_is_told_before_the_one_before_has_landed_to_the_last_client(world: World) -> None:
    world.travel = lambda name: 5.0 if name == "c0001" else 1.0
    world.clients(*names(12))
    world.run(4, 8)
    assert world.asked[3][0] == 1000.0
    last_landed = max(float(world.row(name)["landed_at"]) - EPOCH for name in {name for _, name in world.asked[:4]})
    assert all(at > last_landed for at, _ in world.asked[4:])
    assert len(world.asked) == 12


def test_what_was_told_and_landed_is_counted_and_timed(world: World) -> None:
    world.clients(*names(5))
    world.run(2, 3)
    sweep = world.sweep
    assert (sweep.total, sweep.asked, sweep.landed) == (5, 5, 5)
    # The time until the last client of each wave was told, not that until it landed.
    assert sweep.seconds == pytest.approx(0.2)
    assert sweep.arrived(NEW) == 5
    assert sweep.arrived(OLD) == 0


def test_another_run_of_waves_adds_to_what_was_counted_and_has_its_own_time(world: World) -> None:
    world.clients(*names(3))
    world.run(3)
    world.clock.sleep(1000)
    world.clients("later")
    world.sweep.run([1], first=2)
    assert (world.sweep.total, world.sweep.asked, world.sweep.landed) == (4, 4, 4)
    assert world.roster.counts()["landed"] == 4


@pytest.mark.parametrize(("late", "fails"), [(100, False), (101, True)])
def test_a_share_of_a_wave_may_be_late(world: World, late: int, fails: bool) -> None:
    dark = set(names(late))
    world.limits = Limits(50.0, 1000, 20.0, 0.0)
    world.travel = lambda name: None if name in dark else 1.0
    world.clients(*names(200))
    if not fails:
        world.run()
    else:
        with pytest.raises(
            WaveError,
            match=r"wave 1: found 101 of 200 clients not landed within 20 s \(c0000, .*c0009, …\), expected 50 % at",
        ):
            world.run()
    assert world.steps("landing") == [{"wave": 1, "landed": 200 - late, "late": late}]


def unlucky(world: World, missing: int, unseen: int, untold: int) -> None:
    """Two hundred clients, so many of whom are nowhere, not said to be anywhere, or cannot be told."""
    world.limits = Limits(50.0, 1000, 20.0, 0.0)
    world.trouble = FAILED
    every = names(200)
    blind = set(every[missing : missing + unseen])
    rest = every[missing + unseen : missing + unseen + untold]
    world.tells = {name: [THROTTLED] * 1000 for name in rest}
    world.travel = lambda name: None if name in every[:missing] else 1.0
    sighting = world._sighting
    world.sighting = lambda each, now: Sighting(None, None) if each.client_id in blind else sighting(each, now)
    world.clients(*every)


def test_only_who_was_looked_for_and_not_found_is_known_not_to_have_landed(world: World) -> None:
    unlucky(world, missing=101, unseen=3, untold=4)
    with pytest.raises(WaveError, match="found 108 of 200 clients not landed"):
        world.run()


@pytest.mark.parametrize(
    ("missing", "unseen", "untold", "found"),
    [
        (100, 3, 0, r"3 of 200 clients of whom AWS does not say where they are \(.*InternalFailure.*\), expected 50 %"),
        (97, 3, 3, r"3 of 200 clients of whom AWS does not say where they are \("),
        (97, 2, 3, r"3 of 200 clients not disconnected \(.*ThrottlingException.*\), expected 50 % at most"),
    ],
)
def test_a_wave_of_which_nothing_is_known_is_no_reason_to_go_back(
    world: World, missing: int, unseen: int, untold: int, found: str
) -> None:
    unlucky(world, missing, unseen, untold)
    with pytest.raises(UnprovenError, match=f"wave 1: found {found}"):
        world.run()


def test_without_an_error_of_aws_none_is_named(world: World) -> None:
    world.sighting = lambda *_: Sighting(None, None)
    world.clients("a")
    with pytest.raises(UnprovenError, match="where they are, expected 0 % at most"):
        world.run()


def test_one_that_is_off_is_not_taken_for_one_that_was_not_told(world: World) -> None:
    world.tells = {"off": [False]}
    world.sighting = lambda each, _: NOWHERE if each.client_id == "off" else Sighting(None, None)
    world.clients("off", "blind")
    with pytest.raises(UnprovenError, match="wave 1: found 1 of 2 clients of whom AWS does not say where they are"):
        world.run()


# Time.


@pytest.mark.parametrize(
    ("seconds", "found", "looked", "over"),
    [
        (20.0, True, True, False),
        (20.05, True, True, True),
        (30.0, True, False, False),
        (30.05, True, False, True),
        (15.0, False, True, False),
        (15.05, False, True, True),
    ],
    ids=["in time", "late", "looked for at last", "never looked for", "off, patience", "off, passed over"],
)
def test_a_wave_is_over_only_when_its_time_has_passed(
    world: World, seconds: float, found: bool, looked: bool, over: bool
) -> None:
    wave = told(world, found, looked=looked)
    world.clock.now = 1000.0 + seconds
    assert world.sweep._over(wave) is over


def test_a_wave_is_given_its_time_from_its_last_client_on(world: World) -> None:
    world.travel = lambda _: None
    world.interval = 1.0
    world.clients(*names(11))
    with pytest.raises(WaveError):
        world.run()
    assert between(1030.1, 1030.1 + SLACK, world.clock())


def test_one_that_was_told_and_not_looked_for_yet_is_waited_for_some_more(world: World) -> None:
    world.look_seconds = 1000.0
    world.clients("a")
    with pytest.raises(UnprovenError):
        world.run()
    # Whatever was begun is waited for in the end: it does not count here.
    assert between(1030.1, 1030.1 + SLACK, world.clock())


@pytest.mark.parametrize(("event", "heard"), [("told", 1015.1), ("landed", 1016.0)])
def test_while_somebody_cannot_be_told_time_counts_from_when_anything_was_heard(
    world: World, event: str, heard: float
) -> None:
    world.tells = {"stuck": [THROTTLED] * 1000, "slow": [THROTTLED] * 13}
    world.travel = lambda _: None if event == "told" else 0.5
    world.clients("stuck", "slow")
    with pytest.raises((UnprovenError, WaveError)):
        world.run()
    assert between(heard + 20.0 - 1.0, heard + 20.0 + 1.0, world.clock())


def test_a_client_is_first_looked_for_when_it_may_be_back_and_then_less_and_less_often(world: World) -> None:
    world.travel = lambda _: 6.0
    world.clients("a")
    world.run()
    waits = [at - 1000.0 for at, _ in world.looked]
    # Each answer takes 0.2 s.
    expected = [0.3, 0.3 + 0.2 + 1.1, 1.6 + 0.2 + 1.54, 3.34 + 0.2 + 2.156, 5.696 + 0.2 + 3.0184]
    assert len(waits) == len(expected)
    for found, least in zip(waits, expected, strict=True):
        assert between(least, least + 5 * SLACK, found)
    assert [(each.looks, each.attempts, each.kicks) for each in world.seen] == [(n, 0, 1) for n in range(5)]
    assert world.row("a")["looks"] == 5


def test_the_moments_of_a_move_are_noted(world: World) -> None:
    world.clients("a")
    world.run()
    row = world.row("a")
    assert (row["kicked_at"], row["told_at"], row["landed_at"]) == (EPOCH + 1000.0, 1000.0, EPOCH + 1001.0)
    assert (row["state"], row["kicks"], row["found"], row["bounces"]) == ("landed", 1, 1, 0)
    assert (row["in_target"], row["in_source"]) == (1, 0)
    assert world.steps("delete_connection") == [{"client_id": "a", "region": OLD, "found": True}]
    assert world.steps("landed") == [{"client_id": "a", "region": NEW, "seconds": 1.0}]


@pytest.mark.parametrize(
    ("since", "seconds"), [(EPOCH + 1002.5004, 2.5), (EPOCH + 999.0, 0.0), (0.0, None), (EPOCH + 1000.0625, 0.062)]
)
def test_how_long_a_client_took_is_written_where_it_is_known(world: World, since: float, seconds: float | None) -> None:
    world.sighting = lambda *_: Sighting(since, NOT_CONNECTED)
    world.clients("a")
    world.run()
    assert world.steps("landed") == [{"client_id": "a", "region": NEW, "seconds": seconds}]


def test_a_region_that_is_not_asked_is_not_said_to_be_left(world: World) -> None:
    world.sighting = lambda *_: Sighting(EPOCH + 1001.0, None, skipped=True)
    world.clients("a")
    world.run()
    assert (world.row("a")["in_target"], world.row("a")["in_source"]) == (1, None)


# How many at once.


def test_as_many_may_be_on_their_way_as_the_fastest_region_lets_go_in_half_a_minute() -> None:
    assert usual_in_flight({OLD: 100.0, NEW: 25.5}) == 3000
    assert usual_in_flight({OLD: 0.55}) == 16


@pytest.mark.parametrize("kind", ["move", "look"])
def test_when_the_rate_drops_no_request_is_begun_until_so_many_have_ended(world: World, kind: str) -> None:
    world.limits = Limits(100.0, 1000, 20.0, 0.0)
    world.speed = 10_000.0
    setattr(world, f"{kind}_seconds", 5.0)
    setattr(world, kind, slower(world, getattr(world, kind)))
    world.clients(*names(300))
    begun = world.asked if kind == "move" else world.looked
    world.run()
    assert len([at for at, _ in begun if at < begun[0][0] + 4.0]) == 128


def slower(world: World, work: Any) -> Any:
    """What makes a request, and finds out with it that AWS takes no more than one a second."""

    def made(client: TrackedClient) -> Any:
        result = work(client)
        world.speed = 1.0 if world.most[work.__name__] == 127 else world.speed
        return result

    made.__name__ = work.__name__
    return made


@pytest.mark.parametrize("limit", [1, 5])
def test_no_more_clients_are_on_their_way_than_allowed_and_no_fewer(world: World, limit: int) -> None:
    world.limits = Limits(0.0, limit, 20.0, 0.0)
    world.clients(*names(17))
    world.run()
    assert world.flying == limit
    assert world.roster.counts()["landed"] == 17


def test_clients_that_are_tried_again_count_among_those_on_their_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PIECE", 10)
    world.limits = Limits(0.0, 5, 20.0, 0.0)
    world.tells = {name: [THROTTLED] for name in names(40)[::3]}
    world.clients(*names(40))
    world.run()
    assert world.flying == 5
    assert world.roster.counts()["landed"] == 40


def test_a_client_that_goes_back_makes_room_for_another(world: World) -> None:
    world.limits = Limits(50.0, 1, 20.0, 0.0)
    back = Sighting(NOT_CONNECTED, SINCE + 100)
    sighting = world._sighting
    world.clients("a", "b")
    first, second = in_turn(world)
    world.sighting = lambda each, now: back if each.client_id == first and now < 1200 else sighting(each, now)
    world.run()
    # The first one waits half a minute for resolvers to forget.
    assert world.row(second)["state"] == "landed"


def in_turn(world: World) -> list[str]:
    """The client IDs in the order in which they are told."""
    return [name for (name,) in world.roster._db.execute("SELECT client_id FROM client ORDER BY lot")]


@pytest.mark.parametrize(("rate", "tells", "looks"), [(1.0, 16, 16), (199.0, 40, 80), (10_000.0, 128, 128)])
def test_as_many_requests_are_under_way_as_rate_and_latency_need_and_as_many_again(
    world: World, rate: float, tells: int, looks: int
) -> None:
    world.speed = rate
    world.clients(*names(300))
    # They are due at the same time, and nothing was learnt of latencies but what is assumed.
    world.run()
    assert world.most == {"move": tells, "look": looks}


def learnt(assumed: float, taken: float, requests: int) -> float:
    """The latency that so many requests teach."""
    for _ in range(requests):
        assumed += (taken - assumed) / 20
    return assumed


@pytest.mark.parametrize(("kind", "assumed"), [("move", 0.1), ("look", 0.2)])
def test_latency_is_learnt_from_what_requests_take(world: World, kind: str, assumed: float) -> None:
    world.speed = 50.0
    setattr(world, f"{kind}_seconds", 1.0)
    world.clients(*names(10))
    world.run()
    requests = 10 if kind == "move" else len(world.looked)
    assert world.sweep._workers(kind) == pytest.approx(100 * learnt(assumed, 1.0, requests), abs=1)


def test_a_rate_below_one_a_second_counts_as_one(world: World) -> None:
    world.speed, world.move_seconds = 0.01, 30.0
    world.clients(*names(40))
    world.limits = Limits(0.0, 1000, 200.0, 0.0)
    world.run()
    assert world.sweep._workers("move") == pytest.approx(2 * learnt(0.1, 30.0, 40), abs=1)


def test_all_results_that_have_come_are_taken_in_before_the_next_pause(world: World) -> None:
    world.speed = 10_000.0
    world.clients(*names(100))
    world.run()
    assert set(world.takes) == {TICK}
    # A few ticks until they are told, looked for, and looked for again.
    assert len(world.takes) < 100


def test_a_large_wave_is_given_its_clients_in_pieces_of_two_thousand(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def assign(_wave: int, size: int) -> None:
        raise SwitchError(f"assigned {size}")

    monkeypatch.setattr(world.roster, "assign", assign)
    with pytest.raises(SwitchError, match="assigned 2000"):
        world.run(4100)


def test_clients_are_given_to_a_wave_when_the_piece_before_has_been_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assign, before = world.roster.assign, []
    monkeypatch.setattr(engine, "PIECE", 10)
    monkeypatch.setattr(world.roster, "assign", lambda *given: (before.append(len(world.asked)), assign(*given)))
    world.limits = Limits(0.0, 5, 20.0, 0.0)
    world.clients(*names(30))
    world.run()
    assert before == [0, 10, 20]


def test_the_roster_is_kept_up_to_date_while_the_work_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[float] = []
    world.clients("a")
    monkeypatch.setattr(world.roster, "tick", lambda: ticks.append(world.clock()))
    world.run()
    assert len(ticks) == len(world.takes)


# What goes wrong.


def test_throttling_is_tried_again_after_its_interval_and_is_no_failed_attempt(world: World) -> None:
    world.tells = {"a": [THROTTLED] * 10}
    world.clients("a")
    world.run()
    gaps = [later - sooner for (sooner, _), (later, _) in pairwise(world.asked)]
    assert len(gaps) == 10
    assert all(between(1.1, 1.1 + 2 * SLACK, gap) for gap in gaps)
    assert world.row("a")["attempts"] == 0
    assert world.seen[0].attempts == 0


def test_failures_are_tried_again_later_each_time_and_forgotten_when_it_went_well(world: World) -> None:
    world.tells = {"a": [FAILED] * 5}
    world.clients("a", "b")
    world.run()
    begun = [at for at, name in world.asked if name == "a"]
    gaps = [later - sooner for sooner, later in pairwise(begun)]
    assert [round(gap / 1.1) for gap in gaps] == [1, 2, 3, 4, 5]
    assert (world.row("a")["state"], world.row("a")["attempts"], world.row("a")["note"]) == ("landed", 0, "")


def test_a_client_that_aws_does_not_disconnect_is_only_looked_for_from_then_on(world: World) -> None:
    world.limits = Limits(50.0, 1000, 20.0, 0.0)
    world.tells = {"broken": [REFUSED] * 9}
    world.clients("broken", "fine")
    world.run()
    assert [name for _, name in world.asked].count("broken") == 1
    row = world.row("broken")
    assert (row["state"], row["attempts"], row["note"]) == ("told", 1, str(REFUSED))
    assert row["looks"] > 3
    assert [each.looks for each in world.seen if each.client_id == "broken"] == list(range(row["looks"]))
    assert world.steps("delete_connection_failed") == [{"client_id": "broken", "error": str(REFUSED)}]
    # It was told as far as it can be, so the wave's time began.
    assert world.sweep.asked == 2


def test_one_that_aws_does_not_disconnect_may_move_by_itself(world: World) -> None:
    world.tells = {"broken": [REFUSED]}
    world.sighting = lambda _, now: Sighting(EPOCH + now, NOT_CONNECTED)
    world.clients("broken", "fine")
    world.run()
    assert {step["client_id"]: step["seconds"] for step in world.steps("landed")}["broken"] is None


@pytest.mark.parametrize(("clients", "refusals"), [(1, 1), (5, 5), (100, 20)])
def test_a_request_that_is_refused_for_everybody_ends_it(world: World, clients: int, refusals: int) -> None:
    world.tells = {name: [REFUSED] for name in names(clients)}
    world.limits = Limits(100.0, 1, 20.0, 0.0)
    world.clients(*names(clients))
    with pytest.raises(SwitchError, match=f"found none of {refusals} requests fulfilled: .*InvalidRequestException"):
        world.run()


def test_one_request_that_was_fulfilled_shows_that_not_everybody_is_refused(world: World) -> None:
    world.tells = {name: [REFUSED] for name in names(40)}
    world.limits = Limits(100.0, 1, 20.0, 0.0)
    world.tells["fine"] = []
    world.roster.add([Connection("fine", ENDPOINT, OLD, SINCE)], {ENDPOINT: NEW})
    world.roster.assign(1, 1)
    world.clients(*names(40))
    world.run(41)
    assert len(world.steps("delete_connection_failed")) == 40


@pytest.mark.parametrize("clients", [1, 3, 100])
def test_a_permission_that_is_missing_for_everybody_ends_it_within_seconds(world: World, clients: int) -> None:
    world.interval = 0.25
    world.tells = {name: [DENIED] * 9 for name in names(clients)}
    world.clients(*names(clients))
    with pytest.raises(AwsError) as ended:
        world.run()
    assert ended.value is DENIED
    assert world.clock() < 1010
    failed = world.steps("delete_connection_failed")[-1]
    row = world.row(failed["client_id"])
    assert (row["state"], row["note"]) == ("waiting", str(DENIED))
    assert world.switched == ["start", "stop"]


def test_credentials_that_have_expired_end_it_with_the_first_answer(world: World) -> None:
    expired = aws_error("ExpiredTokenException", 403)
    world.tells = {name: [expired] for name in names(3)}
    world.limits = Limits(0.0, 1, 20.0, 0.0)
    world.clients(*names(3))
    with pytest.raises(AwsError) as ended:
        world.run()
    assert ended.value is expired
    assert len(world.asked) == 1


def test_single_refusals_are_tried_again_and_noted(world: World) -> None:
    """The data plane forbids now and then what it allows."""
    every = names(40)
    world.tells = {name: [DENIED] for name in every[::4]}
    world.clients(*every)
    world.run(1, 39)
    assert world.roster.counts()["landed"] == 40
    assert world.sweep.forbidden == 10
    assert {step["client_id"] for step in world.steps("delete_connection_failed")} == set(every[::4])


def test_a_client_that_the_permission_leaves_out_does_not_hold_up_the_others(world: World) -> None:
    world.tells = {"strange": [DENIED] * 99}
    world.limits = Limits(100.0, 1000, 20.0, 0.0)
    world.clients("strange", *names(200))
    world.interval = 0.1
    world.run(201)
    assert world.roster.counts()["landed"] == 200
    assert sum(name == "strange" for _, name in world.asked) == FORBIDDEN_ATTEMPTS
    assert world.row("strange")["note"] == str(DENIED)


def failing(world: World, fine: int, error: AwsError = FAILED, clients: int = 100) -> None:
    """A hundred clients, told four a second, of whose requests every so many is fulfilled and the others fail."""
    world.limits = Limits(100.0, 1000, 100.0, 0.0)
    world.interval = 0.25
    tell = world.move

    def sometimes(client: TrackedClient) -> Any:
        world.tells[client.client_id] = [] if len(world.asked) % fine == 0 else [error]
        return tell(client)

    sometimes.__name__ = "move"
    world.move = sometimes  # type: ignore[method-assign]
    world.clients(*names(clients))


def test_an_api_that_fulfils_nothing_for_half_a_minute_ends_it(world: World) -> None:
    failing(world, fine=10**9)
    with pytest.raises(AwsError) as ended:
        world.run()
    assert ended.value is FAILED
    # The first one was fulfilled, and the second one a turn later was not.
    assert between(1030.35, 1030.35 + 0.25 + SLACK, world.clock())


def test_one_request_that_is_fulfilled_in_between_shows_that_it_is_not_down(world: World) -> None:
    failing(world, fine=80)
    world.run()
    assert world.clock() > 1060


def test_refusals_that_are_no_use_to_try_again_are_no_silence(world: World) -> None:
    failing(world, fine=10**9, error=REFUSED, clients=150)
    world.run()
    assert len(world.steps("delete_connection_failed")) == 149


def test_an_api_is_silent_when_it_has_failed_for_longer_than_half_a_minute(world: World) -> None:
    sweep = world.evacuate()
    found = []
    for at in (1000.0, 1030.0, 1030.05):
        world.clock.now = at
        found.append(sweep._silent(FAILED))
    assert found == [False, False, True]


def test_throttling_alone_is_no_silence(world: World) -> None:
    world.limits = Limits(0.0, 1000, 100.0, 0.0)
    world.tells = {"a": [THROTTLED] * 50}
    world.clients("a")
    world.run()
    assert world.clock() > 1050


def test_404_for_everyone_is_told_when_nobody_shows_up_in_time(world: World) -> None:
    world.tells = {name: [False] for name in names(6)}
    world.travel = lambda _: None
    world.clients(*names(6))
    with pytest.raises(SwitchError, match="found 404 for all 6 clients and none of them in the region it belongs to"):
        world.run()
    assert between(1015.1, 1015.1 + SLACK, world.clock())


def test_who_vanished_is_waited_for_as_long_as_said(world: World) -> None:
    told(world, *[False] * 6)
    assert not world.sweep._all_vanished(1015.0)
    assert world.sweep._all_vanished(1015.05)


def test_a_handful_that_is_off_is_no_wrong_list(world: World) -> None:
    world.clients(*names(10))
    off = in_turn(world)[:5]
    world.tells = {name: [False] for name in off}
    world.sighting = lambda each, now: NOWHERE if each.client_id in off else world._sighting(each, now)
    world.run(5, 5)
    assert world.steps("landing") == [
        {"wave": 1, "landed": 0, "late": 5, "absent": 5}, {"wave": 2, "landed": 5, "late": 0}
    ]  # fmt: skip
    assert world.steps("sweep")[1] == {"wave": 2, "waves": 2, "clients": 5}
    assert world.asked[5][0] < 1000.0 + engine.VANISHED_GRACE + 1.0


@pytest.mark.parametrize("shown_by", ["found", "landed"])
def test_one_that_aws_knew_or_that_landed_shows_that_the_ids_are_right(world: World, shown_by: str) -> None:
    world.limits = Limits(100.0, 1000, 20.0, 0.0)
    world.tells = {name: [False] for name in names(20)}
    if shown_by == "found":
        world.tells["c0007"] = [True]
    world.travel = lambda name: 1.0 if shown_by == "landed" and name == "c0007" else None
    world.clients(*names(20))
    world.run()
    assert world.clock() > 1019


def test_a_canary_that_is_off_stops_nobody_and_another_is_taken(world: World) -> None:
    world.clients(*names(10))
    off = in_turn(world)[:2]
    world.tells = {name: [False] for name in off}
    world.travel = lambda name: None if name in off else 1.0
    sighting = world._sighting
    world.sighting = lambda each, now: NOWHERE if each.client_id in off else sighting(each, now)
    assert world.run(1, 9) < 3 * engine.VANISHED_GRACE
    assert [(step["wave"], step["waves"], step["clients"]) for step in world.steps("sweep")] == [
        (1, 2, 1), (2, 3, 1), (3, 4, 1), (4, 4, 7)
    ]  # fmt: skip
    assert [step.get("absent", 0) for step in world.steps("landing")] == [1, 1, 0, 0]
    assert world.roster.counts()["landed"] == 8
    assert world.roster.stragglers(10) == sorted(off)


def test_a_canary_that_is_off_is_looked_for_with_patience_in_the_end(world: World) -> None:
    world.clients("a")
    world.tells = {"a": [False]}
    sighting = world._sighting
    world.sighting = lambda each, now: NOWHERE if now < 1018 else sighting(each, now)
    world.run()
    assert world.roster.counts()["landed"] == 0
    world.sweep.watch()
    assert world.roster.counts()["landed"] == 1


def test_the_last_watch_waits_no_longer_for_those_who_are_off_than_a_wave(world: World) -> None:
    world.limits = Limits(0.0, 1000, 60.0, 0.0)
    world.clients("a")
    world.tells = {"a": [False]}
    world.sighting = lambda *_: NOWHERE
    world.run()
    begun = world.clock()
    world.sweep.watch()
    assert between(engine.VANISHED_GRACE, engine.VANISHED_GRACE + SLACK, world.clock() - begun)


def test_one_that_had_gone_and_is_seen_to_come_is_given_the_time_of_the_others(world: World) -> None:
    world.limits = Limits(0.0, 1000, 60.0, 0.0)
    world.tells = {"a": [False]}
    # The old region does not say for a while whether it has left.
    world.sighting = lambda _, now: Sighting(EPOCH + 1001.0, None if now < 1040.0 else NOT_CONNECTED)
    world.clients("a")
    world.run()
    assert world.row("a")["state"] == "landed"


def test_one_that_had_gone_and_went_back_is_told_again(world: World) -> None:
    world.limits = Limits(0.0, 1000, 60.0, 0.0)
    world.tells = {"a": [False]}
    sighting = world._sighting
    world.sighting = lambda each, now: Sighting(NOT_CONNECTED, SINCE + 100) if each.kicks == 1 else sighting(each, now)
    world.clients("a")
    world.run()
    assert (world.row("a")["state"], world.row("a")["kicks"]) == ("landed", 2)


def test_one_that_had_gone_and_landed_is_not_off_any_more(world: World) -> None:
    world.limits = Limits(100.0, 1000, 60.0, 0.0)
    world.tells = {"early": [False]}
    world.travel = lambda name: 1.0 if name == "early" else None
    world.clients("early", "dark")
    world.run()
    begun = world.clock()
    world.sweep.watch()
    assert between(60.0, 60.0 + SLACK, world.clock() - begun)


def test_one_that_was_there_and_does_not_come_is_missing_whoever_else_is_off(world: World) -> None:
    world.clients("off", "dark")
    world.tells = {"off": [False]}
    world.travel = lambda _: None
    with pytest.raises(WaveError, match=r"wave 1: found 2 of 2 clients not landed within 20 s \(dark, off\)"):
        world.run()


def test_those_that_are_off_are_not_on_their_way(world: World) -> None:
    world.limits = Limits(100.0, 1, 20.0, 0.0)
    world.clients(*names(3))
    world.tells = {name: [False] for name in names(3)[:2]}
    world.sighting = lambda each, now: NOWHERE if each.client_id != "c0002" else world._sighting(each, now)
    world.run()
    assert {name for _, name in world.asked} == set(names(3))
    assert world.roster.counts()["landed"] == 1


def test_one_that_comes_late_is_judged_with_the_fleet_that_has_moved(world: World) -> None:
    world.limits = Limits(5.0, 1000, 20.0, 0.0)
    world.travel = lambda name: None if name.startswith("late") else 1.0
    world.clients(*names(100))
    world.run(1, 99)
    world.clients("late")
    assert world.sweep.run([1], first=3, moved=100) == 4
    assert world.steps("landing")[-1] == {"wave": 3, "landed": 0, "late": 1}
    world.clients(*names(6, "late"))
    with pytest.raises(
        LateError,
        match=r"^clients that came late: found 6 of 6 clients not landed within .* \(late0000, .*, expected 5 % of 106",
    ):
        world.sweep.run([6], first=4, moved=100)


def test_while_requests_are_under_way_nobody_has_vanished(world: World) -> None:
    world.tells = {name: [False] for name in names(30)}
    world.interval, world.travel = 1.0, lambda _: None
    world.clients(*names(30))
    with pytest.raises(SwitchError, match="found 404 for all 30 clients"):
        world.run()


def test_a_request_that_was_not_sent_is_sent_later_and_no_failure(world: World) -> None:
    world.tells = {"a": [None]}
    world.clients("a")
    world.run()
    row = world.row("a")
    assert (row["state"], row["kicks"], row["attempts"]) == ("landed", 1, 0)
    assert len(world.steps("delete_connection")) == 1


# Those who go back, and those who stay.


def test_one_that_went_back_is_told_again_when_resolvers_have_forgotten(world: World) -> None:
    again = Sighting(NOT_CONNECTED, SINCE + 100)
    sighting = world._sighting
    world.sighting = lambda each, now: again if each.kicks == 1 else sighting(each, now)
    world.clients("a")
    world.limits = Limits(0.0, 1000, 60.0, 0.0)
    world.run()
    first, second = (at for at, _ in world.asked)
    seen = 1000.3 + 0.2
    assert between(seen + 30.0, seen + 30.0 + 3 * SLACK, second)
    assert first == 1000.0
    row = world.row("a")
    assert (row["state"], row["kicks"], row["bounces"], row["connected_since"]) == ("landed", 2, 1, SINCE + 100)
    assert world.steps("sweep_again") == [{"clients": ["a"], "seconds": 30.0}]
    assert [(each.looks, each.kicks) for each in world.seen][:2] == [(0, 1), (0, 2)]
    # Attempt once as far as the wave is concerned.
    assert (world.sweep.asked, world.sweep.landed) == (1, 1)


def test_one_whose_connection_stays_is_told_again_after_ten_seconds_and_did_not_go_back(world: World) -> None:
    stays = Sighting(NOT_CONNECTED, SINCE)
    sighting = world._sighting
    world.sighting = lambda each, now: stays if each.kicks == 1 else sighting(each, now)
    world.clients("a")
    world.run()
    (_, _), (second, _) = world.asked
    assert between(1010.0, 1015.0, second)
    assert world.row("a")["bounces"] == 0
    assert world.steps("sweep_again") == [{"clients": ["a"], "seconds": 0.0}]


@pytest.mark.parametrize(("seconds", "state"), [(9.95, "told"), (10.0, "waiting")])
def test_a_connection_is_given_ten_seconds_to_end(world: World, seconds: float, state: str) -> None:
    told(world, True)
    (client,) = world.roster.take_told(1001.0, 1)
    world.clock.now = 1000.0 + seconds
    world.sweep._was_seen(client, Sighting(NOT_CONNECTED, SINCE), 0.2)
    assert world.row("c0000")["state"] == state


def test_a_connection_is_a_later_one_than_the_first_that_was_known(world: World) -> None:
    # The index and GetConnection need not agree on its moment: what is known must not creep.
    seen = iter([Sighting(NOT_CONNECTED, SINCE + 0.9), Sighting(NOT_CONNECTED, SINCE + 1.5)])
    sighting = world._sighting
    world.sighting = lambda each, now: next(seen, None) or sighting(each, now)
    world.limits = Limits(0.0, 1000, 60.0, 0.0)
    world.clients("a")
    world.run()
    assert world.row("a")["bounces"] == 1


def test_one_that_is_told_again_counts_once_for_its_wave(world: World) -> None:
    stays = Sighting(NOT_CONNECTED, SINCE)
    sighting = world._sighting
    world.sighting = lambda each, now: stays if each.client_id == "a" and each.kicks == 1 else sighting(each, now)
    world.tells = {"b": [THROTTLED] * 14}
    world.limits = Limits(0.0, 1000, 60.0, 0.0)
    world.clients("a", "b")
    world.run()
    at, name = world.asked[-1]
    assert name == "b"
    assert len([1 for _, name in world.asked if name == "a"]) == 2
    assert world.sweep.asked == 2
    # The wave was complete when the last one was told, not when the first one was told again.
    assert world.sweep.seconds == pytest.approx(at + world.move_seconds - 1000.0, abs=SLACK)


def test_where_it_is_seen_is_noted_while_it_goes_on(world: World) -> None:
    world.travel = lambda _: None
    world.clients("a")
    with pytest.raises(WaveError):
        world.run()
    row = world.row("a")
    assert (row["state"], row["in_target"], row["in_source"]) == ("told", 0, 0)


def test_where_it_went_back_to_is_noted(world: World) -> None:
    world.sighting = lambda *_: Sighting(NOT_CONNECTED, SINCE + 100)
    world.clients("a")
    with pytest.raises(WaveError):
        world.run()
    row = world.row("a")
    assert (row["state"], row["in_target"], row["in_source"], row["looks"]) == ("waiting", 0, 1, 1)


def test_a_connection_of_unknown_age_is_compared_with_the_first_that_was_seen(world: World) -> None:
    seen = iter([Sighting(NOT_CONNECTED, SINCE), Sighting(NOT_CONNECTED, SINCE + 50)])
    sighting = world._sighting
    world.sighting = lambda each, now: next(seen, None) or sighting(each, now)
    world.clients("a", since=0.0)
    world.limits = Limits(0.0, 1000, 60.0, 0.0)
    world.run()
    assert world.row("a")["bounces"] == 1


def test_one_of_a_wave_that_is_over_does_not_count_for_the_next(world: World) -> None:
    world.limits = Limits(50.0, 1000, 20.0, 0.0)
    travels = iter([0.5, 1.0, 8.0, 9.0])
    travel: dict[str, float] = {}
    tell = world.move

    def stuck(client: TrackedClient) -> Any:
        name = client.client_id
        if name not in travel:
            # The first of all is told when the second wave is under way.
            world.tells[name] = [] if travel else [THROTTLED] * 24
            travel[name] = next(travels)
        return tell(client)

    stuck.__name__ = "move"
    world.move = stuck  # type: ignore[method-assign]
    world.travel = travel.__getitem__
    world.clients(*names(4))
    world.run(2, 2)
    assert world.steps("landing") == [{"wave": 1, "landed": 1, "late": 1}, {"wave": 2, "landed": 2, "late": 0}]
    assert world.roster.counts()["landed"] == 4
    assert (world.sweep.asked, world.sweep.landed) == (3, 4)


def test_one_of_a_wave_that_is_over_is_not_taken_for_one_of_the_next(world: World) -> None:
    world.limits = Limits(50.0, 1000, 20.0, 0.0)
    world.clients(*names(4))
    _, early, one, two = in_turn(world)
    late = in_turn(world)[0]
    # It is told while the second wave has somebody who is not.
    world.tells = {late: [THROTTLED] * 22, one: [THROTTLED] * 10}
    world.run(2, 2)
    assert world.steps("landing") == [{"wave": 1, "landed": 1, "late": 1}, {"wave": 2, "landed": 2, "late": 0}]
    order = [name for _, name in world.asked]
    assert order.index(two) < max(at for at, name in enumerate(order) if name == late) < order.index(one) + 11 + 22
    assert early in order
    assert world.sweep.asked == 3


# Looking without telling.


def expected(world: World, *clients: str) -> None:
    world.roster.expect([Connection(name, ENDPOINT, OLD, 0.0) for name in clients], {ENDPOINT: NEW})


def test_those_who_can_only_be_looked_for_are_given_the_time_of_a_wave(world: World) -> None:
    expected(world, "a", "b")
    seen = {"a": Sighting(EPOCH + 5.0, None, skipped=True)}
    world.sighting = lambda each, _: seen.get(each.client_id, NOWHERE)
    world.evacuate().watch()
    assert (world.sweep.landed, world.asked, world.sweep.asked) == (1, [], 0)
    assert between(1020.0, 1020.0 + SLACK, world.clock())
    assert world.switched == ["start", "stop"]
    assert world.steps("landed") == [{"client_id": "a", "region": NEW, "seconds": None}]


def test_when_all_have_landed_the_watch_ends(world: World) -> None:
    expected(world, "a", "b")
    world.sighting = lambda *_: Sighting(EPOCH + 5.0, None, skipped=True)
    world.evacuate().watch()
    assert between(1000.2, 1000.2 + SLACK, world.clock())


def test_one_that_is_found_where_nobody_has_told_it_to_leave_is_told(world: World) -> None:
    expected(world, "a")
    world.evacuate().watch()
    assert [name for _, name in world.asked] == ["a"]
    row = world.row("a")
    assert (row["state"], row["kicks"], row["bounces"]) == ("landed", 1, 0)
    assert world.sweep.asked == 0


def test_one_that_waits_without_a_wave_is_told_once_it_was_looked_for(world: World) -> None:
    world.clients("a")
    client = world.roster.take_waiting(engine.NO_WAVE, 0.0, 1)[0]
    assert client.wave == engine.NO_WAVE
    world.evacuate()._ask_again(client, Sighting(NOT_CONNECTED, SINCE), 1000.0, back=False)
    assert world.row("a")["wave"] == engine.ANY_WAVE


def test_those_who_are_in_no_wave_are_not_told_while_others_are_looked_for(world: World) -> None:
    expected(world, "a")
    world.clients("waits")
    world.sighting = lambda *_: NOWHERE
    world.evacuate().watch()
    assert world.asked == []


def test_how_long_it_waits_to_be_told_again_is_written_in_milliseconds(world: World) -> None:
    told(world, True)
    (client,) = world.roster.take_told(1001.0, 1)
    world.sweep._ask_again(client, Sighting(NOT_CONNECTED, SINCE), 1029.98765, back=True)
    assert world.steps("sweep_again") == [{"clients": ["c0000"], "seconds": 29.988}]


# Who watches over it.


def test_the_guard_looks_every_two_seconds_and_the_operator_is_told_every_second(world: World) -> None:
    world.guard = guard = Watching(world)
    world.travel = lambda _: None
    world.clients("a")
    with pytest.raises(WaveError):
        world.run()
    gaps = [later - sooner for sooner, later in pairwise([1000.0, *guard.looks])]
    assert all(between(2.0, 2.0 + SLACK, gap) for gap in gaps)
    assert len(guard.looks) == 9
    assert guard.witness is world.sweep
    assert len(world.steps("progress")) == 19


def test_the_guard_looks_as_soon_as_its_time_has_come(world: World) -> None:
    world.guard = guard = Watching(world)
    sweep = world.evacuate()
    with sweep._at_work():
        for at in (1001.95, 1002.0):
            world.clock.now = at
            sweep._watch_over()
    assert guard.looks == [1002.0]


def test_the_guard_knows_whether_anybody_waits_for_what_it_finds(world: World) -> None:
    world.guard = guard = Watching(world)
    world.travel = lambda _: 3.0
    world.clients("a", "b")
    assert not guard.over
    for number in (1, 2):
        (world.sweep if number > 1 else world.evacuate()).run([1], number)
        assert guard.over
    assert len(guard.was_over) > 1
    assert not any(guard.was_over)


def test_what_the_guard_found_when_a_wave_had_just_landed_ends_the_next(world: World) -> None:
    world.guard = Watching(world, problem_at=1)
    world.guard_seconds = 5.0
    world.travel = lambda _: 3.0
    world.clients("a", "b")
    world.evacuate().run([1])
    with pytest.raises(SwitchError, match="somebody moves the records"):
        world.sweep.run([1], 2)


def test_what_the_guard_finds_ends_it(world: World) -> None:
    world.guard = Watching(world, problem_at=2)
    world.travel = lambda _: None
    world.clients("a")
    with pytest.raises(SwitchError, match="somebody moves the records"):
        world.run()
    assert between(1004.0, 1004.0 + 2 * SLACK, world.clock())


def test_nobody_is_told_while_the_guard_holds(world: World) -> None:
    world.guard = Watching(world)
    world.guard.holding = True
    world.clients("a")
    with pytest.raises(UnprovenError, match="found 1 of 1 clients not disconnected, expected"):
        world.run()
    assert world.asked == []


def test_nobody_else_is_told_once_the_guard_holds(world: World) -> None:
    class Holding(Guard):
        def look(self, _: Witness) -> None:
            self.holding = True

    world.guard, world.limits, world.travel = Holding(), Limits(100.0, 1, 20.0, 0.0), lambda _: 5.0
    world.clients(*names(3))
    world.run()
    assert (len(world.asked), world.roster.counts()["landed"]) == (1, 1)


def test_the_last_five_who_landed_say_whether_a_region_is_there(world: World) -> None:
    world.limits = Limits(0.0, 1, 20.0, 0.0)
    world.clients(*names(8))
    world.run()
    order = [step["client_id"] for step in world.steps("landed")]
    world.looked.clear()
    world.sighting = lambda *_: NOWHERE
    assert not world.sweep.still_there(NEW)
    assert [name for _, name in world.looked] == order[-5:]
    assert not world.sweep.still_there(OLD)

    world.sighting = lambda each, _: Sighting(5.0 if each.client_id == order[-1] else NOT_CONNECTED, None)
    assert world.sweep.still_there(NEW)


# What is written of its progress.


def progress(world: World) -> list[dict[str, Any]]:
    return world.steps("progress")


def test_progress_of_the_sweep(world: World) -> None:
    world.interval, world.travel = 0.25, lambda _: 100.0
    world.limits = Limits(100.0, 1000, 5.0, 0.0)
    world.clients(*names(40))
    world.run()
    fourth = progress(world)[3]
    assert between(15, 17, fourth["done"])
    assert {key: fourth[key] for key in ("phase", "total", "landed")} == {"phase": "sweep", "total": 40, "landed": 0}
    assert fourth["stragglers"] == fourth["in_flight"] == fourth["done"]
    assert fourth["rate"] == pytest.approx(4.0, abs=0.4)
    assert fourth["eta"] == pytest.approx((40 - fourth["done"]) / fourth["rate"], rel=0.05)


def said(world: World, seconds: float, told: int, landed: int, unsent: int) -> list[dict[str, Any]]:
    """What is written of a hundred clients after so many seconds."""
    sweep = world.evacuate()
    sweep.total, sweep.asked, sweep.landed = 100, told, landed
    world.clock.now = 1000.0 + seconds
    sweep._say(Wave(1, 100, unsent, 100 - landed, 1000.0))
    sweep.journal.write(End(outcome="moved"))
    return [{key: step[key] for key in ("done", "rate", "eta", "stragglers")} for step in progress(world)]


def test_progress_is_said_when_a_second_has_passed(world: World) -> None:
    assert said(world, 0.95, told=33, landed=0, unsent=67) == []
    assert said(world, 0.05, told=33, landed=0, unsent=67) == []


@pytest.mark.parametrize(
    ("seconds", "told", "landed", "expected"),
    [
        (1.0, 20, 20, {"done": 20, "rate": 20.0, "eta": 4.0, "stragglers": 0}),
        (4.0, 33, 0, {"done": 33, "rate": 8.2, "eta": 8.1, "stragglers": 33}),
        # Less than one a second; some came that this run has not told.
        (8.0, 4, 6, {"done": 4, "rate": 0.5, "eta": 192.0, "stragglers": 0}),
    ],
)
def test_pace_and_the_time_that_is_left_follow_from_what_was_told(
    world: World, seconds: float, told: int, landed: int, expected: dict[str, Any]
) -> None:
    assert said(world, seconds, told, landed, 100 - told) == [expected]


def test_progress_of_the_landing(world: World) -> None:
    world.travel = lambda name: 5.0 if name < "c0005" else None
    world.limits = Limits(100.0, 1000, 20.0, 0.0)
    world.clients(*names(15))
    world.run()
    last = progress(world)[-1]
    assert {key: last[key] for key in last if key != "rate"} == {
        "phase": "landing", "done": 5, "total": 15, "landed": 5, "in_flight": 10, "eta": None, "stragglers": 10
    }  # fmt: skip


def test_the_rate_is_smoothed(world: World) -> None:
    world.travel = lambda _: None
    world.limits = Limits(100.0, 16, 4.5, 0.0)
    world.clients(*names(16))
    world.run()
    rates = [step["rate"] for step in progress(world)]
    # Sixteen in the first second, none after that.
    assert rates == pytest.approx([16.0, 11.2, 7.84, 5.49], rel=0.06)


def test_no_time_is_foretold_before_anybody_was_told(world: World) -> None:
    world.tells = {"a": [THROTTLED] * 3}
    world.clients("a")
    world.run()
    first = progress(world)[0]
    assert (first["phase"], first["eta"], first["rate"]) == ("sweep", None, 0.0)


# What is under way when it ends.


def ended(world: World, **answers: Any) -> None:
    """End a run by its guard while the requests for these clients are under way."""
    world.guard = Watching(world, problem_at=1)
    world.move_seconds = 100.0
    world.tells = {name: [answer] for name, answer in answers.items()}
    world.clients(*answers)
    with pytest.raises(SwitchError, match="somebody moves"):
        world.run()


def test_whoever_was_told_in_the_end_is_known_and_whoever_may_have_been_as_well(world: World) -> None:
    ended(world, told=True, gone=False, failed=FAILED, throttled=THROTTLED, unsent=None)
    rows = {name: world.row(name) for name in ("told", "gone", "failed", "throttled", "unsent")}
    assert {name: row["state"] for name, row in rows.items()} == {
        "told": "told", "gone": "told", "failed": "waiting", "throttled": "waiting", "unsent": "waiting"
    }  # fmt: skip
    assert {name: (row["kicks"], row["attempts"]) for name, row in rows.items()} == {
        "told": (1, 0), "gone": (1, 0), "failed": (0, 1), "throttled": (0, 0), "unsent": (0, 0)
    }  # fmt: skip


def test_a_refusal_that_comes_in_the_end_does_not_hide_what_ended_it(world: World) -> None:
    ended(world, denied=DENIED, refused=REFUSED)
    assert {world.row(name)["state"] for name in ("denied", "refused")} == {"waiting"}


def test_requests_that_a_wave_did_not_wait_for_take_no_room_in_the_next(world: World) -> None:
    world.limits = Limits(100.0, 1, 20.0, 0.0)
    world.move_seconds = 100.0
    world.clients("a", "b", "c")
    world.evacuate().run([1])
    world.move_seconds, world.flying = 0.1, 0
    world.sweep.run([2], 2)
    assert world.roster.counts()["landed"] == 3
    assert world.flying == 1


def test_looks_that_were_under_way_are_begun_anew_by_the_next_run(world: World) -> None:
    world.guard = Watching(world, problem_at=1)
    world.look_seconds = 100.0
    world.clients("a")
    with pytest.raises(SwitchError):
        world.run()
    assert world.row("a")["state"] == "told"

    world.guard, world.look_seconds = Guard(), 0.2
    world.sweep._guard = world.guard
    world.sweep.watch()
    assert world.row("a")["state"] == "landed"
    assert world.most["look"] == 1
