"""Plans: from any records a move is either exactly desired minus actual, or refused in one line."""

from __future__ import annotations

from collections.abc import Mapping

from ansible.module_utils.region_switch.dns.route53_cname import record_set
from ansible.module_utils.region_switch.model.cname import Record
from ansible.module_utils.region_switch.model.errors import RefusedError
from ansible.module_utils.region_switch.model.plan import build_moves
from hypothesis import given
from hypothesis import strategies as st

from .anything import ENDPOINTS, HOSTS, REGIONS, TEXT, assert_one_line

# Regions that were once used, and whose host name nobody knows any more.
FORMER = "a1b2c3-ats.iot.eu-west-1.amazonaws.com"
DESIRED = st.dictionaries(st.sampled_from([*ENDPOINTS, "mqtt3.example.com"]), st.sampled_from(REGIONS))
VALUES = st.sampled_from([*HOSTS.values(), FORMER]) | TEXT


def record(name: str, value: str) -> Record:
    return Record(name, value, 0, record_set(name, value, 0))


@st.composite
def found_for(draw: st.DrawFn) -> tuple[dict[str, str], dict[str, Record | None]]:
    """A desired state, and what Route 53 has for its names: a region's host, another, or nothing."""
    desired = draw(DESIRED)
    values = {name: draw(st.sampled_from(list(HOSTS.values())) | st.none() | VALUES) for name in desired}
    return desired, {name: None if value is None else record(name, value) for name, value in values.items()}


@given(found_for())
def test_moves_are_desired_minus_actual_or_refused(state: tuple[dict[str, str], Mapping[str, Record | None]]) -> None:
    desired, records = state
    known = all(found is not None and found.value in HOSTS.values() for found in records.values())
    try:
        moves = build_moves(desired, records, HOSTS)
    except RefusedError as error:
        assert_one_line(str(error))
        assert not known
        return

    assert known
    assert [(move.endpoint, move.target) for move in moves] == list(desired.items())
    for move in moves:
        found = records[move.endpoint]
        assert found is not None
        assert HOSTS[move.source] == found.value
        assert move.needed == (HOSTS[move.target] != found.value)


@given(found_for())
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(
    state: tuple[dict[str, str], Mapping[str, Record | None]],
) -> None:
    desired, _ = state
    after = {name: record(name, HOSTS[region]) for name, region in desired.items()}

    assert [move for move in build_moves(desired, after, HOSTS) if move.needed] == []
