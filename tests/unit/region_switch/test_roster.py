"""The clients of a run on disk."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible.module_utils.region_switch.fleet import Client
from ansible.module_utils.region_switch.folder import UntrustedError
from ansible.module_utils.region_switch.roster import ANY_WAVE, Roster, verdict

OLD, NEW = "us-east-1", "ap-northeast-1"
ENDPOINT = "mqtt1.example.com"
DESIRED = {ENDPOINT: NEW}


def client(client_id: str, region: str = OLD, since: float = 100.0) -> Client:
    return Client(client_id, ENDPOINT, region, since)


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
    (passenger,) = roster.take_waiting(1, 0, 10)
    roster.update(passenger, "waiting", due=50.0)
    assert roster.take_waiting(1, 49.0, 10) == []
    assert [each.client_id for each in roster.take_waiting(1, 50.0, 10)] == ["a"]


def test_an_index_that_lags_does_not_send_a_landed_client_away_again(roster: Roster) -> None:
    roster.add([client("a")], DESIRED)
    roster.assign(1, 1)
    (passenger,) = roster.take_waiting(1, 0, 10)
    roster.update(passenger, "landed", landed_at=200.0)
    assert roster.add([client("a", OLD, since=100.0)], DESIRED) == 0
    assert roster.waiting() == 0


def test_a_landed_client_that_came_back_since_has_to_leave_again(roster: Roster) -> None:
    roster.add([client("a")], DESIRED)
    roster.assign(1, 1)
    (passenger,) = roster.take_waiting(1, 0, 10)
    roster.update(passenger, "landed", landed_at=200.0)
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


def test_digest_is_of_the_set_and_not_of_the_order(tmp_path: Path) -> None:
    def digest(name: str, clients: list[Client]) -> str:
        with Roster(tmp_path / name) as roster:
            roster.add(clients, DESIRED)
            return roster.client_digest()

    one = digest("1", [client("a"), client("b")])
    assert digest("2", [client("b"), client("a")]) == one
    assert digest("3", [client("b"), client("c")]) != one


def test_digest_is_of_where_they_go_as_well(tmp_path: Path) -> None:
    def digest(name: str, desired: dict[str, str]) -> str:
        with Roster(tmp_path / name) as roster:
            clients = [Client(endpoint[:5], endpoint, OLD, 1.0) for endpoint in desired]
            roster.add(clients, desired)
            return roster.client_digest()

    one, other = "mqtt1.example.com", "mqtt2.example.com"
    assert digest("1", {one: NEW, other: "eu-west-1"}) != digest("2", {one: "eu-west-1", other: NEW})


def test_a_connection_that_is_the_one_it_had_is_no_return(roster: Roster) -> None:
    """A region's own times decide: the target's clock, by which it landed, may be slow."""
    roster.add([client("a", since=100.0)], DESIRED)
    roster.assign(1, 1)
    (passenger,) = roster.take_waiting(1, 0, 10)
    roster.update(passenger, "landed", landed_at=50.0)
    assert roster.add([client("a", since=100.4)], DESIRED) == 0
    assert roster.add([client("a", since=101.0)], DESIRED) == 1


def test_clients_that_the_plan_did_not_know_are_counted_by_target(roster: Roster) -> None:
    roster.add([client("a"), client("b"), client("c", NEW)], DESIRED)
    roster.add([client("a"), client("d"), client("e", NEW)], DESIRED, late=True)
    assert (roster.late(), roster.planned()) == ({NEW: 1}, {NEW: 2})
    # The plan of the run that goes on knows them.
    roster.resume()
    assert (roster.late(), roster.planned()) == ({}, {NEW: 3})


def test_a_roster_of_another_shape_is_not_gone_on_from(tmp_path: Path) -> None:
    with Roster(tmp_path / "old.sqlite") as old:
        old.add([client("a")], DESIRED)
        old._db.execute("PRAGMA user_version = 1")

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


def test_table_of_clients(roster: Roster, tmp_path: Path) -> None:
    odd = 'a/b "c", d\u00e9\n#+'
    roster.add([client(odd), client("placed", NEW), client("=HYPERLINK(1)", NEW)], DESIRED)
    roster.assign(1, 1)
    (passenger,) = roster.take_waiting(1, 0, 10)
    roster.update(passenger, "landed", kicked_at=10.0, landed_at=10.25, kicks=1, in_target=1, in_source=0)
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
        (None, None, 0, "unproven"),
    ],
)
def test_verdict(in_target: int | None, in_source: int | None, bounces: int, word: str) -> None:
    assert verdict("told", in_target, in_source, bounces) == word


def test_asking_who_is_next_does_not_read_those_of_later_waves(roster: Roster) -> None:
    roster.add([client(f"client {number}") for number in range(5000)], DESIRED)
    roster.assign(1, 10)
    assert len(roster.take_waiting(1, 1.0, 10)) == 10
    hundreds: list[int] = []
    roster._db.set_progress_handler(lambda: hundreds.append(1), 100)

    assert roster.take_waiting(1, 1.0, 10) == []

    # Hundreds of SQLite's instructions; to read a row takes several.
    assert len(hundreds) < 10
