"""The clients of a run on disk."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.region_switch.fleet import roster as engine
from ansible.module_utils.region_switch.fleet.roster import ANY_WAVE, NO_WAVE, STATES, VERDICT, Roster, TrackedClient
from ansible.module_utils.region_switch.fleet.source import Connection
from ansible.module_utils.region_switch.record.folder import UntrustedError

from .fakes import Clock

OLD, NEW = "us-east-1", "ap-northeast-1"
ENDPOINT = "mqtt1.example.com"
DESIRED = {ENDPOINT: NEW}


def client(client_id: str, region: str = OLD, since: float = 100.0) -> Connection:
    return Connection(client_id, ENDPOINT, region, since)


@pytest.fixture
def roster(tmp_path: Path) -> Iterator[Roster]:
    with Roster(tmp_path / "clients.sqlite") as opened:
        yield opened


def test_clients_in_their_region_are_counted_and_left_alone(roster: Roster) -> None:
    assert roster.add([client("a"), client("b", NEW)], DESIRED) == 1
    assert roster.counts()["total"] == 2
    assert roster.counts()["misplaced"] == 1
    assert [each.client_id for each in roster.misplaced(10)] == ["a"]
    assert roster.per_route() == {(OLD, NEW): 1}


def test_a_client_found_twice_is_one(roster: Roster) -> None:
    roster.add([client("a"), client("a")], DESIRED)
    assert roster.counts()["total"] == 1


def test_a_client_connected_in_both_regions_is_one_and_has_to_leave_one(roster: Roster) -> None:
    roster.add([client("a"), client("a", NEW)], DESIRED)
    counts = roster.counts()
    assert (counts["total"], counts["misplaced"], counts["landed"], counts["stragglers"]) == (1, 1, 0, 1)


def test_waves_take_clients_once_and_in_an_order_that_has_nothing_to_do_with_names(roster: Roster) -> None:
    names = [f"client-{number:03}" for number in range(100)]
    roster.add([client(name) for name in names], DESIRED)
    roster.assign(1, 10)
    first = roster.take_waiting(1, 0, 1000)
    assert len(first) == 10
    assert sorted(each.client_id for each in first) != names[:10]
    assert roster.take_waiting(1, 0, 1000) == []
    roster.assign(2, 90)
    rest = roster.take_waiting(2, 0, 1000)
    assert {each.client_id for each in (*first, *rest)} == set(names)


def test_what_is_due_later_is_not_taken_now(roster: Roster) -> None:
    roster.add([client("a")], DESIRED)
    roster.assign(1, 1)
    (tracked,) = roster.take_waiting(1, 0, 10)
    roster.update(tracked, "waiting", due=50.0)
    assert roster.take_waiting(1, 49.0, 10) == []
    assert [each.client_id for each in roster.take_waiting(1, 50.0, 10)] == ["a"]


def test_an_index_that_lags_does_not_send_a_landed_client_away_again(roster: Roster) -> None:
    roster.add([client("a")], DESIRED)
    roster.assign(1, 1)
    (tracked,) = roster.take_waiting(1, 0, 10)
    roster.update(tracked, "landed", landed_at=200.0)
    assert roster.add([client("a", OLD, since=100.0)], DESIRED) == 0
    assert roster.waiting() == 0


def test_a_landed_client_that_came_back_since_has_to_leave_again(roster: Roster) -> None:
    roster.add([client("a")], DESIRED)
    roster.assign(1, 1)
    (tracked,) = roster.take_waiting(1, 0, 10)
    roster.update(tracked, "landed", landed_at=200.0)
    assert roster.add([client("a", OLD, since=300.0)], DESIRED) == 1
    assert roster.late() == {}
    assert roster.waiting() == 1
    assert roster.counts()["bounced"] == 1


def test_what_was_being_sent_when_a_run_was_killed_is_sent_again(tmp_path: Path) -> None:
    path = tmp_path / "clients.sqlite"
    with Roster(path) as killed:
        killed.add([client("a"), client("b"), client("c")], DESIRED)
        killed.assign(1, 3)
        a, b, _ = killed.take_waiting(1, 0, 10)
        killed.update(a, "landed", landed_at=5.0)
        killed.update(b, "told", kicks=1, kicked_at=4.0, due=9e9)
    with Roster(path) as resumed:
        resumed.resume()
        assert resumed.waiting() == 1
        assert [each.client_id for each in resumed.take_told(0, 10)] == [b.client_id]
        assert resumed.counts()["landed"] == 1


THIRD = "eu-west-1"
OTHER = "mqtt2.example.com"
# What the killed run had of a client: how it took it in, and what became of it.
LEFT: dict[str, dict[str, Any]] = {
    "waiting": {"state": "waiting", "wave": NO_WAVE},
    "assigned": {"state": "waiting"},
    "failed": {"state": "waiting", "attempts": 1},
    "told": {"state": "told", "kicks": 1, "due": 9e9},
    "landed": {"state": "landed", "kicks": 1, "landed_at": 150.0},
}


@pytest.fixture
def resumed(tmp_path: Path) -> Iterator[Callable[[str], Roster]]:
    """Makes the roster of a run that was killed with client `a` in the old region, and is gone on from."""
    with Roster(tmp_path / "resumed.sqlite") as roster:

        def make(step: str) -> Roster:
            roster.add([client("a")], DESIRED)
            roster.assign(1, 1)
            (tracked,) = roster.take_waiting(1, 0, 1)
            roster.update(tracked, **LEFT[step])
            roster.resume()
            return roster

        yield make


def rows(roster: Roster) -> list[tuple[object, ...]]:
    return roster._db.execute("SELECT client_id, region, target, state FROM client ORDER BY 1, 2").fetchall()


@pytest.mark.parametrize("step", ["waiting", "failed", "told"])
@pytest.mark.parametrize(
    ("region", "target", "expected"),
    [
        (OLD, OLD, [("a", OLD, OLD, "placed")]),
        (OLD, THIRD, [("a", OLD, THIRD, "waiting")]),
        (NEW, OLD, [("a", NEW, OLD, "waiting")]),
        (NEW, NEW, [("a", NEW, NEW, "placed")]),
    ],
)
def test_a_client_whose_endpoint_changed_since_a_run_was_killed_has_the_way_of_the_new_one(
    resumed: Callable[[str], Roster], step: str, region: str, target: str, expected: list[object]
) -> None:
    roster = resumed(step)
    roster.add([Connection("a", OTHER, region, 300.0)], {**DESIRED, OTHER: target})
    assert rows(roster) == expected


@pytest.mark.parametrize("step", ["waiting", "failed", "told"])
def test_a_client_whose_endpoint_is_none_of_ours_any_more_is_left_alone(
    resumed: Callable[[str], Roster], step: str
) -> None:
    roster = resumed(step)
    assert roster.add([Connection("a", "", OLD, 300.0)], DESIRED) == 0
    assert rows(roster) == []


def test_clients_of_other_endpoints_hide_none_of_ours(roster: Roster) -> None:
    assert roster.add([Connection("a", "", OLD, 100.0), client("b")], DESIRED) == 1


def test_who_came_back_with_another_endpoint_goes_where_that_one_leads(resumed: Callable[[str], Roster]) -> None:
    roster = resumed("landed")
    roster.add([Connection("a", OTHER, OLD, 300.0)], {**DESIRED, OTHER: THIRD})
    assert rows(roster) == [("a", OLD, THIRD, "waiting")]
    assert roster.counts()["bounced"] == 1


def test_who_has_landed_is_no_other_s_because_its_endpoint_changed_since(resumed: Callable[[str], Roster]) -> None:
    roster = resumed("landed")
    roster.add([Connection("a", OTHER, NEW, 300.0)], {**DESIRED, OTHER: NEW})
    assert rows(roster) == [("a", NEW, NEW, "placed"), ("a", OLD, NEW, "landed")]


@pytest.mark.parametrize(("step", "kept"), [("waiting", 0), ("assigned", 1), ("failed", 1), ("told", 1), ("landed", 1)])
def test_whom_only_the_killed_run_has_seen_is_known_where_it_was_told_to_leave(
    resumed: Callable[[str], Roster], step: str, kept: int
) -> None:
    roster = resumed(step)
    roster.add([client("b")], DESIRED)
    roster.forget_unseen([OLD, NEW])
    assert not roster._db.in_transaction
    assert roster._count("client_id = 'a'") == kept
    assert roster._count("client_id = 'b'") == 1


def test_whom_a_run_has_seen_again_or_cannot_ask_for_is_not_forgotten(resumed: Callable[[str], Roster]) -> None:
    roster = resumed("waiting")
    roster.forget_unseen([NEW])
    roster.add([client("a")], DESIRED)
    roster.forget_unseen([OLD, NEW])
    assert rows(roster) == [("a", OLD, NEW, "waiting")]


def test_a_request_that_was_under_way_when_a_run_was_killed_may_have_been_carried_out(roster: Roster) -> None:
    roster.add([client("a")], DESIRED)
    roster.assign(1, 1)
    roster.take_waiting(1, 0, 1)
    roster.resume()
    roster.forget_unseen([OLD, NEW])
    assert [(tracked.client_id, landed) for tracked, landed in roster.reverse()] == [("a", False)]


def test_a_client_whose_endpoint_changes_after_the_plan_is_one_that_the_plan_did_not_know(roster: Roster) -> None:
    desired = {**DESIRED, OTHER: OLD}
    roster.add([Connection("a", OTHER, OLD, 100.0), client("b")], desired)
    roster.add([client("a"), client("b")], desired, late=True)
    assert (roster.late(), roster.planned()) == ({NEW: 1}, {NEW: 1})


def test_digest_is_of_the_set_and_not_of_the_order(tmp_path: Path) -> None:
    def digest(name: str, clients: list[Connection]) -> str:
        with Roster(tmp_path / name) as roster:
            roster.add(clients, DESIRED)
            return roster.client_digest()

    one = digest("1", [client("a"), client("b")])
    assert digest("2", [client("b"), client("a")]) == one
    assert digest("3", [client("b"), client("c")]) != one


def test_digest_is_of_where_they_go_as_well(tmp_path: Path) -> None:
    def digest(name: str, desired: dict[str, str]) -> str:
        with Roster(tmp_path / name) as roster:
            clients = [Connection(endpoint[:5], endpoint, OLD, 1.0) for endpoint in desired]
            roster.add(clients, desired)
            return roster.client_digest()

    one, other = "mqtt1.example.com", "mqtt2.example.com"
    assert digest("1", {one: NEW, other: "eu-west-1"}) != digest("2", {one: "eu-west-1", other: NEW})


def test_a_connection_that_is_the_one_it_had_is_no_return(roster: Roster) -> None:
    """A region's own times decide: the target's clock, by which it landed, may be slow."""
    roster.add([client("a", since=100.0)], DESIRED)
    roster.assign(1, 1)
    (tracked,) = roster.take_waiting(1, 0, 10)
    roster.update(tracked, "landed", landed_at=50.0)
    assert roster.add([client("a", since=100.4)], DESIRED) == 0
    assert roster.add([client("a", since=101.0)], DESIRED) == 1


def test_clients_that_the_plan_did_not_know_are_counted_by_target(roster: Roster) -> None:
    roster.add([client("a"), client("b"), client("c", NEW)], DESIRED)
    roster.add([client("a"), client("d"), client("e", NEW)], DESIRED, late=True)
    assert (roster.late(), roster.planned()) == ({NEW: 1}, {NEW: 2})
    # The plan of the run that goes on knows them.
    roster.resume()
    assert (roster.late(), roster.planned()) == ({}, {NEW: 3})


@pytest.mark.parametrize("shape", [1, 2])
def test_a_roster_of_another_shape_is_not_gone_on_from(tmp_path: Path, shape: int) -> None:
    with Roster(tmp_path / "old.sqlite") as old:
        old.add([client("a")], DESIRED)
        old._db.execute(f"PRAGMA user_version = {shape}")

    with pytest.raises(UntrustedError, match="found 'the clients of another release', expected the clients of a run"):
        Roster.copy(tmp_path / "old.sqlite", tmp_path / "new.sqlite")
    Roster.copy(tmp_path / "none.sqlite", tmp_path / "new.sqlite")
    assert not (tmp_path / "new.sqlite").exists()


def test_a_roster_is_copied_with_its_clients(tmp_path: Path) -> None:
    with Roster(tmp_path / "old.sqlite") as old:
        old.add([client("a")], DESIRED)
    Roster.copy(tmp_path / "old.sqlite", tmp_path / "new.sqlite")
    with Roster(tmp_path / "new.sqlite") as new:
        assert new.waiting() == 1


def test_who_was_told_before_an_interruption_is_of_no_wave_and_due_at_once(roster: Roster) -> None:
    roster.add([client("a"), client("b")], DESIRED)
    roster.assign(1, 2)
    a, b = sorted(roster.take_waiting(1, 0, 10), key=lambda each: each.client_id)
    roster.update(a, "told", due=9e9, told_at=8e9, kicks=1)
    roster.update(b, "waiting", due=9e9)
    roster.resume()
    assert [(each.client_id, each.wave, each.told_at) for each in roster.take_told(0.0, 10)] == [("a", ANY_WAVE, 0.0)]
    roster.assign(1, 1)
    assert [each.client_id for each in roster.take_waiting(1, 0.0, 10)] == ["b"]


@pytest.mark.parametrize(
    ("kicked_at", "landed_at", "moments"),
    [
        (10.0, 10.5, ("10.000", "10.500", "0.500")),
        # The clocks of AWS and of this machine differ.
        (10.0, 9.0, ("10.000", "9.000", "0.000")),
        (0.0, 9.0, ("", "9.000", "")),
        (10.0, 0.0, ("10.000", "", "")),
        (0.0, 0.0, ("", "", "")),
    ],
)
def test_moments_that_nobody_knows_are_left_out_of_the_table(
    roster: Roster, tmp_path: Path, kicked_at: float, landed_at: float, moments: tuple[str, ...]
) -> None:
    roster.add([client("a")], DESIRED)
    roster.update(TrackedClient("a", OLD, ENDPOINT, NEW, 100.0), "told", kicked_at=kicked_at, landed_at=landed_at)
    roster.write_csv(tmp_path / "clients.csv")
    with (tmp_path / "clients.csv").open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["disconnected_at"], row["landed_at"], row["seconds"]) == moments


def test_table_of_clients(roster: Roster, tmp_path: Path) -> None:
    odd = 'a/b "c", d\u00e9\n#+'
    roster.add([client(odd), client("placed", NEW), client("=HYPERLINK(1)", NEW)], DESIRED)
    roster.assign(1, 1)
    (tracked,) = roster.take_waiting(1, 0, 10)
    roster.update(tracked, "landed", kicked_at=10.0, landed_at=10.25, kicks=1, in_target=1, in_source=0)
    roster.write_csv(tmp_path / "clients.csv")
    with (tmp_path / "clients.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["client_id"]: row for row in csv.DictReader(stream)}
    assert (rows[odd]["state"], rows[odd]["seconds"], rows[odd]["from"], rows[odd]["to"]) == (
        *("landed", "0.250"),
        *(OLD, NEW),
    )
    assert rows["placed"]["state"] == "placed"
    assert "'=HYPERLINK(1)" in rows


@pytest.mark.parametrize(
    ("in_target", "in_source", "bounces", "word"),
    [
        (1, 1, 0, "both"),
        (0, 1, 0, "straggler"),
        (0, 1, 2, "bounced"),
        (0, 0, 0, "dark"),
        (1, 0, 0, "landed"),
        (None, None, 0, "unproven"),
        (None, 0, 0, "unproven"),
        (None, 1, 0, "unproven"),
        (0, None, 0, "unproven"),
        (1, None, 0, "unproven"),
    ],
)
def test_verdict(roster: Roster, in_target: int | None, in_source: int | None, bounces: int, word: str) -> None:
    seen = {"in_target": in_target, "in_source": in_source, "bounces": bounces}
    assert verdict(roster, "told", OLD, {}, kicks=1, **seen) == word


def verdicts(roster: Roster) -> dict[str, str]:
    return dict(roster._db.execute(f"SELECT client_id, {VERDICT} FROM client"))  # noqa: S608 - of the module


def verdict(roster: Roster, state: str, region: str, records: dict[str, str], **columns: Any) -> str:
    """What becomes of a client found in a region, which belongs to NEW by the mode."""
    roster.add([client("a", region)], DESIRED)
    roster.update(TrackedClient("a", region, ENDPOINT, NEW, 100.0), state, **columns)  # type: ignore[arg-type]
    roster.records_are(records)
    [word] = verdicts(roster).values()
    counts = roster.counts()
    assert counts["landed"] == (word in ("placed", "landed", "returned")) == (not counts["stragglers"])
    assert roster.stragglers(5) == ([] if counts["landed"] else ["a"])
    assert word in STATES
    return word


@pytest.mark.parametrize(
    ("state", "region", "columns", "moved", "as_before"),
    [
        ("placed", NEW, {}, "placed", "straggler"),
        ("waiting", OLD, {}, "untold", "placed"),
        ("waiting", OLD, {"attempts": 1}, "unproven", "unproven"),
        ("sending", OLD, {}, "unproven", "unproven"),
        ("landed", OLD, {"kicks": 1, "in_target": 1, "in_source": 0}, "landed", "straggler"),
        ("told", OLD, {"kicks": 1, "in_target": 0, "in_source": 1}, "straggler", "returned"),
        ("told", OLD, {"kicks": 1, "in_target": 0, "in_source": 1, "bounces": 1}, "bounced", "returned"),
        ("told", OLD, {"kicks": 1, "in_target": 0, "in_source": 0}, "dark", "dark"),
        ("told", OLD, {"kicks": 1, "in_target": 1, "in_source": 1}, "both", "both"),
        ("told", OLD, {"kicks": 1}, "unproven", "unproven"),
        ("placed", OLD, {"kicks": 1, "note": "returned"}, "returned", "returned"),
    ],
)
def test_clients_are_counted_against_the_records_as_they_are_in_the_end(
    roster: Roster, state: str, region: str, columns: dict[str, Any], moved: str, as_before: str
) -> None:
    assert verdict(roster, state, region, {ENDPOINT: NEW}, **columns) == moved
    assert verdict(roster, state, region, {ENDPOINT: OLD}, **columns) == as_before
    # Nobody is where a record points that is none of ours.
    assert roster.counts()["misplaced"] == (region == OLD)
    if not columns:
        assert verdict(roster, state, region, {ENDPOINT: ""}) in ("straggler", "untold", "unproven")


def test_one_that_landed_and_was_found_again_in_the_region_it_left_has_gone_back(roster: Roster) -> None:
    assert verdict(roster, "landed", OLD, {}, kicks=1, in_target=1, in_source=0, landed_at=200.0) == "landed"
    roster.add([client("a", OLD, 300.0)], DESIRED, late=True)
    [word] = verdicts(roster).values()
    assert word == "bounced"


def test_who_did_not_come_back_is_where_the_way_back_saw_it_last(roster: Roster, tmp_path: Path) -> None:
    roster.add([client("stays"), client("lost"), client("unseen"), client("back")], DESIRED)
    for name in ("stays", "lost", "unseen", "back"):
        roster.update(TrackedClient(name, OLD, ENDPOINT, NEW, 100.0), "landed", kicks=1, in_target=1, in_source=0)
    roster.add([client("back", NEW)], DESIRED, late=True)
    with Roster(tmp_path / "restored.sqlite") as back:
        for tracked, landed in roster.reverse():
            back.add_returning(tracked, OLD, landed)
        for name, seen in (("stays", (0, 1)), ("lost", (0, 0)), ("unseen", (None, None))):
            there = TrackedClient(name, NEW, ENDPOINT, OLD, 0.0)
            back.update(there, "told", kicks=1, in_target=seen[0], in_source=seen[1])
        back.update(TrackedClient("back", NEW, ENDPOINT, OLD, 0.0), "landed", in_target=1, in_source=0)
        for tracked in back.landed():
            roster.returned(tracked)
        for tracked, in_home, in_left in back.away():
            roster.still_away(tracked, in_home, in_left)
    roster.records_are({ENDPOINT: OLD})
    assert verdicts(roster) == {"stays": "straggler", "lost": "dark", "unseen": "unproven", "back": "returned"}
    assert {key: roster.counts()[key] for key in ("total", "misplaced", "landed", "dark")} == {
        "total": 4, "misplaced": 4, "landed": 1, "dark": 1
    }  # fmt: skip
    assert sorted(roster.moved()) == [
        ("back", OLD, OLD), ("lost", OLD, NEW), ("stays", OLD, NEW), ("unseen", OLD, NEW)
    ]  # fmt: skip


def test_nothing_was_done_yet_about_a_client_that_was_only_found() -> None:
    found = TrackedClient("a", OLD, ENDPOINT, NEW, 100.0)
    assert found == TrackedClient("a", OLD, ENDPOINT, NEW, 100.0, 0, 0, 0, 0, 0.0, 0.0, 0, 0)
    assert found.key == ("a", OLD)


def states(roster: Roster) -> dict[str, tuple[Any, ...]]:
    """`{client ID: (state, wave, due, attempts)}`."""
    rows = roster._db.execute("SELECT client_id, state, wave, due, attempts FROM client")
    return {name: tuple(rest) for name, *rest in rows}


def under_way(roster: Roster) -> dict[str, TrackedClient]:
    """One client of each state, in wave 1 but for the one that waits without a wave, and all on disk."""
    names = {"sending": "a", "told": "b", "looking": "c", "landed": "d"}
    roster.add([client(name) for name in names.values()], DESIRED)
    roster.assign(1, 4)
    taken = {each.client_id: each for each in roster.take_waiting(1, 0, 4)}
    for state, name in names.items():
        roster.update(taken[name], state, kicks=int(state != "sending"), due=5.0)  # type: ignore[arg-type]
    roster.add([client("e"), client("f", NEW)], DESIRED)
    roster.commit()
    return taken


def test_who_was_told_and_has_not_landed_is_gathered_out_of_the_waves(roster: Roster) -> None:
    under_way(roster)
    roster.settle()
    assert roster.gather_late() == 3
    assert {name: row[:2] for name, row in states(roster).items()} == {
        "a": ("waiting", 0), "b": ("told", 0), "c": ("told", 0), "d": ("landed", 1), "e": ("waiting", NO_WAVE),
        "f": ("placed", NO_WAVE),
    }  # fmt: skip
    # The waves begin at 1.
    assert roster.not_landed(1) == (0, 0)


def test_those_who_can_only_be_looked_for_are_taken_in_once_and_not_where_they_belong(roster: Roster) -> None:
    roster.add([client("a"), client("b", NEW)], DESIRED)
    assert roster.expect([client("a"), client("b"), client("c"), client("d")], DESIRED) == 2
    assert roster.expect([client("d"), client("e")], DESIRED) == 1
    assert [each.client_id for each in roster.take_told(0.0, 10)] == ["c", "d", "e"]


def test_who_is_sent_back_is_who_was_told_or_may_have_been(roster: Roster) -> None:
    taken = under_way(roster)
    roster.update(taken["a"], "waiting", attempts=1)
    assert {each.client_id: landed for each, landed in roster.reverse()} == {
        "a": False, "b": False, "c": False, "d": True
    }  # fmt: skip


def test_one_that_comes_back_is_told_where_it_has_landed_and_looked_for_otherwise(roster: Roster) -> None:
    for name, landed in (("a", True), ("b", False)):
        roster.add_returning(TrackedClient(name, "eu-west-1", ENDPOINT, NEW, 100.0), OLD, landed)
    assert {name: row[0] for name, row in states(roster).items()} == {"a": "waiting", "b": "told"}
    roster.assign(1, 1)
    (back,) = roster.take_waiting(1, 0.0, 10)
    assert (back.region, back.target, back.connected_since) == (NEW, OLD, 0.0)


def test_where_nobody_can_be_told_those_who_wait_are_looked_for(roster: Roster) -> None:
    under_way(roster)
    roster.tell_nobody()
    assert (states(roster)["e"], states(roster)["a"][0]) == (("told", NO_WAVE, 0.0, 1), "sending")


def test_those_who_wait_in_a_region_where_nobody_can_be_told_are_looked_for(roster: Roster) -> None:
    under_way(roster)
    roster.add([client("g", "eu-west-1")], DESIRED)
    before = states(roster)
    roster.only_look_for(["eu-central-1", OLD])
    assert states(roster) == {**before, "e": ("told", ANY_WAVE, 0.0, 0)}
    assert [each.client_id for each in roster.take_told(0.0, 10)] == ["e"]


def test_clients_of_a_list_that_nobody_has_found_are_counted_and_the_first_named(roster: Roster) -> None:
    roster.add([client("a"), client("b", NEW)], DESIRED)
    assert roster.not_found(["d", "a", "c", "d", "b", "e"], 2) == (5, 3, ["c", "d"])
    # Each list for itself.
    assert roster.not_found(["b", "f"], 2) == (2, 1, ["f"])
    assert roster.not_found([], 2) == (0, 0, [])


def test_one_that_came_back_is_placed_again(roster: Roster) -> None:
    taken = under_way(roster)
    roster.returned(TrackedClient("b", NEW, ENDPOINT, OLD, 0.0))
    assert states(roster)["b"][0] == "placed"
    assert states(roster)["c"][0] == "looking"
    assert roster._count("note = 'returned'") == 1
    assert [each.client_id for each in roster.landed()] == [taken["d"].client_id]


def seen_by_others(roster: Roster) -> list[Any]:
    """The table as another process has it."""
    path = roster._db.execute("PRAGMA database_list").fetchone()[2]
    with closing(sqlite3.connect(path)) as other:
        return other.execute("SELECT * FROM client ORDER BY client_id, region").fetchall()


Action = Callable[[Roster, dict[str, TrackedClient]], object]
CHANGES: dict[str, Action] = {
    "add": lambda roster, _: roster.add([client("new")], DESIRED),
    "expect": lambda roster, _: roster.expect([client("new")], DESIRED),
    "update": lambda roster, taken: roster.update(taken["b"], "landed"),
    "take": lambda roster, _: roster.take_told(9.0, 1),
    "add_returning": lambda roster, _: roster.add_returning(TrackedClient("new", OLD, ENDPOINT, NEW, 1.0), OLD, True),
    "returned": lambda roster, _: roster.returned(TrackedClient("b", NEW, ENDPOINT, OLD, 0.0)),
    "still_away": lambda roster, _: roster.still_away(TrackedClient("b", NEW, ENDPOINT, OLD, 0.0), 1, None),
}
STEPS: dict[str, Action] = {
    "settle": lambda roster, _: roster.settle(),
    "resume": lambda roster, _: roster.resume(),
    "gather_late": lambda roster, _: roster.gather_late(),
    "tell_nobody": lambda roster, _: roster.tell_nobody(),
    "assign": lambda roster, _: roster.assign(1, 1),
    "only_look_for": lambda roster, _: roster.only_look_for([OLD]),
    "not_found": lambda roster, _: roster.not_found(["a", "new"], 1),
}


def traced(roster: Roster, action: Action) -> list[str]:
    """The statements of an action, but for those that only read."""
    taken, statements = under_way(roster), list[str]()
    roster._db.set_trace_callback(statements.append)
    action(roster, taken)
    roster._db.set_trace_callback(None)
    return [each for each in statements if not each.startswith("SELECT")]


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_gathered_into_one_transaction(roster: Roster, name: str) -> None:
    """Each for itself would wait for the disk."""
    before = seen_by_others(roster)
    statements = traced(roster, CHANGES[name])
    assert (statements[0], "COMMIT" in statements) == ("BEGIN", False)

    roster.commit()
    roster.commit()
    assert seen_by_others(roster) != before


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_on_disk_as_a_whole_when_it_returns(roster: Roster, name: str) -> None:
    statements = traced(roster, STEPS[name])
    assert (statements[0], statements[-1]) == ("BEGIN", "COMMIT")
    assert len(statements) >= 3
    assert seen_by_others(roster) == roster._db.execute("SELECT * FROM client ORDER BY client_id, region").fetchall()


def test_taking_nobody_changes_nothing(roster: Roster) -> None:
    under_way(roster)
    assert roster.take_told(1.0, 10) == []
    assert not roster._db.in_transaction


def test_what_was_noted_is_on_disk_after_a_quarter_of_a_second(roster: Roster, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(engine, "time", SimpleNamespace(monotonic=clock))
    under_way(roster)

    roster.add([client("x")], DESIRED)
    clock.sleep(0.125)
    roster.tick()
    assert len(seen_by_others(roster)) == 6

    clock.sleep(0.125)
    roster.tick()
    assert len(seen_by_others(roster)) == 7

    # From then on another quarter, and finding clients counts as looking up.
    clock.sleep(0.125)
    roster.add([client("y")], DESIRED)
    assert len(seen_by_others(roster)) == 7
    clock.sleep(0.125)
    roster.add([client("z")], DESIRED)
    assert len(seen_by_others(roster)) == 9


def test_others_may_read_while_a_run_writes_and_no_write_waits_for_the_disk(roster: Roster) -> None:
    """What a power cut takes of it is found out again."""
    assert roster._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert roster._db.execute("PRAGMA synchronous").fetchone() == (1,)


def test_a_closed_roster_holds_its_file_no_more(tmp_path: Path) -> None:
    roster = Roster(tmp_path / "clients.sqlite")
    roster.add([client("a")], DESIRED)
    roster.close()
    with pytest.raises(sqlite3.ProgrammingError):
        roster.count()
    with Roster(tmp_path / "clients.sqlite") as again:
        assert again.count() == 1


def test_looking_for_a_roster_makes_none(tmp_path: Path) -> None:
    Roster.copy(tmp_path / "none.sqlite", tmp_path / "new.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_asking_who_is_next_does_not_read_those_of_later_waves(roster: Roster) -> None:
    roster.add([client(f"client {number}") for number in range(5000)], DESIRED)
    roster.assign(1, 10)
    assert len(roster.take_waiting(1, 1.0, 10)) == 10
    hundreds: list[int] = []
    roster._db.set_progress_handler(lambda: hundreds.append(1), 100)

    assert roster.take_waiting(1, 1.0, 10) == []

    # Hundreds of SQLite's instructions; to read a row takes several.
    assert len(hundreds) < 10
