"""Desired minus actual."""

from __future__ import annotations

import pytest
from ansible.module_utils.region_switch.dns.method import Change
from ansible.module_utils.region_switch.dns.route53_cname import Route53Cname
from ansible.module_utils.region_switch.model.cname import Record
from ansible.module_utils.region_switch.model.errors import RefusedError
from ansible.module_utils.region_switch.model.plan import Move, build_moves
from ansible.module_utils.region_switch.move.plan_checks import not_carried
from ansible.module_utils.region_switch.move.survey import Plan
from ansible.module_utils.region_switch.setup.records import setup_changes
from hypothesis import given
from hypothesis import strategies as st

from .fakes import FakeAws, batch_of, cnames

REGIONS = ["us-east-1", "ap-northeast-1", "eu-west-1"]
TARGETS = {region: f"a-ats.iot.{region}.amazonaws.com" for region in REGIONS}
NOBODY = cnames(FakeAws(lambda *_, **__: None))
TABLE = st.dictionaries(st.from_regex(r"mqtt[0-9]{1,2}\.example\.com", fullmatch=True), st.sampled_from(REGIONS))


def record(name: str, value: str, ttl: int = 0) -> Record:
    raw = {"Name": f"{name}.", "Type": "CNAME", "TTL": ttl, "ResourceRecords": [{"Value": f"{value}."}]}
    return Record(name, value, ttl, raw)


@given(TABLE, st.data())
def test_what_is_as_desired_is_not_moved(desired: dict[str, str], data: st.DataObject) -> None:
    actual = {endpoint: data.draw(st.sampled_from(REGIONS)) for endpoint in desired}
    records = {endpoint: record(endpoint, TARGETS[region]) for endpoint, region in actual.items()}

    moves = build_moves(desired, records, TARGETS)

    assert {move.endpoint: move.source for move in moves} == actual
    assert {move.endpoint: move.target for move in moves} == desired
    assert {move.endpoint for move in moves if move.needed} == {key for key in desired if desired[key] != actual[key]}


@pytest.mark.parametrize("found", [None, record("mqtt1.example.com", "broker.example.net")])
def test_record_that_is_none_of_ours_is_refused(found: Record | None) -> None:
    with pytest.raises(RefusedError, match=r"record mqtt1\.example\.com"):
        build_moves({"mqtt1.example.com": "us-east-1"}, {"mqtt1.example.com": found}, TARGETS)


def test_move_to_the_same_region_is_not_needed() -> None:
    assert not Move("mqtt1.example.com", "us-east-1", "us-east-1").needed


def test_compare_and_swap_repeats_exactly_what_was_read() -> None:
    found = record("mqtt1.example.com", TARGETS["us-east-1"], ttl=60)

    wanted = NOBODY.record(found.name, TARGETS["eu-west-1"], 0, found)
    delete, create = batch_of(Change(found, wanted))

    assert delete == {"Action": "DELETE", "ResourceRecordSet": found.raw}
    assert create["Action"] == "CREATE"
    assert create["ResourceRecordSet"]["TTL"] == 0
    assert create["ResourceRecordSet"]["ResourceRecords"] == [{"Value": TARGETS["eu-west-1"]}]


def test_setup_creates_what_is_missing_and_moves_nothing() -> None:
    elsewhere = record("mqtt1.example.com", TARGETS["eu-west-1"])
    wanted = {"mqtt1.example.com": TARGETS["us-east-1"], "mqtt2.example.com": TARGETS["us-east-1"]}
    found = {"mqtt1.example.com": elsewhere, "mqtt2.example.com": None}

    changes, after = setup_changes(NOBODY, found, wanted, [TARGETS["eu-west-1"]], ttl=0)

    assert [(change["Action"], change["ResourceRecordSet"]["Name"]) for change in batch_of(*changes)] == [
        ("CREATE", "mqtt2.example.com.")
    ]
    assert after == {"mqtt1.example.com": TARGETS["eu-west-1"], "mqtt2.example.com": TARGETS["us-east-1"]}


@pytest.mark.parametrize(
    ("moving", "staying", "carried"), [(1, 2, 2), (1, 400, 249), (250, 5, 0), (260, 5, 0), (0, 3, 3)]
)
def test_records_that_stay_are_carried_as_far_as_a_batch_has_room_and_the_plan_says_so(
    moving: int, staying: int, carried: int
) -> None:
    moves = [Move(f"m{number}.example.com", *REGIONS[:2]) for number in range(moving)]
    moves += [Move(f"s{number}.example.com", REGIONS[0], REGIONS[0]) for number in range(staying)]
    host = f"{'a' * 14}-ats.iot.ap-northeast-1.amazonaws.com"
    records = {move.endpoint: record(move.endpoint, host) for move in moves}
    plan = Plan({}, TARGETS, records, moves, {}, {}, 0, [], room=Route53Cname.max_records)

    assert len(plan.carried) == carried
    said = not_carried(plan)
    assert [line.split(" ")[0] for line in said] == ([str(staying - carried)] if moving and staying > carried else [])
    # https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DNSLimitations.html: 1,000 values, 32,000 characters.
    sent = [*plan.carried, *(records[move.endpoint] for move in plan.needed[: plan.room])]
    changes = batch_of(*(Change(each, each) for each in sent))
    values = [each["Value"] for change in changes for each in change["ResourceRecordSet"]["ResourceRecords"]]
    assert len(values) <= 1000
    assert sum(map(len, values)) <= 32_000
