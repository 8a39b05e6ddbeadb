"""The mode table: any table ends in a correct one or in a one-line refusal."""

from __future__ import annotations

import pytest
from ansible.module_utils.region_switch.model.errors import RefusedError
from ansible.module_utils.region_switch.model.modes import desired, normalise
from hypothesis import given
from hypothesis import strategies as st

ENDPOINTS = ["mqtt1.example.com", "mqtt2.example.com"]
REGIONS = ["us-east-1", "ap-northeast-1"]
TARGETS = st.fixed_dictionaries({endpoint: st.sampled_from(REGIONS) for endpoint in ENDPOINTS})
NAMES = st.one_of(st.integers(0, 99), st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True))
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(NAMES, TARGETS, min_size=1))
def test_good_table_is_kept_with_names_as_strings(table: dict[object, dict[str, str]]) -> None:
    modes = normalise(table, ENDPOINTS, REGIONS)

    assert modes == {str(name): targets for name, targets in table.items()}
    for name, targets in table.items():
        assert desired(modes, name) == desired(modes, str(name)) == (str(name), targets)


@given(ANYTHING)
def test_any_other_table_is_refused_in_one_line(table: object) -> None:
    with pytest.raises(RefusedError) as refused:
        normalise(table, ENDPOINTS, REGIONS)

    assert "failover_modes" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@given(ANYTHING.filter(lambda value: value not in ("3", 3) or isinstance(value, bool)))
def test_any_other_mode_is_refused_in_one_line(mode: object) -> None:
    with pytest.raises(RefusedError) as refused:
        desired({"3": dict.fromkeys(ENDPOINTS, "us-east-1")}, mode)

    assert "expected one of 3" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("targets", "named"),
    [
        ({**dict.fromkeys(ENDPOINTS, "us-east-1"), "mqtt3.example.com": "us-east-1"}, "mqtt3.example.com"),
        ({**dict.fromkeys(ENDPOINTS, "us-east-1"), "mqtt1.example.com": "eu-west-1"}, "eu-west-1"),
        ({"mqtt1.example.com": "us-east-1"}, "mqtt2.example.com"),
        (["mqtt1.example.com"], "mqtt1.example.com"),
    ],
)
def test_refusal_names_what_is_wrong(targets: object, named: str) -> None:
    with pytest.raises(RefusedError, match=named):
        normalise({"1": targets}, ENDPOINTS, REGIONS)


def test_endpoints_are_dns_names() -> None:
    name = "MQTT1.Example.com."

    assert normalise({"1": {name: "us-east-1"}}, [name], REGIONS) == {"1": {"mqtt1.example.com": "us-east-1"}}


def test_endpoint_that_is_there_twice_is_refused() -> None:
    names = ["MQTT1.example.com", "mqtt1.example.com."]

    with pytest.raises(RefusedError, match="more than once"):
        normalise({"1": dict.fromkeys(names, "us-east-1")}, names, REGIONS)


def test_two_modes_of_one_name_are_refused() -> None:
    targets = dict.fromkeys(ENDPOINTS, "us-east-1")

    with pytest.raises(RefusedError, match="twice"):
        normalise({1: targets, "1": targets}, ENDPOINTS, REGIONS)
