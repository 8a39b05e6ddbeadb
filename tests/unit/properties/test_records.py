"""Records: whatever Route 53 answers, and whoever else writes meanwhile, nothing is overwritten that was not read."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.region_switch.dns.method import Change
from ansible.module_utils.region_switch.dns.route53_cname import Route53Cname, record_set
from ansible.module_utils.region_switch.model.errors import AwsError, RecordsChangedError, RefusedError, SwitchError
from ansible.module_utils.region_switch.model.names import plain
from ansible.module_utils.region_switch.setup.records import setup_changes
from hypothesis import given
from hypothesis import strategies as st

from ..region_switch.fakes import REFUSALS, FakeAws, Route53, cnames
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
        record = cnames(answering({"ResourceRecordSets": found})).read([NAME])[NAME]

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
        cnames(answering({"ResourceRecordSets": [{**record_set(NAME, OLD, 0), **more}]})).read([NAME])


@given(ANYTHING)
def test_answers_of_other_shapes_are_said_in_one_line(answer: object) -> None:
    shaped = answer if isinstance(answer, dict) else {"ResourceRecordSets": answer}
    dns = cnames(answering(shaped))
    with refused_at_most():
        dns.read([NAME])
    with refused_at_most():
        assert all(isinstance(name, str) for name in dns.zone([]).name_servers)
    with refused_at_most():
        dns.wait("C1", 1)
    with refused_at_most():
        dns.swap([Change(None, dns.record(NAME, NEW, 0))], "test")


class Zone(Route53):
    """A Route 53 where somebody else may write before each request, and where nothing is overwritten but what was read.

    Args:
        others: what they write, None for nothing.
    """

    def __init__(self, records: dict[str, dict[str, Any]], others: list[Any], fates: list[str]) -> None:
        super().__init__(records, fates)
        self._read = copy.deepcopy(records)
        self._others = list(others)

    def __call__(self, operation: str, **parameters: Any) -> Any:
        theirs = self._others.pop(0) if self._others else None
        if theirs:
            name, entry = theirs
            self.records.pop(name, None) if entry is None else self.records.update({name: copy.deepcopy(entry)})
        return super().__call__(operation, **parameters)

    def writes(self, name: str) -> None:
        assert self.records.get(name) == self._read.get(name), "overwrites what it has not read"


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


def attempt(zone: Zone, act: Callable[[Route53Cname], object]) -> SwitchError | None:
    try:
        act(cnames(FakeAws(zone)))
    except SwitchError as error:
        assert_one_line(str(error))
        return error
    return None


@given(RECORDS, OTHERS, FATES, TTLS)
def test_switch_ends_with_the_records_wanted_or_overwrites_nothing(
    records: dict[str, dict[str, Any]], others: list[Any], fates: list[str], ttl: int
) -> None:
    dns = cnames(FakeAws(Zone(records, [], [])))
    before = dns.read(ENDPOINTS)
    zone = Zone(records, others, fates)
    changes = [Change(before[name], dns.record(name, NEW, ttl, before[name])) for name in ENDPOINTS]

    error = attempt(zone, lambda dns: dns.swap(changes, "test"))

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
    dns = cnames(FakeAws(Zone(records, [], [])))
    before = dns.read(ENDPOINTS)
    changes, after = setup_changes(dns, before, dict.fromkeys(ENDPOINTS, OLD), [NEW], ttl)
    zone = Zone(records, others, fates)

    error = attempt(zone, lambda dns: changes and dns.swap(changes, "test", or_others=True))

    if error is None and not any(others):
        assert zone.records == {name: record_set(name, after[name], ttl) for name in ENDPOINTS}
    if error is None and not zone.applied:
        assert any(others) or not changes


def test_batch_that_only_changes_a_ttl_and_is_refused_is_an_error() -> None:
    """The values are as wanted before and after: they say nothing about whether it was carried out."""
    records = {NAME: record_set(NAME, OLD, 60)}
    dns = cnames(FakeAws(Zone(records, [], ["invalid"])))
    changes, _ = setup_changes(dns, dns.read([NAME]), {NAME: OLD}, [], 0)

    with pytest.raises(AwsError, match="InvalidChangeBatch"):
        dns.swap(changes, "test")


@given(GOOD, TEXT, st.lists(TEXT, max_size=3), st.integers(0, 300))
def test_setup_never_moves_a_record(entry: dict[str, Any], value: str, kept: list[str], ttl: int) -> None:
    dns = cnames(answering({"ResourceRecordSets": [entry]}))
    try:
        _, after = setup_changes(dns, dns.read([NAME]), {NAME: value}, kept, ttl)
    except RefusedError as error:
        assert_one_line(str(error))
        return
    assert after == {NAME: plain(entry["ResourceRecords"][0]["Value"])}
