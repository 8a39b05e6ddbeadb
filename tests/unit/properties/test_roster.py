"""The roster: whoever is connected, each client has to go exactly where it does not belong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible.module_utils.region_switch.fleet.roster import Roster
from ansible.module_utils.region_switch.fleet.source import Connection
from ansible.module_utils.region_switch.model.waves import parse, sizes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .anything import ENDPOINTS, REGIONS

DESIRED = {ENDPOINTS[0]: REGIONS[0], ENDPOINTS[1]: REGIONS[1]}
# MQTT takes any UTF-8 for a client ID, so that only halves of characters are none.
IDS = st.one_of(
    st.sampled_from(["a/b", "a b", "a#", "+", "ünï", "x" * 128, "';--", "%2F", "line\nend"]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128),
)
CLIENTS = st.lists(
    st.builds(Connection, IDS, st.sampled_from(ENDPOINTS), st.sampled_from(REGIONS), st.floats(0, 2e9)),
    max_size=12,
    unique_by=lambda client: (client.client_id, client.region),
)
# Each example is a database on disk.
FOLDER = settings(
    max_examples=settings().max_examples // 4, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@contextmanager
def roster_of(folder: Path, *batches: list[Connection]) -> Iterator[Roster]:
    for path in folder.iterdir():
        path.unlink()
    with Roster(folder / "roster.sqlite") as roster:
        for batch in batches:
            roster.add(batch, DESIRED)
        roster.commit()
        yield roster


def misplaced(clients: list[Connection]) -> list[Connection]:
    return [client for client in clients if DESIRED[client.endpoint] != client.region]


def keys(clients: list[Connection]) -> set[tuple[str, str]]:
    return {(client.client_id, client.region) for client in clients}


@FOLDER
@given(CLIENTS)
def test_who_has_to_go_is_who_is_misplaced(tmp_path: Path, clients: list[Connection]) -> None:
    with roster_of(tmp_path, clients) as roster:
        leaving = misplaced(clients)

        assert {tracked.key for tracked in roster.misplaced(100)} == keys(leaving)
        assert roster.waiting() == sum(roster.per_route().values()) == len(leaving)
        assert roster.counts()["total"] == len({client.client_id for client in clients})


@FOLDER
@given(CLIENTS, st.data())
def test_the_order_they_are_found_in_and_finding_them_twice_change_nothing(
    tmp_path: Path, clients: list[Connection], data: st.DataObject
) -> None:
    with roster_of(tmp_path, clients) as roster:
        digest, counts = roster.client_digest(), roster.counts()
    shuffled = data.draw(st.permutations(clients))

    with roster_of(tmp_path, shuffled, clients) as roster:
        assert (roster.client_digest(), roster.counts()) == (digest, counts)


@FOLDER
@given(CLIENTS, st.lists(st.integers(1, 99), max_size=3, unique=True).map(sorted))
def test_every_client_is_told_once_and_in_one_wave(
    tmp_path: Path, clients: list[Connection], percents: list[int]
) -> None:
    with roster_of(tmp_path, clients) as roster:
        waves = sizes(roster.waiting(), parse(percents))
        told: list[tuple[str, str]] = []
        for wave, size in enumerate(waves):
            roster.assign(wave, size)
            taken = roster.take_waiting(wave, 1.0, 100)
            assert len(taken) == size
            told += [tracked.key for tracked in taken]

        assert len(told) == len(set(told))
        assert set(told) == keys(misplaced(clients))
