"""Waves: any option is a list of ascending percents or refused; any fleet is divided without remainder."""

from __future__ import annotations

import pytest
from ansible.module_utils.region_switch.model.errors import RefusedError
from ansible.module_utils.region_switch.model.waves import once_more, parse, sizes
from hypothesis import given
from hypothesis import strategies as st

from .anything import ANYTHING, refused_at_most

PERCENTS = st.lists(st.floats(0, 100, exclude_min=True), max_size=5, unique=True).map(sorted).map(tuple)


@pytest.mark.parametrize(
    ("values", "percents"),
    [
        ([], (100,)),
        ([1, 10, 100], (1, 10, 100)),
        (["1", "10%", " 2.5e1 % ", 50.5], (1, 10, 25, 50.5, 100)),
    ],
)
def test_percents_are_numbers_or_text(values: list[object], percents: tuple[float, ...]) -> None:
    assert parse(values) == percents


@pytest.mark.parametrize(
    ("values", "named"),
    [([0], "0"), ([101], "101"), ([-1], "-1"), ([True], "true"), (["ten"], "'ten'"), ([None], "nothing"),
     ([float("nan")], "nan"), ([50, 10], "10"), ([10, "10%"], "'10%'"), ([1, 50, 10], "10"),
     ([[1]], "[1]"), (["1%%"], "'1%%'")],
)  # fmt: skip
def test_other_values_are_refused_by_name(values: list[object], named: str) -> None:
    with pytest.raises(RefusedError) as refused:
        parse(values)

    assert str(refused.value).startswith(f"waves: found {named}, expected ")


@given(st.lists(ANYTHING, max_size=4))
def test_any_values_are_ascending_percents_or_refused(values: list[object]) -> None:
    with refused_at_most():
        percents = parse(values)

        assert percents[-1] == 100
        assert list(percents) == sorted(set(percents))
        assert percents[0] > 0


@given(PERCENTS)
def test_what_was_parsed_is_parsed_to_itself(percents: tuple[float, ...]) -> None:
    assert parse(parse(percents)) == parse(percents)


@given(st.integers(0, 2_000_000), PERCENTS)
def test_waves_hold_the_whole_fleet_and_none_is_empty(total: int, percents: tuple[float, ...]) -> None:
    waves = sizes(total, percents)

    assert sum(waves) == total
    assert all(size > 0 for size in waves)
    assert len(waves) <= len(percents) + 1


@given(st.integers(1, 2_000_000), PERCENTS)
def test_no_wave_goes_further_than_its_share_and_one_client(total: int, percents: tuple[float, ...]) -> None:
    ends = [min(total, total * percent / 100) for percent in (*percents, 100)]
    done = 0
    for size in sizes(total, percents):
        done += size
        assert any(0 <= done - end <= 1 for end in ends)


@pytest.mark.parametrize(
    ("total", "percents", "waves"),
    [
        (0, (1, 100), []),
        (1, (1, 10, 100), [1]),
        (5, (1, 10, 100), [1, 4]),
        (1000, (1, 10, 100), [10, 90, 900]),
        (1000, (7, 100), [70, 930]),
    ],
)
def test_sizes(total: int, percents: tuple[float, ...], waves: list[int]) -> None:
    assert sizes(total, percents) == waves


@pytest.mark.parametrize(
    ("size", "rest", "found"),
    [(5, [2, 9], [5, 6]), (5, [2, 3, 9], [5, 9]), (5, [9], [5, 4]), (5, [2], [2]), (5, [], [])],
)
def test_the_clients_of_another_canary_are_taken_from_the_waves_behind_it(
    size: int, rest: list[int], found: list[int]
) -> None:
    assert once_more(size, rest) == found


@given(st.integers(1, 50), st.lists(st.integers(1, 50), max_size=5))
def test_a_wave_that_proved_nothing_is_followed_by_one_of_its_size_and_nobody_is_left_out(
    size: int, rest: list[int]
) -> None:
    found = once_more(size, rest)

    assert sum(found) == sum(rest)
    assert all(each > 0 for each in found)
    assert not rest or found[0] == min(size, sum(rest))
