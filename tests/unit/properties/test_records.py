"""Records: whatever Route 53 answers, and whoever else writes meanwhile, nothing is overwritten that was not read."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.region_switch.dns.route53 import (
    compare_and_swap,
    create,
    name_servers,
    read_records,
    record_set,
    setup_changes,
    submit,
    wait_insync,
)
from ansible.module_utils.region_switch.model.errors import AwsError, RecordsChangedError, RefusedError, SwitchError
from ansible.module_utils.region_switch.model.names import plain
from hypothesis import given
from hypothesis import strategies as st

from ..region_switch.fakes import Clock, FakeAws, aws_error
from .anything import ANYTHING, ENDPOINTS, HOSTS, TEXT, assert_one_line, refused_at_most

NAME, OTHER_NAME = ENDPOINTS
OLD, NEW = HOSTS.values()
THEIRS = "theirs.example.net"

GOOD = st.builds(record_set, st.just(NAME), st.sampled_from([OLD, NEW, THEIRS]), st.integers(0, 300))


@st.composite
def entries(draw: st.DrawFn) -> object:
    """A record set as Route 53 answers it, with keys that are missing, too many or of another type."""
    entry: dict[str, Any] = draw(GOOD)
    wrong = {
        "Name": st.sampled_from([NAME, f"{NAME.upper()}.", f"{OTHER_NAME}.", "\\052.example.com."]) | ANYTHING,
        "Type": st.sampled_from(["A", "AAAA", "TXT", "CNAME"]) | ANYTHING,
        "TTL": ANYTHING,
        "ResourceRecords": st.lists(st.fixed_dictionaries({"Value": TEXT}), max_size=3) | ANYTHING,
        "AliasTarget": st.just({"DNSName": NEW, "HostedZoneId": "Z2", "EvaluateTargetHealth": False}),
        "SetIdentifier": st.just("primary"),
        "Weight": st.integers(0, 255),
    }
    for key in draw(st.sets(st.sampled_from(sorted(wrong)), max_size=3)):
        if draw(st.booleans()):
            entry[key] = draw(wrong[key])
        else:
            entry.pop(key, None)
    return entry


def answering(answer: Any) -> FakeAws:
    return FakeAws(lambda *_, **__: copy.deepcopy(answer))


@given(st.lists(entries() | ANYTHING, max_size=3) | ANYTHING)
def test_any_answer_is_a_simple_cname_or_nothing_or_refused(found: object) -> None:
    with refused_at_most():
        record = read_records(answering({"ResourceRecordSets": found}), "Z1", [NAME])[NAME]

        if record is None:
            assert not [entry for entry in found if plain(entry["Name"]) == NAME]
        else:
            (entry,) = [entry for entry in found if plain(entry["Name"]) == NAME]
            assert record.raw == entry
            assert (record.name, record.ttl) == (NAME, entry["TTL"])
            assert entry["ResourceRecords"] == [{"Value": entry["ResourceRecords"][0]["Value"]}]
            assert entry["Type"] == "CNAME"
            assert not {"AliasTarget", "SetIdentifier", "Weight"} & set(entry)


@pytest.mark.parametrize(
    "more",
    [
        {"AliasTarget": {"DNSName": NEW}},
        {"SetIdentifier": "primary"},
        {"Weight": 1},
        {"TrafficPolicyInstanceId": "5c2b8a4e"},
        {"ResourceRecords": [{"Value": OLD}, {"Value": NEW}]},
        {"Type": "A"},
    ],
)
def test_record_that_is_more_than_a_simple_cname_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match="expected one simple CNAME"):
        read_records(answering({"ResourceRecordSets": [{**record_set(NAME, OLD, 0), **more}]}), "Z1", [NAME])


@given(ANYTHING)
def test_answers_of_other_shapes_are_said_in_one_line(answer: object) -> None:
    shaped = answer if isinstance(answer, dict) else {"ResourceRecordSets": answer}
    clock = Clock()
    with refused_at_most():
        read_records(answering(shaped), "Z1", [NAME])
    with refused_at_most():
        assert all(isinstance(name, str) for name in name_servers(answering(shaped), "Z1"))
    with refused_at_most():
        wait_insync(answering(shaped), "C1", 1, clock, clock.sleep)
    with refused_at_most():
        submit(answering(shaped), "Z1", create(NAME, NEW, 0), {NAME: None}, {NAME: NEW}, "test", clock.sleep)


class Zone:
    """Route 53's side of a zone: a batch is all or none, DELETE takes exact matches only, CREATE nothing that exists.

    Before each request somebody else may write, and an answer may be lost after the request was carried out.
    """

    def __init__(self, records: dict[str, dict[str, Any]], others: list[Any], fates: list[str]) -> None:
        self.records, self._read = copy.deepcopy(records), copy.deepcopy(records)
        self._others, self._fates = list(others), list(fates)
        self.applied = False

    def __call__(self, operation: str, **parameters: Any) -> Any:
        theirs = self._others.pop(0) if self._others else None
        if theirs:
            name, entry = theirs
            self.records.pop(name, None) if entry is None else self.records.update({name: copy.deepcopy(entry)})
        if operation == "ListResourceRecordSets":
            return {"ResourceRecordSets": copy.deepcopy(list(self.records.values()))}
        fate = self._fates.pop(0) if self._fates else "answered"
        if fate in REFUSALS:
            return REFUSALS[fate]
        answer = self._change(parameters["ChangeBatch"]["Changes"])
        return aws_error("NoAnswer", 0) if fate == "answer lost" else answer

    def _change(self, changes: list[dict[str, Any]]) -> Any:
        after = dict(self.records)
        for change in changes:
            entry = change["ResourceRecordSet"]
            name = plain(entry["Name"])
            if change["Action"] == "DELETE" and after.get(name) != entry:
                return aws_error("InvalidChangeBatch", 400)
            if change["Action"] == "CREATE" and name in after:
                return aws_error("InvalidChangeBatch", 400)
            assert self.records.get(name) == self._read.get(name), "overwrites what it has not read"
            after.pop(name, None)
            if change["Action"] != "DELETE":
                after[name] = entry
        self.records, self.applied = after, True
        return {"ChangeInfo": {"Id": "C1"}}


REFUSALS = {
    "busy": aws_error("PriorRequestNotComplete", 400),
    "throttled": aws_error("Throttling", 400),
    "request lost": aws_error("NoAnswer", 0),
    "failed": aws_error("InternalFailure", 500),
    "denied": aws_error("AccessDenied", 403),
    "invalid": aws_error("InvalidChangeBatch", 400),
}
TTLS = st.sampled_from([0, 60])
RECORDS = st.fixed_dictionaries(
    {name: st.builds(record_set, st.just(name), st.sampled_from([OLD, NEW]), TTLS) for name in ENDPOINTS}
)
WRITE = st.sampled_from(ENDPOINTS).flatmap(
    lambda name: st.tuples(
        st.just(name), st.none() | st.builds(record_set, st.just(name), st.sampled_from([OLD, NEW, THEIRS]), TTLS)
    )
)
OTHERS = st.lists(st.none() | WRITE, max_size=6)
FATES = st.lists(st.sampled_from([*REFUSALS, "answer lost", "answered"]), max_size=6)


def attempt(zone: Zone, act: Callable[[FakeAws], object]) -> SwitchError | None:
    try:
        act(FakeAws(zone))
    except SwitchError as error:
        assert_one_line(str(error))
        return error
    return None


@given(RECORDS, OTHERS, FATES, TTLS)
def test_switch_ends_with_the_records_wanted_or_overwrites_nothing(
    records: dict[str, dict[str, Any]], others: list[Any], fates: list[str], ttl: int
) -> None:
    zone = Zone(records, [], [])
    before = read_records(FakeAws(zone), "Z1", ENDPOINTS)
    zone = Zone(records, others, fates)
    changes = [change for name in ENDPOINTS for change in compare_and_swap(before[name], NEW, ttl)]

    error = attempt(
        zone, lambda aws: submit(aws, "Z1", changes, before, dict.fromkeys(ENDPOINTS, NEW), "test", Clock().sleep)
    )

    if isinstance(error, RecordsChangedError):
        assert not zone.applied or any(others)
    if error is None and not any(others):
        assert zone.records == {name: record_set(name, NEW, ttl) for name in ENDPOINTS}
    if not zone.applied and error is None:
        # An answer was lost, and somebody else has done exactly the same; or there was nothing to do.
        assert any(others) or zone.records == records


@given(RECORDS, st.sets(st.sampled_from(ENDPOINTS)), OTHERS, FATES, TTLS)
def test_setup_ends_with_the_records_wanted_or_overwrites_nothing(
    records: dict[str, dict[str, Any]], missing: set[str], others: list[Any], fates: list[str], ttl: int
) -> None:
    records = {name: entry for name, entry in records.items() if name not in missing}
    before = read_records(FakeAws(Zone(records, [], [])), "Z1", ENDPOINTS)
    changes, after = setup_changes(before, dict.fromkeys(ENDPOINTS, OLD), [NEW], ttl)
    zone = Zone(records, others, fates)

    error = attempt(
        zone, lambda aws: changes and submit(aws, "Z1", changes, before, after, "test", Clock().sleep, True)
    )

    if error is None and not any(others):
        assert zone.records == {name: record_set(name, after[name], ttl) for name in ENDPOINTS}
    if error is None and not zone.applied:
        assert any(others) or not changes


def test_batch_that_only_changes_a_ttl_and_is_refused_is_an_error() -> None:
    """The values are as wanted before and after: they say nothing about whether it was carried out."""
    records = {NAME: record_set(NAME, OLD, 60)}
    before = read_records(FakeAws(Zone(records, [], [])), "Z1", [NAME])
    changes, after = setup_changes(before, {NAME: OLD}, [], 0)

    with pytest.raises(AwsError, match="InvalidChangeBatch"):
        submit(FakeAws(Zone(records, [], ["invalid"])), "Z1", changes, before, after, "test")


@given(GOOD, TEXT, st.lists(TEXT, max_size=3), st.integers(0, 300))
def test_setup_never_moves_a_record(entry: dict[str, Any], value: str, kept: list[str], ttl: int) -> None:
    before = read_records(answering({"ResourceRecordSets": [entry]}), "Z1", [NAME])
    try:
        _, after = setup_changes(before, {NAME: value}, kept, ttl)
    except RefusedError as error:
        assert_one_line(str(error))
        return
    assert after == {NAME: plain(entry["ResourceRecords"][0]["Value"])}
